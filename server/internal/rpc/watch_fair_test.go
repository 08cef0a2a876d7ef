package rpc

import (
	"context"
	"fmt"
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
}

func (f *wideFeed) Partitions() int { return len(f.entries) }

func (f *wideFeed) ReadFeed(_ context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away[partition] {
		return nil, store.ErrUnavailable
	}
	var entries []store.Entry
	for seq := after.Seq + 1; seq <= uint64(f.entries[partition]) && len(entries) < limit; seq++ {
		entries = append(entries, store.Entry{
			Partition: partition, Position: store.Position{Epoch: 1, Seq: seq, Nonce: seq},
			SessionID: fmt.Sprintf("vs_%d_%d", partition, seq), Revision: 1,
		})
	}
	return entries, nil
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
			f.mu.Lock()
			f.away = nil
			f.mu.Unlock()
			w.hub.Wake(hub.Partition(7))
			if partition := w.nextPartition(); partition != 7 {
				t.Errorf("a change of partition %d came, want 7", partition)
			}
			w.stop()
		}
	})
}
