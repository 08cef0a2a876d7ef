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

func TestTheMemoryIsToldWhatTheFeedCanVouchFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := newFeed(), &memory{}
		step := func(what string, want ...string) {
			t.Helper()
			time.Sleep(block + time.Millisecond)
			synctest.Wait()
			if got := m.lines(); !slices.Equal(got, want) {
				t.Fatalf("%s: told %q, want %q", what, got, want)
			}
			m.mu.Lock()
			m.log = nil
			m.mu.Unlock()
		}
		runWith(t, f, hub.New(), m)
		step("at the start, behind the head", "forget 0", "forget 1", "trust")
		f.add(1, store.Entry{SessionID: "vs_1", Revision: 3})
		step("an entry, before the feed is trusted", "told vs_1 3", "trust")
		f.set(func() { f.fail = store.ErrUnavailable })
		step("the store is away", "distrust")
		f.set(func() { f.fail = nil })
		time.Sleep(retryMax)
		step("it is back, as it was", "trust")
		f.set(func() { f.lost = true })
		step("it was rewound", "forget 0", "forget 1", "trust")
	})
}

// TestTheLagIsThatOfThePartitionThatIsFurthestBehind, and grows while nothing is known of one.
func TestTheLagIsThatOfThePartitionThatIsFurthestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		tailer := NewTailer(f, hub.New(), &memory{}, nil, slog.New(slog.DiscardHandler))
		runTailer(t, tailer)
		const most = block + checkEvery // between two looks
		lag := func(what string, passed, least, greatest time.Duration) {
			t.Helper()
			time.Sleep(passed)
			synctest.Wait()
			if got := tailer.Lag(); got < least || got > greatest {
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
		lag("the store is away", time.Minute, time.Minute-retryMax, time.Minute+most)
		f.set(func() { f.fail = nil; f.hang = true })
		lag("it hangs", time.Minute, 2*time.Minute-retryMax, 2*time.Minute+most)
		f.set(func() { f.hang = false })
		lag("it is back", 2*(retryMax+callTimeout), 0, most)
	})
}

// TestAWatcherIsWokenAfterTheMemoryKnows: else it would be given what it has seen.
func TestAWatcherIsWokenAfterTheMemoryKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		w := watch(t, h, hub.Session("vs_1"))
		m := &early{memory: &memory{}, woken: w}
		runWith(t, f, h, m)
		synctest.Wait()
		w.woken() // everybody is, at the start
		f.add(0, store.Entry{SessionID: "vs_1", Revision: 1})
		if !w.woken() || m.tooLate {
			t.Errorf("the watcher was woken before the memory was told: %v", m.tooLate)
		}
	})
}

// early is a memory that looks whether a watcher was woken before it was told.
type early struct {
	*memory
	woken   watcher
	tooLate bool
}

func (e *early) Told(string, int32) bool {
	select {
	case <-e.woken.C():
		e.tooLate = true
	default:
	}
	return true
}
