package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// handlerBackoff has the waits of a handler that failed.
var handlerBackoff = backoff{base: time.Second, max: time.Minute}

var (
	errDrained   = errors.New("client: Consume ends, and the handler took too long")
	errGoroutine = errors.New("client: the handler ended its goroutine")
)

// held has the changes that were received, from the first one that is not handled on, and runs the handlers.
type held struct {
	*consumption
	open  context.Context
	slots chan struct{} // one for each worker

	mu      sync.Mutex
	stopped chan struct{}            // closed when no further handler must start
	changed chan struct{}            // closed when order has become shorter, and replaced
	order   []*heldChange            // as received
	queues  map[string][]*heldChange // of each session; the first one is at work
	epoch   context.Context          // of the handlers; ends when the changes are dropped
	end     context.CancelCauseFunc  // of epoch
	dropped bool                     // the changes, and the stream that is open does not send them again
	stream  context.CancelCauseFunc  // of the stream that is open
	done    recent                   // handled in this run
	running sync.WaitGroup           // of the queues
}

// heldChange is one received change, or with a checkpoint also a bookmark.
type heldChange struct {
	update  Update
	key     handledKey
	epoch   context.Context
	handled bool // by the handler; a checkpoint can still fail
	done    bool
}

func newHeld(open context.Context, r *consumption) *held {
	h := &held{
		consumption: r, open: open, slots: make(chan struct{}, r.workers), stopped: make(chan struct{}),
		changed: make(chan struct{}), queues: make(map[string][]*heldChange), done: newRecent(2*r.limit + 1000),
	}
	h.epoch, h.end = context.WithCancelCause(open)
	return h
}

// add holds a change, and waits for room first. It returns false when open ends.
func (h *held) add(open context.Context, update Update) bool {
	c := &heldChange{update: update, key: keyOf(update.Verification, h.all.GetOutcomesOnly())}
	for {
		h.mu.Lock()
		if len(h.order) < h.limit {
			break
		}
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-open.Done():
			return false
		}
	}
	defer h.mu.Unlock()
	if h.dropped {
		return true // changes before this one are missing
	}
	queue := update.Verification.GetSessionId()
	if h.checkpoint != nil {
		queue = "" // all changes are in one queue
	}
	c.epoch = h.epoch
	h.order = append(h.order, c)
	h.queues[queue] = append(h.queues[queue], c)
	if len(h.queues[queue]) == 1 && !h.isStopped() {
		h.running.Go(func() { h.serve(queue) })
	}
	return true
}

// serve works on a queue until it is empty.
func (h *held) serve(queue string) {
	for {
		h.mu.Lock()
		if len(h.queues[queue]) == 0 {
			delete(h.queues, queue)
			h.mu.Unlock()
			return
		}
		next := h.queues[queue][0]
		h.mu.Unlock()
		h.work(next)
		h.mu.Lock()
		h.queues[queue] = h.queues[queue][1:]
		h.mu.Unlock()
	}
}

// work handles a change, until it has succeeded, was dropped, or Consume ends.
func (h *held) work(c *heldChange) {
	for failures := 1; ; failures++ {
		select {
		case h.slots <- struct{}{}:
		case <-c.epoch.Done():
			return
		case <-h.stopped:
			return
		}
		err := h.try(c)
		<-h.slots
		if err == nil || c.epoch.Err() != nil || h.isStopped() {
			return
		}
		ceiling := handlerBackoff.ceiling(failures)
		wait := ceiling/2 + handlerBackoff.random(failures)/2
		h.onFailure(c.update, err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.epoch.Done():
		case <-h.stopped:
		}
		timer.Stop()
	}
}

// try handles a change once. The caller has a slot.
func (h *held) try(c *heldChange) error {
	if c.epoch.Err() != nil || h.isStopped() {
		return nil
	}
	if !c.handled && !h.wasHandled(c.key) {
		if err := h.call(c); err != nil {
			return err
		}
	}
	c.handled = true
	if h.checkpoint != nil {
		if err := h.checkpoint.Save(c.epoch, c.update); err != nil {
			return fmt.Errorf("client: save the checkpoint: %w", err)
		}
	}
	h.finish(c)
	if h.each {
		_ = h.acks.flush(c.epoch) // it repeats and reports by itself
	}
	return nil
}

// call calls the handler in a goroutine of its own, which it can end by runtime.Goexit.
func (h *held) call(c *heldChange) error {
	if c.update.Verification == nil {
		return nil // a bookmark
	}
	result := make(chan error, 1)
	go func() {
		err := errGoroutine
		defer func() { result <- err }()
		err = h.handle(c.epoch, c.update)
	}()
	return <-result
}

// finish marks a change as done, and passes on the token of the longest finished beginning.
func (h *held) finish(c *heldChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.done = true
	h.done.add(c.key)
	c.update.Verification = nil // a change behind an unfinished one needs its token only
	if c.epoch != h.epoch {
		return // it was dropped
	}
	finished, token := 0, ""
	for _, first := range h.order {
		if !first.done {
			break
		}
		finished, token = finished+1, first.update.ResumeToken
	}
	if finished > 0 {
		h.shorten(h.order[finished:])
		h.acks.add(token, finished)
	}
}

// shorten replaces the order and wakes add. The lock is held.
func (h *held) shorten(order []*heldChange) {
	h.order = order
	close(h.changed)
	h.changed = make(chan struct{})
}

// drop drops all changes, and those that the open stream still sends. The next stream sends them again, or another instance
// handles them. The context of their handlers ends with this cause.
func (h *held) drop(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(cause)
	h.epoch, h.end = context.WithCancelCause(h.open)
	h.dropped = true
	h.shorten(nil)
	if errors.Is(cause, ErrResumeTokenExpired) {
		h.acks.clear()
	}
}

// beginAgain drops all changes and ends the open stream.
func (h *held) beginAgain(cause error) {
	h.drop(cause)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stream(errors.Join(errBegunAgain, cause))
}

// follow holds the changes of a new stream, which cancel ends. It returns whether the stream must send the changes again that
// were not acknowledged.
func (h *held) follow(cancel context.CancelCauseFunc) (again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	again, h.dropped, h.stream = h.dropped, false, cancel
	return again
}

// stop starts no further handler, and waits for those that run.
func (h *held) stop(within time.Duration) {
	h.mu.Lock()
	close(h.stopped)
	end := h.end
	h.mu.Unlock()
	returned := make(chan struct{})
	go func() { defer close(returned); h.running.Wait() }()
	if await(returned, within) {
		return
	}
	end(errDrained)
	await(returned, obeyWithin)
}

func await(done <-chan struct{}, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

func (h *held) isStopped() bool {
	select {
	case <-h.stopped:
		return true
	default:
		return false
	}
}

func (h *held) wasHandled(key handledKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done.has(key)
}
