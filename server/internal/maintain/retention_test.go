package maintain

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// The mark, the lease and the lease for the version before work in the real store.
func TestRetentionIsMarkedInTheStore(t *testing.T) {
	for name, addr := range map[string]func() string{
		"miniredis":    func() string { return redistest.Imitate(t).Addr() },
		"redis-server": func() string { return redistest.Start(t).Addr },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			addr, now := addr(), time.Unix(1_790_000_000, 0)
			clock := func() time.Time { return now }
			var logs strings.Builder
			replica := func() (*Jobs, *redisstore.Store) {
				kept := openStore(t, addr, 2, clock)
				return New(Config{Store: kept, SettledTTL: time.Hour, Clock: clock, Logger: slog.New(slog.NewTextHandler(&logs, nil))}), kept
			}
			a, kept := replica()
			b, _ := replica()
			look := func(j *Jobs, want int) {
				t.Helper()
				if err := j.look(ctx, j.retention()); err != nil {
					t.Fatal(err)
				}
				if got := strings.Count(logs.String(), "were archived"); got != want {
					t.Errorf("%d walks; want %d", got, want)
				}
			}
			if held, err := kept.Lease(ctx, retentionLease, "another", LeaseFor); err != nil || !held {
				t.Fatal(held, err)
			}
			if err := a.look(ctx, a.retention()); !errors.Is(err, ErrElsewhere) {
				t.Errorf("while another replica has the lease: %v; want ErrElsewhere", err)
			}
			if err := kept.Release(ctx, retentionLease, "another"); err != nil {
				t.Fatal(err)
			}
			look(a, 1)
			look(a, 1)
			look(b, 1)
			if held, err := kept.Lease(ctx, "retention", "of the version before", time.Minute); err != nil || held {
				t.Errorf("the version before would walk too: %v, %v", held, err)
			}
			now = now.Add(24*time.Hour - time.Second)
			look(b, 1)
			now = now.Add(time.Second)
			look(b, 2)
			look(a, 2)
		})
	}
}

// Sessions settled for longer than SETTLED_TTL are archived: status and counts stay, details are removed. Younger sessions, and sessions
// that are not settled, do not change.
func TestSettledSessionsAreArchived(t *testing.T) {
	const day = 24 * 60 * 60 // in seconds
	now := time.Unix(1_790_000_000, 0)
	kept := openStore(t, redistest.Imitate(t).Addr(), 2, func() time.Time { return now })
	j := New(Config{
		Store: kept, SettledTTL: 30 * day * time.Second, Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
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
	for run, want := range []int{1, 0} {
		if archived, left, err := j.archive(ctx, func(context.Context) error { return nil }); err != nil || archived != want || left != 0 {
			t.Fatalf("run %d: %d were archived, %v; want %d", run, archived, err, want)
		}
	}
	for id, want := range map[string]bool{"vs_old": true, "vs_young": false, "vs_open": false} {
		session, err := kept.Get(ctx, id)
		if err != nil || session.IsArchived() != want || (session.Reference == "") != want || !session.Knows("evt_"+id) {
			t.Errorf("%s: %+v, %v", id, session, err)
		}
	}
}
