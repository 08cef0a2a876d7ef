package live

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// The store loses a commit of this process before the feed was read up to it: nothing is missing behind the
// reader's position, but the entry of the commit never comes.
func TestG8_AnOwnCommitThatTheFeedDoesNotTellOfIsNotVouchedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := newFreshView()
		if _, err := v.Update(t.Context(), "vs_1", advance); err != nil {
			t.Fatal(err)
		}
		r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 1} })
		if lost := v.cache.markFresh(0, time.Now()); len(lost) != 0 {
			t.Errorf("%v is lost by what the feed held when the commit was answered", lost)
		}
		if got := recent(t, v, 0); got != 2 {
			t.Errorf("revision %d; want 2 from the cache as long as the feed can still show it", got)
		}
		time.Sleep(time.Millisecond)
		if lost := v.cache.markFresh(0, time.Now()); !slices.Equal(lost, []string{"vs_1"}) {
			t.Errorf("lost are %v; want vs_1", lost)
		}
		if got := recent(t, v, 0); got != 1 {
			t.Errorf("revision %d; want 1, which the store has", got)
		}
		time.Sleep(time.Millisecond)
		if lost := v.cache.markFresh(0, time.Now()); len(lost) != 0 {
			t.Errorf("%v is lost a second time", lost)
		}
	})
}

// A commit that the feed has shown, before the commit's answer or after it, is not lost; nor is an update without a
// revision, which it does not show.
func TestOwnCommitsThatTheFeedShowedAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := newFreshView()
		kept := func(what string) {
			t.Helper()
			time.Sleep(time.Millisecond)
			if lost := v.cache.markFresh(0, time.Now()); len(lost) != 0 {
				t.Errorf("%s: %v is lost", what, lost)
			}
		}
		update := func(do func(verification.Session) (verification.Session, bool, error)) {
			t.Helper()
			if _, err := v.Update(t.Context(), "vs_1", do); err != nil {
				t.Fatal(err)
			}
		}
		update(advance)
		v.cache.invalidate("vs_1", 2)
		kept("shown after the answer")
		calls := 0
		r.slow = func() {
			if calls++; calls == 2 {
				v.cache.invalidate("vs_1", 3)
			}
		}
		update(advance)
		r.slow = func() {}
		kept("shown before the answer")
		update(func(s verification.Session) (verification.Session, bool, error) { return s, true, nil })
		kept("without a revision")
		update(advance)
		update(advance)
		v.cache.invalidate("vs_1", 4)
		v.cache.invalidate("vs_1", 5)
		kept("two, shown together")
		update(advance)
		if unconfirmed := v.cache.reset(0); !slices.Equal(unconfirmed, []string{"vs_1"}) {
			t.Errorf("reset with %v unconfirmed; want vs_1", unconfirmed)
		}
		kept("reset")
	})
}

// Two commits of one session are answered in either order: the feed shows the older first, and the newer is
// waited for all the same.
func TestTheNewestOwnCommitIsWaitedFor(t *testing.T) {
	var u ownCommits
	at := time.Now()
	u.add("vs_1", 6, at)
	u.add("vs_1", 5, at)
	u.confirm("vs_1", 5)
	if lost := u.overdue(at.Add(time.Millisecond)); !slices.Equal(lost, []string{"vs_1"}) {
		t.Errorf("lost are %v; want vs_1, whose revision 6 the feed has not shown", lost)
	}
}
