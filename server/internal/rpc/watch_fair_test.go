package rpc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// wideFeed is a feed of 16 partitions. Each entry is of a session of its own, "vs_<partition>_<seq>".
type wideFeed struct {
	live.Sessions
	mu      sync.Mutex
	entries [16]int
	away    map[int]bool // the partitions that cannot be read
	hangs   bool         // their reads end with their contexts
	// tail is the position from which on the tail has the entries; 0: it has none.
	tail       uint64
	background [16][]bool // of the reads of each partition
}

func (f *wideFeed) Partitions() int { return len(f.entries) }

func (f *wideFeed) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.background[partition] = append(f.background[partition], live.IsBackground(ctx))
	if f.away[partition] {
		if f.hangs {
			f.mu.Unlock()
			<-ctx.Done()
			f.mu.Lock()
		}
		return nil, store.ErrUnavailable
	}
	return f.after(partition, after, limit), nil
}

func (f *wideFeed) Tail(partition int, after store.Position, limit int) ([]store.Entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tail == 0 || after.Seq < f.tail {
		return nil, false
	}
	return f.after(partition, after, limit), true
}

func (f *wideFeed) after(partition int, after store.Position, limit int) (entries []store.Entry) {
	for seq := after.Seq + 1; seq <= uint64(f.entries[partition]) && len(entries) < limit; seq++ {
		entries = append(entries, store.Entry{
			Partition: partition, Position: store.Position{Epoch: 1, Seq: seq, Nonce: seq},
			SessionID: fmt.Sprintf("vs_%d_%d", partition, seq), Revision: 1,
		})
	}
	return entries
}

// setWide changes the feed, and wakes the watch of a partition.
func (w *watching) setWide(f *wideFeed, partition int, change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	w.hub.Wake(hub.Partition(partition))
	synctest.Wait()
}

func (f *wideFeed) SessionAt(_ context.Context, entry store.Entry) (verification.Session, error) {
	return life(entry.SessionID, 1), nil
}

// watchWide begins a watch of all sessions over a wideFeed, and takes its first response.
func watchWide(t *testing.T, f *wideFeed) *watching {
	w := newWatching(t, 0)
	f.Sessions = w.service.watcher.sessions
	w.service.watcher.sessions = f
	w.start(allSessions())
	w.next()
	return w
}

// nextPartition returns the partition of the next change.
func (w *watching) nextPartition() (partition int) {
	w.t.Helper()
	id := w.next().GetVerification().GetSessionId()
	if _, err := fmt.Sscanf(id, "vs_%d_", &partition); err != nil {
		w.t.Fatalf("session %q: %v", id, err)
	}
	return partition
}

// TestG15_EachPartitionIsFirstInSomeStream: a consumer that is restarted after each change handles changes of all partitions. The test
// fails by chance once in 10^20 runs.
func TestG15_EachPartitionIsFirstInSomeStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &wideFeed{}
		for partition := range f.entries {
			f.entries[partition] = 1
		}
		first := map[int]int{}
		for range 800 {
			w := watchWide(t, f)
			first[w.nextPartition()]++
			w.stop()
		}
		if len(first) != len(f.entries) {
			t.Errorf("the partitions of the first change of 800 streams are %v, want each of %d", first, len(f.entries))
		}
	})
}

// TestG15_ALongPartitionDoesNotHoldUpTheOthers: a page of each partition is sent in turn.
func TestG15_ALongPartitionDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // each begins at another partition
			f := &wideFeed{}
			f.entries[3], f.entries[9] = 10*feedPage, 1
			w := watchWide(t, f)
			before := 0
			for w.nextPartition() != 9 {
				before++
			}
			if before > feedPage {
				t.Errorf("%d changes of another partition were sent first, want at most %d", before, feedPage)
			}
			w.stop()
		}
	})
}

// TestG15_APartitionThatIsAwayDoesNotHoldUpTheOthers: on a Cluster, some of the partitions can be unavailable.
func TestG15_APartitionThatIsAwayDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			f := &wideFeed{away: map[int]bool{7: true}}
			for partition := range f.entries {
				f.entries[partition] = 1
			}
			w := watchWide(t, f)
			began, got := time.Now(), map[int]bool{}
			for len(got) < len(f.entries)-1 {
				got[w.nextPartition()] = true
			}
			if took := time.Since(began); got[7] || took > 3*pollAfterFailure {
				t.Errorf("the changes of the partitions %v came within %v, want all but 7 within %v", got, took, 3*pollAfterFailure)
			}
			w.setWide(f, 7, func() { f.away = nil })
			if partition := w.nextPartition(); partition != 7 {
				t.Errorf("a change of partition %d came, want 7", partition)
			}
			w.stop()
		}
	})
}

// TestG15_ANodeThatIsAwayDoesNotHoldUpTheOthers: a third of the partitions is away, as with one of three nodes of a Cluster, and reads of them
// fail at once or hang. Changes of the others come soon after the node is lost, and each later change comes after one read that hangs at
// most. When the node is back, its changes come.
func TestG15_ANodeThatIsAwayDoesNotHoldUpTheOthers(t *testing.T) {
	for _, test := range []struct {
		hangs        bool
		first, later time.Duration
	}{
		{false, pollAfterFailure, pollAfterFailure},
		// The first wake-up can begin a pass without the others: the node then holds up two passes, and no more.
		{true, 2*readTimeout + 5*afterFailure + pollAfterFailure, readTimeout + pollAfterFailure},
	} {
		synctest.Test(t, func(t *testing.T) {
			for range 20 { // each begins at another partition
				f := &wideFeed{}
				w := watchWide(t, f)
				change := func() (took time.Duration) {
					f.mu.Lock()
					for partition := range f.entries {
						f.entries[partition]++
					}
					f.mu.Unlock()
					for partition := range f.entries {
						w.hub.Wake(hub.Partition(partition))
					}
					began, got := time.Now(), map[int]bool{}
					for len(got) < 10 {
						partition := w.nextPartition()
						if f.away[partition] {
							t.Fatalf("a change of partition %d came, which is away", partition)
						}
						got[partition] = true
					}
					return time.Since(began)
				}
				f.mu.Lock()
				f.away, f.hangs = map[int]bool{0: true, 3: true, 6: true, 9: true, 12: true, 15: true}, test.hangs
				f.mu.Unlock()
				if took := change(); took > test.first {
					t.Errorf("hangs: %t: the first changes took %v, want at most %v", test.hangs, took, test.first)
				}
				for range 5 {
					time.Sleep(10 * time.Second)
					if took := change(); took > test.later {
						t.Errorf("hangs: %t: later changes took %v, want at most %v", test.hangs, took, test.later)
					}
				}
				f.mu.Lock()
				f.away = nil
				f.mu.Unlock()
				began, back := time.Now(), 0
				for back < 6*6 {
					if w.nextPartition()%3 == 0 {
						back++
					}
				}
				if took, most := time.Since(began), readTimeout+2*pollAfterFailure; took > most {
					t.Errorf("hangs: %t: the changes of the node came %v after it was back, want at most %v", test.hangs, took, most)
				}
				w.stop()
			}
		})
	}
}

// TestG15_EachPartitionCatchesUpInTheBackground: all pages of a partition but its first, and no page of another partition that is near
// the head, or that has come to it by the tail.
func TestG15_EachPartitionCatchesUpInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &wideFeed{tail: 2 * feedPage}
		f.entries[3], f.entries[9], f.entries[12] = feedPage+1, feedPage+1, 2*feedPage+1
		w := watchWide(t, f)
		w.setWide(f, 12, func() {
			f.tail = 0
			f.entries[12]++
		})
		w.stop()
		for partition, want := range map[int][]bool{0: {false}, 3: {false, true}, 9: {false, true}, 12: {false, true, false}} {
			if got := f.background[partition]; !slices.Equal(got, want) {
				t.Errorf("partition %d is read in the background: %v, want %v", partition, got, want)
			}
		}
	})
}
