package rpc

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// TestAReferenceIsLookedUpOnlyWhereItMayLeadElsewhere: a change of the session that is shown asks the store
// nothing; where the reference may lead to another, the index is asked, and again while that fails.
func TestAReferenceIsLookedUpOnlyWhereItMayLeadElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := func(o *verification.Object) { o.Reference = "person" }
		records := &counted{fakeStore: &fakeStore{held: map[string]verification.Session{}, newest: map[string]string{"person": "vs_1"}}}
		session, _ := verification.Transition(verification.Session{}, eventOf(1, 1, object("vs_1", "requires_input", of)))
		records.put(session)
		ctx, cancel := context.WithCancel(t.Context())
		var following sync.WaitGroup
		view := records.follow(ctx, &following)
		service := New(Config{Live: view, Ingest: emptyIngest{}, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
		watcher := &sink{ctx: ctx, got: make(chan arrival, 10)}
		ended := make(chan error)
		go func() { ended <- service.WatchStatus(byReference("person"), watcher) }()
		defer func() { cancel(); <-ended; following.Wait() }()
		wantNext := func(id string, revision int32) {
			t.Helper()
			synctest.Wait()
			if len(watcher.got) != 1 {
				t.Fatalf("got %d responses; want one, of %s", len(watcher.got), id)
			}
			if got := (<-watcher.got).GetVerification(); got.GetSessionId() != id || got.GetRevision() != revision {
				t.Fatalf("got %s, revision %d; want %s, %d", got.GetSessionId(), got.GetRevision(), id, revision)
			}
		}
		asked := func() int {
			records.mu.Lock()
			defer records.mu.Unlock()
			looks := records.looks
			records.looks = 0
			return looks
		}
		apply := func(e verification.Event) {
			t.Helper()
			if _, err := view.Update(ctx, e.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
				next, outcome := verification.Transition(current, e)
				return next, outcome.Write, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		wantNext("vs_1", 1)
		asked()

		for n := int32(2); n <= 20; n++ {
			apply(eventOf(int(n), int64(n), object("vs_1", []string{"processing", "requires_input"}[n%2], of)))
			wantNext("vs_1", n)
		}
		if looks := asked(); looks != 0 {
			t.Errorf("changes of the session that is shown asked the store %d times", looks)
		}

		newer := object("vs_2", "requires_input", of, func(o *verification.Object) { o.Created++ })
		apply(eventOf(1, 30, newer))
		records.mu.Lock()
		records.newest["person"], records.fail = "vs_2", store.ErrUnavailable
		records.mu.Unlock()
		view.Hub().Wake(hub.Reference("person"))
		synctest.Wait()
		view.Hub().Wake(hub.Session("vs_1")) // meanwhile, another wake-up by the session does not make it forget the index
		synctest.Wait()
		if asked() == 0 || len(watcher.got) != 0 {
			t.Fatal("the index was not asked, or something was sent without it")
		}
		records.mu.Lock()
		records.fail = nil
		records.mu.Unlock()
		time.Sleep(2 * pollAfterFailure)
		wantNext("vs_2", 1)
	})
}
