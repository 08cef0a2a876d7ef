package live

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// watchers stand in for the notifier: committed for the commits of this process, changed for a session whose
// wake-up was left to an update.
type watchers struct {
	committed func(session verification.Session, before string)
	changed   func(id string)
}

func newWatchedView(s store.Store, size int, w watchers) *View {
	v := newView(s, size)
	v.committed, v.cache.wake = w.committed, w.changed
	return v
}

// TestAnOwnCommitsEntryWakesNobodyAgain, whether the feed shows it before the commit's answer or after. The
// entries of other processes wake.
func TestAnOwnCommitsEntryWakesNobodyAgain(t *testing.T) {
	r := newRecords()
	committed, changed := 0, 0
	v := newWatchedView(r, 1000, watchers{func(verification.Session, string) { committed++ }, func(string) { changed++ }})
	v.cache.markFresh(0, time.Now())
	update := func(during func(), fn store.UpdateFunc) {
		t.Helper()
		_, err := v.Update(t.Context(), "vs_1", func(current verification.Session) (verification.Session, bool, error) {
			next, write, err := fn(current)
			during() // as close to the commit's answer as may be
			return next, write, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	update(func() {
		if v.cache.invalidate("vs_1", 1) {
			t.Error("an entry woke the watchers while its commit was in flight")
		}
	}, advance)
	if got := recent(t, v, 0); got != 1 || r.count() != 0 || committed != 1 || changed != 0 {
		t.Errorf("revision %d after %d reads; %d commits and %d changes woke", got, r.count(), committed, changed)
	}
	if v.cache.invalidate("vs_1", 1) || !v.cache.invalidate("vs_1", 2) {
		t.Error("afterwards: the own commit wakes again, or the next one does not")
	}
	r.commit("vs_1")
	update(func() {
		if v.cache.invalidate("vs_1", 2) {
			t.Error("an entry woke the watchers while an update was in flight")
		}
	}, func(s verification.Session) (verification.Session, bool, error) { return s, false, nil })
	if changed != 1 || committed != 1 {
		t.Errorf("%d changes and %d commits woke, after an update that wrote nothing", changed, committed)
	}
	update(func() { v.cache.invalidate("vs_1", 4) }, advance) // another process's commit comes right behind
	if changed != 2 || committed != 2 || v.Peek("vs_1", 0) != nil {
		t.Errorf("%d changes woke, cached is %v, although the feed showed a newer one", changed, v.Peek("vs_1", 0))
	}
	if left := len(v.cache.handle("vs_1").updates); left != 0 {
		t.Errorf("%d updates are still under way", left)
	}
}

// TestAnUpdateThatWritesNothingCachesNothingOld: its read can be answered after the feed has shown the next revision.
func TestAnUpdateThatWritesNothingCachesNothingOld(t *testing.T) {
	for name, meanwhile := range map[string]func(v *View){
		"shown": func(v *View) { v.cache.invalidate("vs_1", 2) },
		"reset": func(v *View) { v.cache.reset(0); v.cache.markFresh(0, time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			r, v := newFreshView()
			v.Store = answersLate{r, func() { meanwhile(v) }}
			_, err := v.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) { return s, false, nil })
			if err != nil {
				t.Fatal(err)
			}
			if held := v.Peek("vs_1", 0); held != nil {
				t.Errorf("revision %d is cached", held.Revision)
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

// TestAnUpdateThatHangsKeepsNoWakeUpBack, neither the first nor the next.
func TestAnUpdateThatHangsKeepsNoWakeUpBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, changed := newRecords(), 0
		v := newWatchedView(r, 1000, watchers{nil, func(string) { changed++ }})
		hangs := make(chan struct{})
		r.slow = func() { <-hangs }
		var updating sync.WaitGroup
		updating.Go(func() {
			_, _ = v.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) { return s, false, nil })
		})
		for revision := range int32(2) {
			synctest.Wait()
			if v.cache.invalidate("vs_1", revision+1) {
				t.Error("the wake-up did not wait for the update")
			}
			time.Sleep(updateGrace)
			synctest.Wait()
			if changed != int(revision)+1 {
				t.Errorf("%d changes woke after revision %d, and %v", changed, revision+1, updateGrace)
			}
		}
		v.cache.invalidate("vs_1", 3)
		close(hangs)
		updating.Wait()
		time.Sleep(2 * updateGrace)
		if changed != 3 {
			t.Errorf("%d changes woke, want 3: the end of the update wakes for the last", changed)
		}
	})
}

// TestARevisionOfALostTimelineHidesNoWakeUp: after a loss the numbers begin again, below what was committed before.
func TestARevisionOfALostTimelineHidesNoWakeUp(t *testing.T) {
	r := newRecords()
	r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 8} })
	var v *View
	wake, changed := true, 0
	v = newWatchedView(r, 1000, watchers{
		func(verification.Session, string) { // as close to the update's end as may be
			v.cache.reset(0)
			wake = v.cache.invalidate("vs_1", 1)
		},
		func(string) { changed++ },
	})
	if _, err := v.Update(t.Context(), "vs_1", advance); err != nil {
		t.Fatal(err)
	}
	if !wake && changed == 0 {
		t.Error("nothing woke for revision 1, because revision 9 was committed before the loss")
	}
	if v.cache.reset(0); !v.cache.invalidate("vs_1", 2) {
		t.Error("revision 2 woke nobody after the update")
	}
}

func TestAnOwnCommitIsCachedAndWakesAtOnce(t *testing.T) {
	r := newRecords()
	var woke []int32
	v := newWatchedView(r, 1000, watchers{func(after verification.Session, _ string) { woke = append(woke, after.Revision) }, nil})
	v.cache.markFresh(0, time.Now())
	for range 2 {
		if _, err := v.Update(t.Context(), "vs_1", advance); err != nil {
			t.Fatal(err)
		}
	}
	if got := recent(t, v, 0); got != 2 || r.count() != 0 || len(woke) != 2 {
		t.Errorf("revision %d after %d reads, woke for %v", got, r.count(), woke)
	}
	if _, err := v.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) { return s, false, nil }); err != nil || len(woke) != 2 {
		t.Errorf("woke for %v after an update that wrote nothing, %v", woke, err)
	}
}

// TestACommitIsNotCachedAfterANewerRead: another process has committed revision 2, and somebody was answered
// it from a read that could not be cached; our own revision 1 comes last.
func TestACommitIsNotCachedAfterANewerRead(t *testing.T) {
	v := newView(newRecords(), 1000)
	at := v.cache.handle("vs_1")
	before := at.generation()
	v.cache.invalidate("vs_1", 0) // a change of another session with the same counter would do too
	u, since := at.begin(), at.generation()
	at.put(&verification.Session{ID: "vs_1", Revision: 2}, before, 0, nil)
	at.put(&verification.Session{ID: "vs_1", Revision: 1}, since, 1, u)
	if held, _ := at.get(); held != nil {
		t.Errorf("revision %d is cached after 2 was answered", held.Revision)
	}
	at.end(u)
}
