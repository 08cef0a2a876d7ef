package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errDrained is the cause of the end of a handler that outlasts the drain.
var errDrained = errors.New("client: Consume ends, and the handler took too long")

// held has the changes that were received, from the first one that is not handled on, and runs the handlers.
type held struct {
	*consumption
	open context.Context

	mu       sync.Mutex
	stopped  bool                    // no further handler must start
	order    []*heldChange           // as received
	changed  chan struct{}           // closed when order has become shorter, and replaced
	queues   map[string]*queue       // by session, none of them empty
	busy     int                     // workers
	idle     chan struct{}           // closed when none is busy any more
	running  sync.WaitGroup          // the same
	epoch    context.Context         // of the handlers; ends when the changes are dropped
	end      context.CancelCauseFunc // of epoch
	dropped  bool                    // the changes, and the stream that is open does not send them again
	stream   context.CancelCauseFunc // of the stream that is open
	done     recent                  // handled in this run
	received int                     // changes so far
}

// queue has the changes of one session that are not handled. A worker works on the first one.
type queue struct {
	changes  []*heldChange
	busy     bool        // a worker is at it
	wait     *time.Timer // until the next try; nil: none
	failures int         // of the first change, in a row
}

// heldChange is one received change, or with a checkpoint also a bookmark.
type heldChange struct {
	update  Update
	key     handledKey
	epoch   context.Context
	handled bool // by the handler; a checkpoint can still fail
	done    bool
	number  int // rises as received
}

func (c *heldChange) isDropped() bool { return c.epoch.Err() != nil }

func newHeld(open context.Context, r *consumption) *held {
	h := &held{
		consumption: r, open: open,
		changed: make(chan struct{}), queues: make(map[string]*queue), done: newRecent(2*r.limit + 1000),
	}
	h.epoch, h.end = context.WithCancelCause(open)
	return h
}

// add holds a change, and waits for room first. It returns false when open ends.
func (h *held) add(update Update) bool {
	c := &heldChange{update: update, key: keyOf(update.Verification, h.all.GetOutcomesOnly())}
	h.mu.Lock()
	for len(h.order) >= h.limit {
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-h.open.Done():
			return false
		}
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	if h.dropped {
		return true // changes before this one are missing
	}
	name := update.Verification.GetSessionId()
	if h.checkpoint != nil {
		name = "" // all changes are in one queue
	}
	h.received++
	c.epoch, c.number = h.epoch, h.received
	h.order = append(h.order, c)
	if h.queues[name] == nil {
		h.queues[name] = &queue{}
	}
	h.queues[name].changes = append(h.queues[name].changes, c)
	h.dispatch()
	return true
}

// finish marks a change as done, and passes on the token of the longest finished beginning.
func (h *held) finish(c *heldChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done.add(c.key)
	c.done = true               // without an effect if it was dropped: it is not in the order then
	c.update.Verification = nil // a change behind an unfinished one needs its token only
	finished := slices.IndexFunc(h.order, func(c *heldChange) bool { return !c.done })
	if finished < 0 {
		finished = len(h.order)
	}
	if finished > 0 {
		token := h.order[finished-1].update.ResumeToken
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
	for name, q := range h.queues {
		h.stopWait(q)
		if q.busy {
			q.changes = q.changes[:1] // until its handler returns
		} else {
			delete(h.queues, name)
		}
	}
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

// awaitIdle waits until no handler runs.
func (h *held) awaitIdle(ctx context.Context) error {
	for {
		h.mu.Lock()
		busy, idle := h.busy, h.idle
		h.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop starts no further handler, and waits for those that run.
func (h *held) stop(within time.Duration) {
	h.mu.Lock()
	h.stopped = true
	for _, q := range h.queues {
		h.stopWait(q)
	}
	h.mu.Unlock()
	returned := make(chan struct{})
	go func() { defer close(returned); h.running.Wait() }()
	if await(returned, within) {
		return
	}
	h.mu.Lock()
	h.end(errDrained)
	h.mu.Unlock()
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
