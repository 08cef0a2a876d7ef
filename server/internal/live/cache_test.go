package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// records is a store in memory that can be slow before and after each access.
type records struct {
	store.Store

	mu      sync.Mutex
	held    map[string]verification.Session
	gets    int
	fail    error
	slow    func() // called without the lock, around each access
	changes []change
}

// change is an entry of the feed, with its time.
type change struct {
	id       string
	revision int32
	at       time.Time
}

func newRecords() *records {
	return &records{held: make(map[string]verification.Session), slow: func() {}}
}

func (r *records) Partitions() int      { return 2 }
func (r *records) Partition(string) int { return 0 }

func (r *records) Get(ctx context.Context, id string) (verification.Session, error) {
	r.slow()
	defer r.slow()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gets++
	session, ok := r.held[id]
	switch {
	case ctx.Err() != nil:
		return verification.Session{}, ctx.Err()
	case r.fail != nil:
		return verification.Session{}, r.fail
	case !ok:
		return session, store.ErrNotFound
	}
	return session, nil
}

func (r *records) Update(_ context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	r.slow()
	defer r.slow()
	r.mu.Lock()
	defer r.mu.Unlock()
	next, write, err := fn(r.held[id])
	if err != nil || !write {
		return r.held[id], err
	}
	r.held[id] = next
	r.changes = append(r.changes, change{id, next.Revision, time.Now()})
	return next, nil
}

// commit writes as another process does: the cache learns of it by the feed only.
func (r *records) commit(id string) {
	_, _ = r.Update(context.Background(), id, advance)
}

func (r *records) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gets
}

func (r *records) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func advance(current verification.Session) (verification.Session, bool, error) {
	current.ID = "vs_1"
	current.Revision++
	return current, true, nil
}

// recent returns the revision that Session answers with.
func recent(t *testing.T, v *View, least int32) int32 {
	t.Helper()
	session, err := v.Session(t.Context(), "vs_1", least)
	if err != nil {
		t.Fatal(err)
	}
	return session.Revision
}

// newView returns a View of a cache of so many sessions, whose feed nobody follows.
func newView(s store.Store, size int) *View {
	return New(Config{Store: s, CacheSessions: size, Logger: slog.New(slog.DiscardHandler)})
}

// newFreshView returns a View whose cache is fresh, over a store with one session at revision 1.
func newFreshView() (*records, *View) {
	r := newRecords()
	r.commit("vs_1")
	v := newView(r, 1000)
	v.cache.markFresh(0, time.Now())
	return r, v
}

func TestTheCacheAnswersWhileTheFeedIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := newFreshView()
		for range 5 {
			recent(t, v, 0)
		}
		if got := r.count(); got != 1 {
			t.Errorf("%d reads, want 1", got)
		}
		time.Sleep(FreshnessBound)
		recent(t, v, 0)
		recent(t, v, 0)
		if got := r.count(); got != 3 {
			t.Errorf("%d reads with a feed that was not followed for %v, want 3", got, FreshnessBound)
		}
		v.cache.markFresh(0, time.Now())
		recent(t, v, 0)
		if got := r.count(); got != 3 {
			t.Errorf("%d reads after the feed was followed again, want 3", got)
		}
		v.Peek("vs_1", 9) // Peek counts no miss: its caller calls Session next
		if hits, misses := v.Counts(); hits != 5 || misses != 3 {
			t.Errorf("%d hits and %d misses are counted, want 5 and 3", hits, misses)
		}
	})
}

func TestAnEntryEvictsAnOlderRevision(t *testing.T) {
	r, v := newFreshView()
	recent(t, v, 0)
	r.commit("vs_1")
	if got := recent(t, v, 0); got != 1 {
		t.Fatalf("revision %d before the feed showed 2, want 1 from the cache", got)
	}
	v.cache.invalidate("vs_1", 2)
	if got := recent(t, v, 0); got != 2 {
		t.Errorf("revision %d after the feed showed it, want 2", got)
	}
	reads := r.count()
	v.cache.invalidate("vs_1", 2) // again, as after a reconnect
	if recent(t, v, 0); r.count() != reads {
		t.Error("what is known already was read again")
	}
}

func TestAMinRevisionIsReadIfTheCacheIsOlder(t *testing.T) {
	r, v := newFreshView()
	recent(t, v, 0)
	r.commit("vs_1")
	if got := recent(t, v, 2); got != 2 {
		t.Errorf("revision %d, want 2", got)
	}
	if got := recent(t, v, 0); got != 2 {
		t.Errorf("revision %d after 2 was answered", got)
	}
}

func TestAReadThatBeganBeforeAChangeIsNotCached(t *testing.T) {
	for _, meanwhile := range []bool{false, true} { // whether somebody asks while the old read is under way
		synctest.Test(t, func(t *testing.T) {
			r, v := newFreshView()
			late := make(chan struct{})
			calls := 0
			r.slow = func() {
				if calls++; calls == 2 { // the first read's way back
					<-late
				}
			}
			answered := make(chan int32, 1)
			go func() { answered <- recent(t, v, 0) }()
			synctest.Wait()
			r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 2} })
			v.cache.invalidate("vs_1", 2)
			// A caller that the change woke does not wait for the old read, and does not get its answer.
			if meanwhile {
				if got := recent(t, v, 0); got != 2 {
					t.Errorf("revision %d, want 2", got)
				}
			}
			close(late)
			<-answered
			if got := recent(t, v, 0); got != 2 {
				t.Errorf("the old read was cached: revision %d", got)
			}
		})
	}
}

func TestCallersAtTheSameTimeShareARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, v := newFreshView()
		r.slow = func() { time.Sleep(time.Millisecond) }
		var asking sync.WaitGroup
		for range 10_000 {
			asking.Go(func() { recent(t, v, 0) })
		}
		asking.Wait()
		if got := r.count(); got != 1 {
			t.Errorf("%d reads for 10,000 callers at the same time, want 1", got)
		}
	})
}

func TestACallerThatGivesUpLeavesTheReadToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := newFreshView()
		r.slow = func() { time.Sleep(time.Second) }
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := v.Session(ctx, "vs_1", 0)
			gone <- err
		}()
		synctest.Wait()
		answered := make(chan int32, 1)
		go func() { answered <- recent(t, v, 0) }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if got := <-answered; got != 1 || r.count() != 1 {
			t.Errorf("revision %d after %d reads", got, r.count())
		}
	})
}

func TestWhatTheFeedCannotVouchForIsNotAnswered(t *testing.T) {
	tests := []struct {
		name string
		do   func(*View)
		read bool
	}{
		{"another partition is trimmed", func(v *View) { v.cache.reset(1) }, true},
		{"its partition is trimmed", func(v *View) { v.cache.reset(0); v.cache.markFresh(0, time.Now()) }, true},
		{"the feed is cut", func(v *View) { v.cache.markStale() }, true},
		{"the feed was cut and is back", func(v *View) { v.cache.markStale(); v.cache.markFresh(0, time.Now()) }, false},
	}
	for _, test := range tests {
		r, v := newFreshView()
		recent(t, v, 0)
		test.do(v)
		before := r.count()
		if recent(t, v, 0); (r.count() > before) != test.read {
			t.Errorf("%s: %d reads more", test.name, r.count()-before)
		}
	}
}

func TestErrorsAreNotCached(t *testing.T) {
	r, v := newFreshView()
	r.set(func() { r.fail = store.ErrUnavailable })
	if _, err := v.Session(t.Context(), "vs_1", 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	r.set(func() { r.fail = nil })
	recent(t, v, 0)
	if _, err := v.Session(t.Context(), "vs_unknown", 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	r.commit("vs_unknown")
	if _, err := v.Session(t.Context(), "vs_unknown", 0); err != nil {
		t.Errorf("a miss was cached: %v", err)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	r := newRecords()
	v := newView(r, 640)
	v.cache.markFresh(0, time.Now())
	for i := range 10_000 {
		id := fmt.Sprintf("vs_%d", i)
		r.held[id] = verification.Session{ID: id, Revision: 1}
		if _, err := v.Session(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for i := range v.cache.shards {
		held += v.cache.shards[i].entries.Len()
	}
	if held > 640 || held < 600 {
		t.Errorf("%d sessions cached, want 640", held)
	}
}
