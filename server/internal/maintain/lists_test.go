package maintain

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
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

// openStore opens a store whose lists follow maxRetries.
func openStore(t *testing.T, addr string, maxRetries int32, clock func() time.Time) *redisstore.Store {
	t.Helper()
	kept, err := redisstore.Open(redisstore.Options{
		Addrs: []string{addr}, Clock: clock, Policy: verification.RetryPolicy{MaxRetries: maxRetries},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	return kept
}

// replica is one process with its jobs.
type replica struct {
	*Jobs
	store *redisstore.Store
}

// openLists returns a replica that can repair its lists.
func openLists(t *testing.T, server *miniredis.Miniredis, maxRetries int32, logs io.Writer, clock func() time.Time) replica {
	t.Helper()
	kept := openStore(t, server.Addr(), maxRetries, clock)
	return replica{New(Config{Store: kept, Clock: clock, Logger: slog.New(slog.NewTextHandler(logs, nil))}), kept}
}

// blocked returns how many sessions are in the list of sessions at the limit.
func (r replica) blocked(t *testing.T) int {
	t.Helper()
	page, err := r.store.List(t.Context(), store.ListQuery{List: verification.ListLimitReached, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Sessions)
}

// fail commits one failure of a person.
func (r replica) fail(t *testing.T, id string) {
	t.Helper()
	now := time.Unix(1_790_000_000, 0)
	event := verification.Event{
		ID: "evt_" + id, Type: verification.EventRequiresInput, Second: now.Unix(), RecordTime: now.UnixMilli(),
		Object: verification.Object{ID: id, Status: verification.StatusRequiresInput, Error: verification.Error{Code: "document_expired"}, Report: "vr_1"},
	}
	_, err := r.store.Update(t.Context(), id, func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.Transition(current, event)
		return next, outcome.Write, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A lower MAX_RETRIES blocks people without an event: the loop finds them at once, and does no work while no job is due.
func TestListsFollowTheSettings(t *testing.T) {
	server := redistest.Imitate(t)
	now := time.Unix(1_790_000_000, 0)
	clock := func() time.Time { return now }
	var logs strings.Builder
	generous := openLists(t, server, 1, &logs, clock)
	generous.fail(t, "vs_a")
	strict := openLists(t, server, 0, &logs, clock)
	if got := strict.blocked(t); got != 0 {
		t.Fatalf("%d are blocked before anybody looked", got)
	}
	look := func(r replica) {
		t.Helper()
		if err := r.look(t.Context(), r.lists()); err != nil {
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
		t.Errorf("repaired again at once: %s", logs.String())
	}
	if held, err := strict.store.Lease(t.Context(), listsLease, "other", time.Minute); err != nil || !held {
		t.Errorf("the lease was not given back: %v, %v", held, err)
	}
	_, err := generous.RepairLists(t.Context())
	if !errors.Is(err, ErrElsewhere) || ListsFailure(err) == nil || !strings.Contains(ListsSummary(store.ListRepair{}, err), "another replica") {
		t.Errorf("while another has the lease: %v", err)
	}
}

// A replica whose lease another one took over stops in the middle, records no completion, and does not release the other's lease.
func TestARepairEndsWhereTheLeaseIsLost(t *testing.T) {
	server := redistest.Imitate(t)
	now := time.Unix(1_790_000_000, 0)
	other := openLists(t, server, 1, io.Discard, func() time.Time { return now })
	other.fail(t, "vs_a")
	var logs strings.Builder
	var slow replica
	slow = openLists(t, server, 0, &logs, func() time.Time {
		if has, _ := server.Get("vs:lease:lists"); has == slow.holder { // it hangs until its lease has ended
			server.FastForward(LeaseFor)
			if held, err := other.store.Lease(t.Context(), listsLease, "other", LeaseFor); err != nil || !held {
				t.Errorf("the lease of a replica that hangs: %v, %v", held, err)
			}
		}
		now = now.Add(LeaseFor / 2)
		return now
	})
	found, err := slow.RepairLists(t.Context())
	if !errors.Is(err, ErrLost) || ListsFailure(err) == nil || !strings.Contains(ListsSummary(found, err), "took the lease over") {
		t.Errorf("it ended with %v: %s", err, ListsSummary(found, err))
	}
	if got := slow.blocked(t); got != 0 || strings.Contains(logs.String(), "all sessions were checked") {
		t.Errorf("it did not stop: %d are blocked, and the log says %q", got, logs.String())
	}
	if last, _, err := slow.store.ListsRepaired(t.Context()); err != nil || last != 0 {
		t.Errorf("noted as done at %d, %v", last, err)
	}
	if has, _ := server.Get("vs:lease:lists"); has != "other" {
		t.Errorf("the lease is %q's now", has)
	}
}

// The loop ends with its context, also if Redis cannot be reached.
func TestRunEnds(t *testing.T) {
	for _, away := range []bool{false, true} {
		server := redistest.Imitate(t)
		a := openLists(t, server, 2, io.Discard, time.Now)
		if away {
			server.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { a.Run(ctx) })
		cancel()
		loop.Wait()
	}
}
