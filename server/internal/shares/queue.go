package shares

import (
	"context"
	"sync"
)

// Queue is a number of units that callers wait for. A named holder has at most its share of them at once. The calls of one
// holder get units in the order in which they came. Holders alternate, however many calls each of them has. A call that waits has
// no unit. It is safe for concurrent use.
//
// A Queue does not bound the number of calls that wait. Its users do that, by a Pot.
type Queue struct {
	pot *Pot

	mu      sync.Mutex
	waiting class // of each of these calls, the holder is at its share or all units are taken
}

// NewQueue makes a queue of units, at least one. A named caller has at most each of them at once; 0: no bound.
func NewQueue(units, each int) *Queue {
	return &Queue{pot: New(units, each), waiting: class{calls: make(map[Holder][]*waiter)}}
}

// QueueUnit is a unit of a Queue. The zero QueueUnit stands for none. It must not be copied, and Release must not be called by
// two goroutines at once.
type QueueUnit struct {
	queue *Queue
	unit  Unit
}

// Release returns the unit, and gives it to a call that waits. It does nothing the second time.
func (u *QueueUnit) Release() {
	q := u.queue
	if q == nil {
		return
	}
	u.queue = nil
	q.mu.Lock() // before the release: else a new call of the holder could overtake one that waits
	defer q.mu.Unlock()
	u.unit.Release()
	q.grant()
}

// Take takes a unit for a holder, or returns ErrFull or ErrShare. It never waits.
func (q *Queue) Take(holder Holder) (QueueUnit, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	unit, err := q.pot.Take(holder, nil)
	if err != nil {
		return QueueUnit{}, err
	}
	return QueueUnit{q, unit}, nil
}

// Wait waits for a unit for a holder. It returns the context's error if that ends first.
func (q *Queue) Wait(ctx context.Context, holder Holder) (QueueUnit, error) {
	if err := ctx.Err(); err != nil {
		return QueueUnit{}, err
	}
	mine := q.enqueue(holder)
	select {
	case <-mine.granted:
		return QueueUnit{q, mine.unit}, nil
	case <-ctx.Done():
	}
	if q.leave(holder, mine) {
		return QueueUnit{}, ctx.Err()
	}
	return QueueUnit{q, mine.unit}, nil // it got its unit at the same moment
}

func (q *Queue) enqueue(holder Holder) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	mine := &waiter{granted: make(chan struct{})}
	q.waiting.add(holder, mine)
	q.grant()
	return mine
}

// leave removes a call and reports whether it was waiting.
func (q *Queue) leave(holder Holder, mine *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.remove(holder, mine)
}

// grant gives the free units to waiting calls. The lock is held.
func (q *Queue) grant() {
	for q.grantOne() {
	}
}

// grantOne gives a unit to the first holder in the rotation that can have one, and reports whether there is such a holder. The
// lock is held.
func (q *Queue) grantOne() bool {
	for _, holder := range q.waiting.rotation {
		unit, err := q.pot.Take(holder, nil)
		if err != nil {
			continue
		}
		first := q.waiting.take(holder)
		first.unit = unit
		close(first.granted)
		return true
	}
	return false
}
