package stripesim

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// queue has the work that is due later: timers, which are short and run one at a time, and deliveries, which run concurrently up to a
// limit. Deliveries of one lane run one at a time, in the order in which they are due. A job can add jobs. settle does not see a gap
// between them.
type queue struct {
	maxDeliveries int
	wake          chan struct{} // size 1

	mu         sync.Mutex
	running    bool
	seq        uint64
	timers     jobHeap
	deliveries jobHeap
	waiting    int               // deliveries not yet begun, parked ones included
	lanes      map[string][]*job // the busy lanes, with the deliveries that wait for them
	inFlight   int
	pending    int           // all jobs not yet done
	idle       chan struct{} // closed when pending falls to 0; nil if no settle waits
}

type job struct {
	due  time.Time
	seq  uint64 // the order of jobs that are due at the same time
	lane string // "" for none
	run  func(context.Context)
}

func newQueue(maxDeliveries int) *queue {
	return &queue{maxDeliveries: maxDeliveries, wake: make(chan struct{}, 1), lanes: make(map[string][]*job)}
}

func (q *queue) addTimer(due time.Time, fn func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(&q.timers, &job{due: due, run: func(context.Context) { fn() }})
}

// addDelivery returns false if too many are waiting.
func (q *queue) addDelivery(due time.Time, lane string, run func(context.Context)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= q.maxDeliveries {
		return false
	}
	q.waiting++
	q.push(&q.deliveries, &job{due: due, lane: lane, run: run})
	return true
}

func (q *queue) push(h *jobHeap, j *job) {
	q.seq++
	j.seq = q.seq
	q.pending++
	heap.Push(h, j)
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a wake-up is already on its way
	}
}

// run works until ctx is done, then waits for the jobs in progress.
func (q *queue) run(ctx context.Context, concurrency int) error {
	q.mu.Lock()
	if q.running {
		q.mu.Unlock()
		return errors.New("stripesim: Run is already running: start it once")
	}
	q.running = true
	q.mu.Unlock()

	var inFlight sync.WaitGroup
	defer func() {
		inFlight.Wait()
		q.mu.Lock()
		q.running = false
		q.mu.Unlock()
	}()
	for ctx.Err() == nil {
		now := time.Now()
		if j := q.nextTimer(now); j != nil {
			j.run(ctx)
			q.done()
			continue
		}
		if j := q.nextDelivery(now, concurrency); j != nil {
			inFlight.Go(func() {
				j.run(ctx)
				q.delivered(j)
			})
			continue
		}
		q.sleep(ctx, now, concurrency)
	}
	return nil
}

// sleep waits for a new job, the end of a job, or the next job that is due.
func (q *queue) sleep(ctx context.Context, now time.Time, concurrency int) {
	var due <-chan time.Time
	if next, ok := q.nextDue(concurrency); ok {
		timer := time.NewTimer(next.Sub(now))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-q.wake:
	case <-due:
	}
}

func (q *queue) nextDue(concurrency int) (time.Time, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var next time.Time
	if len(q.timers) > 0 {
		next = q.timers[0].due
	}
	// If all slots are taken, a delivery that is due must not keep the loop spinning: the end of another one wakes the loop.
	if len(q.deliveries) > 0 && q.inFlight < concurrency && (next.IsZero() || q.deliveries[0].due.Before(next)) {
		next = q.deliveries[0].due
	}
	return next, !next.IsZero()
}

func (q *queue) nextTimer(now time.Time) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.timers) == 0 || q.timers[0].due.After(now) {
		return nil
	}
	return heap.Pop(&q.timers).(*job)
}

func (q *queue) nextDelivery(now time.Time, concurrency int) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.inFlight < concurrency && len(q.deliveries) > 0 && !q.deliveries[0].due.After(now) {
		j := heap.Pop(&q.deliveries).(*job)
		if parked, busy := q.lanes[j.lane]; busy {
			q.lanes[j.lane] = append(parked, j)
			continue
		}
		if j.lane != "" {
			q.lanes[j.lane] = nil
		}
		q.waiting--
		q.inFlight++
		return j
	}
	return nil
}

// delivered frees the job's slot and lane.
func (q *queue) delivered(j *job) {
	q.mu.Lock()
	q.inFlight--
	// Parked deliveries go back with their due time and number, so that they keep their order.
	for _, parked := range q.lanes[j.lane] {
		heap.Push(&q.deliveries, parked)
	}
	delete(q.lanes, j.lane)
	q.signal()
	q.mu.Unlock()
	q.done()
}

func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending--
	if q.pending == 0 && q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

func (q *queue) settle(ctx context.Context) error {
	for {
		q.mu.Lock()
		if q.pending == 0 {
			q.mu.Unlock()
			return nil
		}
		if q.idle == nil {
			q.idle = make(chan struct{})
		}
		idle, pending := q.idle, q.pending
		q.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("stripesim: %d webhooks or delays were still open: %w", pending, ctx.Err())
		}
	}
}

// jobHeap is a heap with the job that is due first on top.
type jobHeap []*job

func (h jobHeap) Len() int { return len(h) }
func (h jobHeap) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h jobHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *jobHeap) Push(x any)   { *h = append(*h, x.(*job)) }
func (h *jobHeap) Pop() any {
	old := *h
	last := len(old) - 1
	j := old[last]
	old[last] = nil
	*h = old[:last]
	return j
}
