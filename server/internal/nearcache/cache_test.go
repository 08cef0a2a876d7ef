package nearcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// records is a store in memory whose answers take their time on the way in and on the way out.
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

// commit is what another process writes: this one's cache hears of it by the feed only.
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

// recent asks and says at which revision the answer is.
func recent(t *testing.T, c *Cache, least int32) int32 {
	t.Helper()
	session, err := c.Recent(t.Context(), "vs_1", least)
	if err != nil {
		t.Fatal(err)
	}
	return session.Revision
}

// newCache is a cache over a store with one session at revision 1, trusted.
func newCache() (*records, *Cache) {
	r := newRecords()
	r.commit("vs_1")
	c := New(r, 1000, time.Now, nil)
	c.Trust(0, time.Now())
	return r, c
}

func TestWhatWasReadIsServedFromMemoryWhileTheFeedIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newCache()
		for range 5 {
			recent(t, c, 0)
		}
		if got := r.count(); got != 1 {
			t.Errorf("%d reads, want 1", got)
		}
		time.Sleep(Bound)
		recent(t, c, 0)
		recent(t, c, 0)
		if got := r.count(); got != 3 {
			t.Errorf("%d reads with a feed that was not followed for %v, want 3", got, Bound)
		}
		c.Trust(0, time.Now())
		recent(t, c, 0)
		if got := r.count(); got != 3 {
			t.Errorf("%d reads after the feed was followed again, want 3", got)
		}
		c.Remembered("vs_1", 9) // memory's no is no miss: who wants more asks Recent
		if hits, misses := c.Counts(); hits != 5 || misses != 3 {
			t.Errorf("%d hits and %d misses are counted, want 5 and 3", hits, misses)
		}
	})
}

func TestAChangeThatIsToldTakesTheOlderOneAway(t *testing.T) {
	r, c := newCache()
	recent(t, c, 0)
	r.commit("vs_1")
	if got := recent(t, c, 0); got != 1 {
		t.Fatalf("revision %d before anybody told, want 1 from memory", got)
	}
	c.Told("vs_1", 2)
	if got := recent(t, c, 0); got != 2 {
		t.Errorf("revision %d after it was told, want 2", got)
	}
	reads := r.count()
	c.Told("vs_1", 2) // again, as after a reconnect
	if recent(t, c, 0); r.count() != reads {
		t.Error("what is known already was read again")
	}
}

func TestALeastRevisionIsReadWhereMemoryIsOlder(t *testing.T) {
	r, c := newCache()
	recent(t, c, 0)
	r.commit("vs_1")
	if got := recent(t, c, 2); got != 2 {
		t.Errorf("revision %d, want 2", got)
	}
	if got := recent(t, c, 0); got != 2 {
		t.Errorf("revision %d after 2 was answered", got)
	}
}

func TestAReadThatBeganBeforeNewsDoesNotEnter(t *testing.T) {
	for _, meanwhile := range []bool{false, true} { // whether somebody asks while the old read is under way
		synctest.Test(t, func(t *testing.T) {
			r, c := newCache()
			late := make(chan struct{})
			calls := 0
			r.slow = func() {
				if calls++; calls == 2 { // the first read's way back
					<-late
				}
			}
			answered := make(chan int32, 1)
			go func() { answered <- recent(t, c, 0) }()
			synctest.Wait()
			r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 2} })
			c.Told("vs_1", 2)
			// Who is woken by the news does not wait for the old read, nor get its answer.
			if meanwhile {
				if got := recent(t, c, 0); got != 2 {
					t.Errorf("revision %d, want 2", got)
				}
			}
			close(late)
			<-answered
			if got := recent(t, c, 0); got != 2 {
				t.Errorf("the old read came into memory: revision %d", got)
			}
		})
	}
}

func TestWhoAsksAtTheSameTimeSharesARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newCache()
		r.slow = func() { time.Sleep(time.Millisecond) }
		var asking sync.WaitGroup
		for range 10_000 {
			asking.Go(func() { recent(t, c, 0) })
		}
		asking.Wait()
		if got := r.count(); got != 1 {
			t.Errorf("%d reads for 10,000 who asked at the same time, want 1", got)
		}
	})
}

func TestACallerWhoGoesLeavesTheReadToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newCache()
		r.slow = func() { time.Sleep(time.Second) }
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := c.Recent(ctx, "vs_1", 0)
			gone <- err
		}()
		synctest.Wait()
		answered := make(chan int32, 1)
		go func() { answered <- recent(t, c, 0) }()
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

// watchers are the test's.
type watchers struct {
	committed func(before, after verification.Session)
	changed   func(id string)
}

func (w watchers) Committed(before, after verification.Session) { w.committed(before, after) }
func (w watchers) Changed(id string)                            { w.changed(id) }

// TestAnOwnCommitsEntryIsNoNews: whether the feed tells of it before the commit's answer is here or after; what
// others have committed is.
func TestAnOwnCommitsEntryIsNoNews(t *testing.T) {
	r := newRecords()
	committed, changed := 0, 0
	c := New(r, 1000, time.Now, watchers{func(_, _ verification.Session) { committed++ }, func(string) { changed++ }})
	c.Trust(0, time.Now())
	update := func(during func(), fn store.UpdateFunc) {
		t.Helper()
		_, err := c.Update(t.Context(), "vs_1", func(current verification.Session) (verification.Session, bool, error) {
			next, write, err := fn(current)
			during() // as close to the commit's answer as may be
			return next, write, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	update(func() {
		if c.Told("vs_1", 1) {
			t.Error("an entry was news while its commit was under way")
		}
	}, advance)
	if got := recent(t, c, 0); got != 1 || r.count() != 0 || committed != 1 || changed != 0 {
		t.Errorf("revision %d after %d reads; %d commits and %d changes told", got, r.count(), committed, changed)
	}
	if c.Told("vs_1", 1) || !c.Told("vs_1", 2) {
		t.Error("afterwards: the own commit is news, or the next one is none")
	}
	r.commit("vs_1")
	update(func() {
		if c.Told("vs_1", 2) {
			t.Error("an entry was news while an update was under way")
		}
	}, func(s verification.Session) (verification.Session, bool, error) { return s, false, nil })
	if changed != 1 || committed != 1 {
		t.Errorf("%d changes and %d commits told, after an update that wrote nothing", changed, committed)
	}
	update(func() { c.Told("vs_1", 4) }, advance) // another process's commit comes right behind
	if changed != 2 || committed != 2 || c.Remembered("vs_1", 0) != nil {
		t.Errorf("%d changes told, remembered %v, although a newer one was told", changed, c.Remembered("vs_1", 0))
	}
	if left := len(c.place("vs_1").updates); left != 0 {
		t.Errorf("%d updates are still under way", left)
	}
}

// TestAnUpdateThatWritesNothingBringsNothingOldIn: its read may be answered after the feed has told of what came next.
func TestAnUpdateThatWritesNothingBringsNothingOldIn(t *testing.T) {
	for name, meanwhile := range map[string]func(c *Cache){
		"told":      func(c *Cache) { c.Told("vs_1", 2) },
		"forgotten": func(c *Cache) { c.Forget(0); c.Trust(0, time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			r, c := newCache()
			c.Store = answersLate{r, func() { meanwhile(c) }}
			_, err := c.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) { return s, false, nil })
			if err != nil {
				t.Fatal(err)
			}
			if held := c.Remembered("vs_1", 0); held != nil {
				t.Errorf("revision %d is remembered", held.Revision)
			}
		})
	}
}

// answersLate lets something happen between what an update reads and its function.
type answersLate struct {
	*records
	meanwhile func()
}

func (a answersLate) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	return a.records.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
		a.meanwhile()
		return fn(current)
	})
}

// TestAnUpdateThatHangsKeepsNoNewsBack, neither the first nor the next.
func TestAnUpdateThatHangsKeepsNoNewsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, changed := newRecords(), 0
		c := New(r, 1000, time.Now, watchers{nil, func(string) { changed++ }})
		hangs := make(chan struct{})
		r.slow = func() { <-hangs }
		var updating sync.WaitGroup
		updating.Go(func() {
			_, _ = c.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) { return s, false, nil })
		})
		for revision := range int32(2) {
			synctest.Wait()
			if c.Told("vs_1", revision+1) {
				t.Error("news did not wait for the update")
			}
			time.Sleep(patience)
			synctest.Wait()
			if changed != int(revision)+1 {
				t.Errorf("%d changes told after revision %d, and %v", changed, revision+1, patience)
			}
		}
		c.Told("vs_1", 3)
		close(hangs)
		updating.Wait()
		time.Sleep(2 * patience)
		if changed != 3 {
			t.Errorf("%d changes told, want 3: the end of the update tells of the last", changed)
		}
	})
}

// TestARevisionOfALostTimelineHidesNoNews: after a loss the numbers begin anew, below what was committed before.
func TestARevisionOfALostTimelineHidesNoNews(t *testing.T) {
	r := newRecords()
	r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 8} })
	var c *Cache
	news, changed := true, 0
	c = New(r, 1000, time.Now, watchers{
		func(_, _ verification.Session) { // as close to the update's end as may be
			c.Forget(0)
			news = c.Told("vs_1", 1)
		},
		func(string) { changed++ },
	})
	if _, err := c.Update(t.Context(), "vs_1", advance); err != nil {
		t.Fatal(err)
	}
	if !news && changed == 0 {
		t.Error("nobody was told of revision 1, because revision 9 was committed before the loss")
	}
	if c.Forget(0); !c.Told("vs_1", 2) {
		t.Error("revision 2 was no news after the update")
	}
}

func TestAnOwnCommitIsKnownAndToldAtOnce(t *testing.T) {
	r := newRecords()
	var told []int32
	c := New(r, 1000, time.Now, watchers{func(_, after verification.Session) { told = append(told, after.Revision) }, nil})
	c.Trust(0, time.Now())
	for range 2 {
		if _, err := c.Update(t.Context(), "vs_1", advance); err != nil {
			t.Fatal(err)
		}
	}
	if got := recent(t, c, 0); got != 2 || r.count() != 0 || len(told) != 2 {
		t.Errorf("revision %d after %d reads, told %v", got, r.count(), told)
	}
	if _, err := c.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) { return s, false, nil }); err != nil || len(told) != 2 {
		t.Errorf("told %v of an update that wrote nothing, %v", told, err)
	}
}

func TestWhatTheFeedCannotVouchForIsForgotten(t *testing.T) {
	tests := []struct {
		name   string
		do     func(*Cache)
		forget bool
	}{
		{"another partition is trimmed", func(c *Cache) { c.Forget(1) }, true},
		{"its partition is trimmed", func(c *Cache) { c.Forget(0); c.Trust(0, time.Now()) }, true},
		{"the feed is cut", func(c *Cache) { c.Distrust() }, true},
		{"the feed was cut and is back", func(c *Cache) { c.Distrust(); c.Trust(0, time.Now()) }, false},
	}
	for _, test := range tests {
		r, c := newCache()
		recent(t, c, 0)
		test.do(c)
		before := r.count()
		if recent(t, c, 0); (r.count() > before) != test.forget {
			t.Errorf("%s: %d reads more", test.name, r.count()-before)
		}
	}
}

func TestErrorsAreNotRemembered(t *testing.T) {
	r, c := newCache()
	r.set(func() { r.fail = store.ErrUnavailable })
	if _, err := c.Recent(t.Context(), "vs_1", 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	r.set(func() { r.fail = nil })
	recent(t, c, 0)
	if _, err := c.Recent(t.Context(), "vs_unknown", 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	r.commit("vs_unknown")
	if _, err := c.Recent(t.Context(), "vs_unknown", 0); err != nil {
		t.Errorf("a miss was remembered: %v", err)
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	r := newRecords()
	c := New(r, 640, time.Now, nil)
	c.Trust(0, time.Now())
	for i := range 10_000 {
		id := fmt.Sprintf("vs_%d", i)
		r.held[id] = verification.Session{ID: id, Revision: 1}
		if _, err := c.Recent(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for i := range c.shards {
		held += c.shards[i].sessions.Len()
	}
	if held > 640 || held < 600 {
		t.Errorf("%d sessions remembered, want 640", held)
	}
}

// TestG8_NeverOlderThanShown lets readers, own writers, other processes' writers and a feed that lags,
// is cut and comes back work at the same time. No answer may be older than one that was complete when
// it was asked for, nor than the store was Bound before.
func TestG8_NeverOlderThanShown(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 6 {
		synctest.Test(t, func(t *testing.T) { shuffleOnce(t, seed, uint64(round)) })
	}
}

func shuffleOnce(t *testing.T, seed, round uint64) {
	r := newRecords()
	r.commit("vs_1")
	var mu sync.Mutex // guards rng, shown
	rng := rand.New(rand.NewPCG(seed, round))
	wait := func(most time.Duration) {
		mu.Lock()
		d := time.Duration(rng.Int64N(int64(most)))
		mu.Unlock()
		time.Sleep(d)
	}
	r.slow = func() { wait(30 * time.Millisecond) }
	woken := make(chan struct{}, 1)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	c := New(r, 64, time.Now, watchers{func(_, _ verification.Session) { wake() }, func(string) { wake() }})
	var shown, seen int32
	over := time.Now().Add(20 * time.Second)
	var working sync.WaitGroup
	repeat := func(do func(), pause time.Duration) {
		working.Go(func() {
			for time.Now().Before(over) {
				do()
				wait(pause)
			}
		})
	}
	answer := func(revision, floor int32, asked time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if revision < floor {
			t.Errorf("revision %d was answered after %d", revision, floor)
		}
		for _, change := range r.changesUntil(asked.Add(-Bound)) {
			if change.revision > revision {
				t.Errorf("revision %d was answered, and %d is older than %v", revision, change.revision, Bound)
			}
		}
		shown = max(shown, revision)
	}
	ask := func(do func() (verification.Session, error)) {
		mu.Lock()
		floor, asked := shown, time.Now()
		mu.Unlock()
		if session, err := do(); err != nil {
			t.Error(err)
		} else {
			answer(session.Revision, floor, asked)
		}
	}
	for range 8 {
		repeat(func() {
			ask(func() (verification.Session, error) { return c.Recent(t.Context(), "vs_1", 0) })
		}, 10*time.Millisecond)
	}
	rare := []time.Duration{200 * time.Millisecond, 5 * time.Second}[round%2]
	repeat(func() { ask(func() (verification.Session, error) { return c.Get(t.Context(), "vs_1") }) }, 50*time.Millisecond)
	repeat(func() {
		ask(func() (verification.Session, error) { return c.Update(t.Context(), "vs_1", advance) })
	}, rare)
	repeat(func() { r.commit("vs_1") }, rare)
	// The feed: follows, lags, is cut, comes back.
	place := 0
	repeat(func() {
		until := time.Now()
		changes := r.changesUntil(until)
		wait(100 * time.Millisecond)
		for ; place < len(changes); place++ {
			if c.Told(changes[place].id, changes[place].revision) {
				wake()
			}
		}
		c.Trust(0, until)
		mu.Lock()
		cut, trim := rng.IntN(40) == 0, rng.IntN(60) == 0
		mu.Unlock()
		switch {
		case cut:
			c.Distrust()
			wait(3 * time.Second)
		case trim: // the reader goes to the head
			place = len(r.changesUntil(time.Now()))
			c.Forget(0)
			wake()
		}
	}, 100*time.Millisecond)
	// A watcher looks whenever it is woken, and never else.
	ending := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-woken:
				session, err := c.Recent(t.Context(), "vs_1", 0)
				if err != nil {
					t.Error(err)
				}
				seen = max(seen, session.Revision)
			case <-ending:
				return
			}
		}
	})
	working.Wait()
	for changes := r.changesUntil(time.Now()); place < len(changes); place++ {
		if c.Told(changes[place].id, changes[place].revision) {
			wake()
		}
	}
	synctest.Wait()
	time.Sleep(time.Second) // reads take their time
	close(ending)
	watching.Wait()
	if last, err := r.Get(t.Context(), "vs_1"); err != nil || seen != last.Revision {
		t.Errorf("the watcher was woken up to revision %d of %d, %v", seen, last.Revision, err)
	}
}

func (r *records) changesUntil(until time.Time) []change {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.changes) && !r.changes[n].at.After(until) {
		n++
	}
	return r.changes[:n]
}
