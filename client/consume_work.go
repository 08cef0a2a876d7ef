package client

import (
	"errors"
	"fmt"
	"time"
)

// handlerBackoff has the waits of a handler that failed.
var handlerBackoff = backoff{base: time.Second, max: time.Minute}

// errGoroutine: the handler has called runtime.Goexit.
var errGoroutine = errors.New("client: the handler ended its goroutine")

// dispatch starts workers while there is something for them to do, with the change that was received first. The lock is held.
func (h *held) dispatch() {
	for h.busy < h.workers && !h.stopped {
		var name string
		var first *queue
		for session, q := range h.queues {
			if !q.busy && q.wait == nil && (first == nil || q.changes[0].number < first.changes[0].number) {
				name, first = session, q
			}
		}
		if first == nil {
			return
		}
		first.busy = true
		if h.busy++; h.busy == 1 {
			h.idle = make(chan struct{})
		}
		next := first.changes[0]
		h.running.Go(func() { h.work(name, first, next) })
	}
}

// work handles the first change of a queue once.
func (h *held) work(name string, q *queue, c *heldChange) {
	err := h.try(c)
	if errors.Is(err, ErrBeginAgain) && !c.isDropped() {
		h.beginAgain(err)
	}
	ceiling := handlerBackoff.ceiling(q.failures + 1)
	wait := ceiling/2 + handlerBackoff.random(q.failures+1)/2
	if err != nil && !c.isDropped() {
		h.onFailure(c.update, err, wait)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy--; h.busy == 0 {
		close(h.idle)
	}
	q.busy = false
	if err != nil && !c.isDropped() {
		q.failures++
		h.waitForNextTry(q, wait)
	} else {
		q.changes, q.failures = q.changes[1:], 0
	}
	if len(q.changes) == 0 {
		delete(h.queues, name)
	}
	h.dispatch()
}

// waitForNextTry leaves a queue alone for a while. The lock is held.
func (h *held) waitForNextTry(q *queue, wait time.Duration) {
	if h.stopped {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if q.wait == timer {
			q.wait = nil
			h.dispatch()
		}
	})
	q.wait = timer
}

// try handles a change once.
func (h *held) try(c *heldChange) error {
	if c.isDropped() {
		return nil
	}
	// With a checkpoint, a change that comes again is one after the token that was loaded: its effects are not in the store.
	if !c.handled && (h.checkpoint != nil || !h.wasHandled(c.key)) {
		if err := h.call(c); err != nil {
			return err
		}
	}
	c.handled = true
	if h.checkpoint != nil {
		if err := h.checkpoint.Save(c.epoch, c.update); err != nil {
			return fmt.Errorf("client: save the checkpoint: %w", err)
		}
		h.hadToken.Store(true)
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

// stopWait ends the wait of a queue. The lock is held.
func (h *held) stopWait(q *queue) {
	if q.wait != nil {
		q.wait.Stop()
		q.wait = nil
	}
}

func (h *held) wasHandled(key handledKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done.has(key)
}
