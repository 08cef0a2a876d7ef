package importing

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
)

// awayFor is how long a reader of the feed can be away, or behind, without losing its position to an import alone. A
// restart or a deployment takes less.
const awayFor = 10 * time.Minute

// lookEvery is the pause between two looks at the consumers of the feed. Webhooks add changes too.
const lookEvery = 10 * time.Second

// pace limits the changes that the import adds to the feed. The feed keeps FeedMaxLen changes in each partition; half of them
// are left to webhooks. It is safe for concurrent use.
//
// The store knows how far the named consumers of the feed have come. The import waits while one of them has more than the other
// half to acknowledge. Of other watches of all sessions the store knows nothing. For them the import adds at most the other
// half in awayFor, so that a watch that reconnects meanwhile can resume.
type pace struct {
	limit int

	mu    sync.Mutex
	added []int // by partition, within awayFor
	steps []added

	looked  time.Time // when the consumers were looked at; zero: never
	pending []int     // by partition, the most changes that a consumer had to acknowledge then, and those added since
	slowest []string  // by partition, the consumer that had them; empty: there is no consumer
}

// added is how many changes were added to each partition in about a second.
type added struct {
	second int64
	by     []int
}

func newPace(config Config) *pace {
	partitions := config.Store.Partitions()
	return &pace{
		limit: int(max(1, config.FeedMaxLen/2)), added: make([]int, partitions),
		pending: make([]int, partitions), slowest: make([]string, partitions),
	}
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
	p.pending[partition] += count
}

// look notes how much the consumers have to acknowledge, if a look is due: after lookEvery, and as long as a consumer keeps the
// import waiting. It costs a round trip for each consumer. It leaves out expired consumers: changes are lost to them already, and
// nothing that they acknowledge ends the wait.
func (p *pace) look(ctx context.Context, now time.Time, feed store.Consumers) error {
	if !p.due(now) {
		return nil
	}
	consumers, err := feed.ListConsumers(ctx)
	if err != nil {
		return err
	}
	pending, slowest := make([]int, len(p.pending)), make([]string, len(p.slowest))
	for _, consumer := range consumers {
		behind, err := feed.Behind(ctx, consumer.Positions)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(behind, func(b store.Behind) bool { return b.Err != nil }) {
			continue
		}
		for partition, b := range behind {
			if slowest[partition] == "" || int(b.Entries) > pending[partition] {
				pending[partition], slowest[partition] = int(b.Entries), consumer.Name
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked, p.pending, p.slowest = now, pending, slowest
	return nil
}

func (p *pace) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looked.IsZero() || now.Sub(p.looked) >= lookEvery || p.slow() != ""
}

// slow returns the consumer that has too much to acknowledge for another step. It returns "" if there is none. Call it with the
// lock held.
func (p *pace) slow() string {
	for partition, count := range p.pending {
		if p.slowest[partition] != "" && count > 0 && count+stepSize > p.limit {
			return p.slowest[partition]
		}
	}
	return ""
}

// full returns what the import must wait for: another step could add more than the limit to a partition. It returns "" if the
// import need not wait.
func (p *pace) full(now time.Time) (reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name := p.slow(); name != "" {
		return "the consumer " + name + " of the change feed has not acknowledged half of what the feed keeps; see the command consumers"
	}
	for len(p.steps) > 0 && now.Unix()-p.steps[0].second > int64(awayFor/time.Second) {
		for partition, count := range p.steps[0].by {
			p.added[partition] -= count
		}
		p.steps = p.steps[1:]
	}
	for _, count := range p.added {
		if count > 0 && count+stepSize > p.limit {
			return "the feed is half full of imported sessions; readers get time to read them"
		}
	}
	return ""
}
