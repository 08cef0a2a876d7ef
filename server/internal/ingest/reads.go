package ingest

import (
	"context"
	"sync"

	"example.com/verification-status/server/internal/verification"
)

// reads shares GETs among those who wait for one of the same session, but never one that is already
// under way: an answer may be older than the event that asks for it. So while one GET is under way
// all newcomers wait for the next one. The zero value is ready.
type reads struct {
	mu      sync.Mutex
	waiting map[question]*sharedRead // nil value: one is under way and nobody waits
	working sync.WaitGroup
}

// sharedRead is one GET and its answer, which is set before done is closed.
type sharedRead struct {
	run  func() (verification.Read, error)
	done chan struct{}
	read verification.Read
	err  error
}

// next returns the answer of a GET that begins after this call. run is called without locks, in a
// goroutine that outlives an impatient caller.
func (r *reads) next(ctx context.Context, what question, run func() (verification.Read, error)) (verification.Read, error) {
	mine := r.join(what, run)
	select {
	case <-mine.done:
		return mine.read, mine.err
	case <-ctx.Done():
		return verification.Read{}, ctx.Err()
	}
}

func (r *reads) join(what question, run func() (verification.Read, error)) *sharedRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[question]*sharedRead)
	}
	next, underWay := r.waiting[what]
	if next != nil {
		return next
	}
	next = &sharedRead{run: run, done: make(chan struct{})}
	if underWay {
		r.waiting[what] = next
		return next
	}
	r.waiting[what] = nil
	r.working.Go(func() { r.work(what, next) })
	return next
}

// work makes one GET after the other until nobody waits.
func (r *reads) work(what question, current *sharedRead) {
	for current != nil {
		current.read, current.err = current.run()
		close(current.done)
		r.mu.Lock()
		current = r.waiting[what]
		if current == nil {
			delete(r.waiting, what)
		} else {
			r.waiting[what] = nil
		}
		r.mu.Unlock()
	}
}

func (r *reads) wait() { r.working.Wait() }
