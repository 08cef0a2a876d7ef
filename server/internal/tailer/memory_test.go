package tailer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/hub"
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

func (e *early) Told(string, int32) {
	select {
	case <-e.woken.C():
		e.tooLate = true
	default:
	}
}
