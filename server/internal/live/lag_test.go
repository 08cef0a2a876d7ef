package live

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
)

func TestTheCacheLearnsWhatTheFeedCanVouchFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := newFeed(), &fakeCache{}
		step := func(what string, want ...string) {
			t.Helper()
			time.Sleep(followBlock + time.Millisecond)
			synctest.Wait()
			if got := m.lines(); !slices.Equal(got, want) {
				t.Fatalf("%s: the cache got %q, want %q", what, got, want)
			}
			m.mu.Lock()
			m.log = nil
			m.mu.Unlock()
		}
		runWith(t, f, hub.New(), m)
		step("at the start, behind the head", "reset 0", "reset 1", "fresh")
		f.add(1, store.Entry{SessionID: "vs_1", Revision: 3})
		step("an entry, before the cache is fresh", "invalidate vs_1 3", "fresh")
		f.set(func() { f.fail = store.ErrUnavailable })
		step("the store is unavailable", "stale")
		f.set(func() { f.fail = nil })
		time.Sleep(retryMax)
		step("it is back, as it was", "fresh")
		f.set(func() { f.lost = true })
		step("it was rewound", "reset 0", "reset 1", "fresh")
	})
}

// TestTheLagIsThatOfThePartitionThatIsFurthestBehind, and grows while nothing is known of one.
func TestTheLagIsThatOfThePartitionThatIsFurthestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		follower := newFollowing(f, hub.New(), &fakeCache{}, nil, slog.New(slog.DiscardHandler))
		runFollower(t, follower)
		const most = followBlock + checkEvery // between two looks
		lag := func(what string, passed, least, greatest time.Duration) {
			t.Helper()
			time.Sleep(passed)
			synctest.Wait()
			if got := follower.lag(); got < least || got > greatest {
				t.Errorf("%s: a lag of %v, want %v to %v", what, got, least, greatest)
			}
		}
		lag("at the start", time.Second, 0, most)
		lag("nothing new", time.Minute, 0, most)
		stuck := time.Now()
		f.set(func() { f.behind = &stuck })
		lag("one partition is followed no more, the other is", time.Minute, time.Minute, time.Minute)
		f.set(func() { f.behind = &time.Time{} })
		lag("one was never followed since a failure", time.Minute, 2*time.Minute, 2*time.Minute)
		f.set(func() { f.behind = nil })
		lag("all are", retryMax, 0, most)
		f.set(func() { f.fail = store.ErrUnavailable })
		lag("the store is unavailable", time.Minute, time.Minute-retryMax, time.Minute+most)
		f.set(func() { f.fail = nil; f.hang = true })
		lag("it hangs", time.Minute, 2*time.Minute-retryMax, 2*time.Minute+most)
		f.set(func() { f.hang = false })
		lag("it is back", 2*(retryMax+callTimeout), 0, most)
	})
}

// TestAWatcherIsWokenAfterTheCache: else it would read the session that it has seen.
func TestAWatcherIsWokenAfterTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		w := watch(t, h, hub.Session("vs_1"))
		m := &orderedCache{fakeCache: &fakeCache{}, woken: w}
		runWith(t, f, h, m)
		synctest.Wait()
		w.woken() // everybody is, at the start
		f.add(0, store.Entry{SessionID: "vs_1", Revision: 1})
		if !w.woken() || m.tooLate {
			t.Errorf("the watcher was not woken, or before the cache was invalidated: %v", m.tooLate)
		}
	})
}

// orderedCache notes whether a watcher was woken before the cache was invalidated.
type orderedCache struct {
	*fakeCache
	woken   watcher
	tooLate bool
}

func (c *orderedCache) invalidate(string, int32) bool {
	select {
	case <-c.woken.C():
		c.tooLate = true
	default:
	}
	return true
}
