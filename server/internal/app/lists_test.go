package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestWhenListsAreDue(t *testing.T) {
	const first = 1_790_000_000
	for name, c := range map[string]struct {
		now, last, first int64
		want             bool
	}{
		"never yet":                      {first, 0, 0, true},
		"just done":                      {first, first, first, false},
		"a little later":                 {first + 3599, first, first, false},
		"once more, for old replicas":    {first + 3600, first, first, true},
		"which was done":                 {first + 3601, first + 3600, first, false},
		"within the day":                 {first + 3600 + 86399, first + 3600, first, false},
		"a day later":                    {first + 3600 + 86400, first + 3600, first, true},
		"a month later, done a day late": {first + 30*86400, first + 29*86400 + 1, first, false},
	} {
		if got := listsDue(time.Unix(c.now, 0), c.last, c.first); got != c.want {
			t.Errorf("%s: due %v; want %v", name, got, c.want)
		}
	}
}

// blocked is how many sessions the list of those at the limit has.
func (a *App) blocked(t *testing.T) int {
	t.Helper()
	page, err := a.store.List(t.Context(), store.ListQuery{List: verification.ListLimitReached, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Sessions)
}

// A lower MAX_RETRIES blocks people without an event of theirs: the loop finds them at once, and does
// no work while nothing is due.
func TestListsFollowTheSettings(t *testing.T) {
	server := miniredis.RunT(t)
	now := time.Unix(1_790_000_000, 0)
	open := func(maxRetries config.Count, logs *strings.Builder) *App {
		a := &App{
			config: &config.Config{RedisURL: "redis://" + server.Addr(), RedisMode: "standalone", RedisKeyPrefix: "vs:", FeedMaxLen: 1000},
			logger: slog.New(slog.NewTextHandler(logs, nil)), clock: func() time.Time { return now },
		}
		a.config.MaxRetries = maxRetries
		var err error
		if a.current, err = newCurrent(a.config); err != nil {
			t.Fatal(err)
		}
		if err := a.openStore(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.store.Close() })
		return a
	}
	var logs strings.Builder
	generous := open(1, &logs)
	event := verification.Event{
		ID: "evt_1", Type: verification.EventRequiresInput, Second: now.Unix(), RecordTime: now.UnixMilli(),
		Object: verification.Object{ID: "vs_a", Status: verification.StatusRequiresInput, Error: verification.Error{Code: "document_expired"}, Report: "vr_1"},
	}
	_, err := generous.store.Update(t.Context(), "vs_a", func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.Transition(current, event)
		return next, outcome.Write, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	strict := open(0, &logs)
	if got := strict.blocked(t); got != 0 {
		t.Fatalf("%d are blocked before anybody looked", got)
	}
	look := func(a *App) {
		t.Helper()
		if err := a.lookAtLists(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	look(strict)
	if got := strict.blocked(t); got != 1 || !strings.Contains(logs.String(), "sessions=1 added=1 removed=0") {
		t.Errorf("%d are blocked; the log says %s", got, logs.String())
	}
	logs.Reset()
	look(strict)
	if logs.Len() > 0 {
		t.Errorf("looked at again at once: %s", logs.String())
	}
	if held, err := strict.store.Lease(t.Context(), "lists", "other", time.Minute); err != nil || !held {
		t.Errorf("the lease was not given back: %v, %v", held, err)
	}
	_, err = generous.repairLists(t.Context(), "a")
	if !errors.Is(err, errListsElsewhere) || listsFailure(err) != nil || !strings.Contains(listsSummary(store.ListRepair{}, err), "another replica") {
		t.Errorf("while another has the lease: %v", err)
	}
}

// The loop ends with its context, also while Redis is away.
func TestKeepListsEnds(t *testing.T) {
	for _, away := range []bool{false, true} {
		server := miniredis.RunT(t)
		a := &App{
			config: &config.Config{RedisURL: "redis://" + server.Addr(), RedisMode: "standalone", RedisKeyPrefix: "vs:", FeedMaxLen: 1000},
			logger: slog.New(slog.DiscardHandler), clock: time.Now,
		}
		var err error
		if a.current, err = newCurrent(a.config); err != nil {
			t.Fatal(err)
		}
		if err := a.openStore(); err != nil {
			t.Fatal(err)
		}
		if away {
			server.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { a.keepLists(ctx) })
		cancel()
		loop.Wait()
		_ = a.store.Close()
	}
}
