package rpc

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestG15_APartitionThatIsBackIsReadAsTheOthers: it could not be read once. When another one is away later, its changes come with those
// of the others.
func TestG15_APartitionThatIsBackIsReadAsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // each begins at another partition
			f := &wideFeed{away: map[int]bool{3: true}}
			f.entries[3] = 1
			w := watchWide(t, f)
			synctest.Wait() // the first read of partition 3 has failed
			w.setWide(f, 3, func() { f.away = nil })
			if partition := w.nextPartition(); partition != 3 {
				t.Fatalf("a change of partition %d came, want 3", partition)
			}
			synctest.Wait()
			f.mu.Lock()
			f.away = map[int]bool{9: true}
			for partition := range f.entries {
				f.entries[partition]++
			}
			f.mu.Unlock() // without a wake-up for one partition: the next pass over all finds the changes
			came := map[int]time.Time{}
			var first time.Time
			for len(came) < len(f.entries)-1 {
				came[w.nextPartition()] = time.Now()
				if first.IsZero() {
					first = time.Now()
				}
			}
			if late := came[3].Sub(first); late != 0 {
				t.Errorf("the change of partition 3 came %v after the first one, want with it", late)
			}
			w.stop()
		}
	})
}
