package importing

import (
	"slices"
	"sync"
	"time"
)

// awayFor is how long a reader of the feed can be away, or behind, without losing its position to an import alone. A
// restart or a deployment takes less.
const awayFor = 10 * time.Minute

// pace limits the changes that the import adds to the feed. The feed keeps FeedMaxLen changes in each partition. If an import
// added more than that while a watch of all sessions reconnects, the watch could not resume. So the import adds at most half
// of it in awayFor; the other half is left to webhooks. The store does not know how far its readers have read, so the pace
// is by time. It is safe for concurrent use.
type pace struct {
	limit int

	mu    sync.Mutex
	added []int // by partition, within awayFor
	steps []added
}

// added is how many changes were added to each partition in about a second.
type added struct {
	second int64
	by     []int
}

func newPace(config Config) *pace {
	return &pace{limit: int(max(1, config.FeedMaxLen/2)), added: make([]int, config.Store.Partitions())}
}

// resume notes that runs until a second have added at most count changes to each partition.
func (p *pace) resume(now time.Time, second, count int64) {
	for partition := range p.added {
		p.add(time.Unix(min(second, now.Unix()), 0), partition, int(count))
	}
}

// most returns the number of changes in the partition that got the most of them.
func (p *pace) most() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(slices.Max(p.added))
}

// add notes changes of a partition.
func (p *pace) add(now time.Time, partition, count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if second := now.Unix(); len(p.steps) == 0 || p.steps[len(p.steps)-1].second != second {
		p.steps = append(p.steps, added{second, make([]int, len(p.added))})
	}
	p.steps[len(p.steps)-1].by[partition] += count
	p.added[partition] += count
}

// full reports whether another step could add more than the limit to a partition.
func (p *pace) full(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.steps) > 0 && now.Unix()-p.steps[0].second > int64(awayFor/time.Second) {
		for partition, count := range p.steps[0].by {
			p.added[partition] -= count
		}
		p.steps = p.steps[1:]
	}
	for _, count := range p.added {
		if count > 0 && count+stepSize > p.limit {
			return true
		}
	}
	return false
}
