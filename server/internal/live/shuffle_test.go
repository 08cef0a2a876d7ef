package live

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// TestG8_NeverOlderThanShown lets readers, own writers, other processes' writers and a feed that lags,
// is cut and comes back work at the same time. No answer may be older than one that was complete when
// it was asked for, nor than the store was FreshnessBound before.
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
	v := newWatchedView(r, 64, watchers{func(verification.Session, string) { wake() }, func(string) { wake() }})
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
		for _, change := range r.changesUntil(asked.Add(-FreshnessBound)) {
			if change.revision > revision {
				t.Errorf("revision %d was answered, and %d is older than %v", revision, change.revision, FreshnessBound)
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
			ask(func() (verification.Session, error) { return v.Session(t.Context(), "vs_1", 0) })
		}, 10*time.Millisecond)
	}
	rare := []time.Duration{200 * time.Millisecond, 5 * time.Second}[round%2]
	repeat(func() { ask(func() (verification.Session, error) { return v.Get(t.Context(), "vs_1") }) }, 50*time.Millisecond)
	repeat(func() {
		ask(func() (verification.Session, error) { return v.Update(t.Context(), "vs_1", advance) })
	}, rare)
	repeat(func() { r.commit("vs_1") }, rare)
	// The feed: follows, lags, is cut, comes back.
	next := 0
	repeat(func() {
		until := time.Now()
		changes := r.changesUntil(until)
		wait(100 * time.Millisecond)
		for ; next < len(changes); next++ {
			if v.cache.invalidate(changes[next].id, changes[next].revision) {
				wake()
			}
		}
		if lost := v.cache.markFresh(0, until); len(lost) > 0 {
			t.Errorf("%v is taken for lost", lost)
		}
		mu.Lock()
		cut, trim := rng.IntN(40) == 0, rng.IntN(60) == 0
		mu.Unlock()
		switch {
		case cut:
			v.cache.markStale()
			wait(3 * time.Second)
		case trim: // the reader goes to the head
			next = len(r.changesUntil(time.Now()))
			v.cache.reset(0)
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
				session, err := v.Session(t.Context(), "vs_1", 0)
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
	for changes := r.changesUntil(time.Now()); next < len(changes); next++ {
		if v.cache.invalidate(changes[next].id, changes[next].revision) {
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
