package maintain

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"example.com/verification-status/server/internal/verification"
)

// Sessions settled for longer than SETTLED_TTL become stubs: what they were stays, the details go.
// Those that are younger, or not settled, stay as they are.
func TestSettledSessionsAreShrunk(t *testing.T) {
	const day = 24 * 60 * 60
	now := time.Unix(1_790_000_000, 0)
	kept := openStore(t, miniredis.RunT(t).Addr(), 2, func() time.Time { return now })
	j := &Jobs{
		Store: kept, SettledTTL: 30 * day * time.Second, Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for id, object := range map[string]struct {
		status string
		age    int64
	}{"vs_old": {"verified", 40 * day}, "vs_young": {"verified", 20 * day}, "vs_open": {"requires_input", 40 * day}} {
		event := verification.Event{
			ID: "evt_" + id, Type: verification.EventVerified, Source: verification.SourceWebhook,
			Second: now.Unix() - object.age, RecordTime: (now.Unix() - object.age) * 1000,
			Object: verification.Object{ID: id, Status: object.status, Type: "document", Reference: "person-" + id},
		}
		_, err := kept.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
			next, outcome := verification.Transition(current, event)
			return next, outcome.Write, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for turn, want := range []int{1, 0} {
		if shrunk, err := j.shrink(ctx, j.SettledTTL); err != nil || shrunk != want {
			t.Fatalf("turn %d: %d were shrunk, %v; want %d", turn, shrunk, err, want)
		}
	}
	for id, want := range map[string]bool{"vs_old": true, "vs_young": false, "vs_open": false} {
		session, err := kept.Get(ctx, id)
		if err != nil || session.Stub() != want || (session.Reference == "") != want || !session.Knows("evt_"+id) {
			t.Errorf("%s: %+v, %v", id, session, err)
		}
	}
}
