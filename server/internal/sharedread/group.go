package sharedread

import (
	"context"
	"sync"
	"time"
)

// Group makes reads of values V by key K. The zero value is ready. It is safe for concurrent use.
type Group[K comparable, V any] struct {
	mu      sync.Mutex
	waiting map[K]*read[V] // nil value: a read is under way, and no caller waits for the next one
	working sync.WaitGroup
}

// read is one read. Its answer is set before done is closed. Group.mu guards the other fields.
type read[V any] struct {
	run   func(context.Context) (V, error)
	done  chan struct{}
	value V
	err   error

	ctx      context.Context    // of the first caller
	deadline time.Time          // the latest of the callers; zero: none
	callers  int                // that wait for the answer or use it
	cancel   context.CancelFunc // nil: not begun
	ended    bool
}

// Next returns the answer of a read that begins after this call. run gets the values of the context of the
// first caller that waits for the read, and the latest deadline of all. Its context ends when no caller waits any
// more. Next returns the context's error if that ends first.
func (g *Group[K, V]) Next(ctx context.Context, key K, run func(context.Context) (V, error)) (V, error) {
	var answer V
	err := g.Use(ctx, key, run, func(value V) error {
		answer = value
		return nil
	})
	return answer, err
}

// Use calls use with the answer that Next would return, and returns the error of use. The next read of the key begins when all
// callers have used this answer: what they write because of it is not newer than the next read. use must not call Next or Use
// with the key.
func (g *Group[K, V]) Use(ctx context.Context, key K, run func(context.Context) (V, error), use func(V) error) error {
	mine := g.join(ctx, key, run)
	defer g.leave(key, mine)
	select {
	case <-mine.done:
		if mine.err != nil {
			return mine.err
		}
		return use(mine.value)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wait returns when no read is under way and no answer is in use. Next and Use must not be called meanwhile.
func (g *Group[K, V]) Wait() { g.working.Wait() }

func (g *Group[K, V]) join(ctx context.Context, key K, run func(context.Context) (V, error)) *read[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = make(map[K]*read[V])
	}
	deadline, _ := ctx.Deadline()
	next, busy := g.waiting[key]
	if next != nil {
		next.callers++
		if deadline.IsZero() || !next.deadline.IsZero() && deadline.After(next.deadline) {
			next.deadline = deadline
		}
		return next
	}
	next = &read[V]{run: run, done: make(chan struct{}), ctx: ctx, deadline: deadline, callers: 1}
	if busy {
		g.waiting[key] = next
		return next
	}
	g.begin(key, next)
	return next
}

// leave removes a caller that has used the answer or has given up. After the last one the next read begins; a read that is under
// way is canceled first.
func (g *Group[K, V]) leave(key K, r *read[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.callers--
	switch {
	case r.callers > 0:
	case r.cancel == nil:
		g.waiting[key] = nil
	case r.ended:
		g.advance(key)
	default:
		r.cancel()
	}
}

// begin makes a read in a goroutine of its own, which outlives a caller that gives up. The lock is held.
func (g *Group[K, V]) begin(key K, r *read[V]) {
	g.waiting[key] = nil
	ctx := context.WithoutCancel(r.ctx)
	if r.deadline.IsZero() {
		ctx, r.cancel = context.WithCancel(ctx)
	} else {
		ctx, r.cancel = context.WithDeadline(ctx, r.deadline)
	}
	g.working.Add(1)
	go func() {
		r.value, r.err = r.run(ctx)
		r.cancel()
		close(r.done)
		g.mu.Lock()
		defer g.mu.Unlock()
		r.ended = true
		if r.callers == 0 {
			g.advance(key)
		}
	}()
}

// advance begins the read that callers wait for, if there is one. It is called once for each read, after the last caller has left. The
// lock is held.
func (g *Group[K, V]) advance(key K) {
	defer g.working.Done()
	if next := g.waiting[key]; next != nil {
		g.begin(key, next)
		return
	}
	delete(g.waiting, key)
}
