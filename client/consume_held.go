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
	skipping bool                    // what the open stream sends, because there was no room
	last     string                  // token of the change that was added last
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

const (
	// roomWithin is how long add waits for room.
	roomWithin = time.Second
	// skipPause is the wait after a change that is skipped. It leaves the backlog to the service.
	skipPause = 10 * time.Millisecond
)

// add holds a change. If there is no room within roomWithin, add skips this change and those that follow, until the stream
// ends: so that the stream is read and its end is seen. It returns false when open ends.
func (h *held) add(update Update) bool {
	c := &heldChange{update: update, key: keyOf(update.Verification, h.all.GetOutcomesOnly())}
	if !h.awaitRoom() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped || h.skipping {
		return true // changes before this one are missing
	}
	h.last = update.ResumeToken
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

// awaitRoom returns when there is room, or skipping is set. It returns false when open ends.
func (h *held) awaitRoom() bool {
	h.mu.Lock()
	skipping := h.skipping
	h.mu.Unlock()
	if skipping {
		return sleep(h.open, skipPause)
	}
	timer := time.NewTimer(roomWithin)
	defer timer.Stop()
	for {
		h.mu.Lock()
		full, changed := len(h.order) >= h.limit, h.changed
		h.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			h.mu.Lock()
			h.skipping = len(h.order) >= h.limit
			h.mu.Unlock()
			return true
		case <-h.open.Done():
			return false
		}
	}
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
	h.readAgain()
}

// passOver acknowledges a token if every change that was received before it is handled. It returns false otherwise.
func (h *held) passOver(token string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped || h.skipping || len(h.order) > 0 {
		return false
	}
	h.acks.add(token, 0)
	return true
}

// readAgain ends a stream whose changes were skipped if half of the room is free. With a checkpoint all of it must be free,
// because the next stream drops what is held. The lock is held.
func (h *held) readAgain() {
	enough := h.limit / 2
	if h.checkpoint != nil {
		enough = 0
	}
	if h.skipping && len(h.order) <= enough {
		h.stream(errRoom)
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

// follow holds the changes of a new stream, which cancel ends. It returns the token of the stream: "" if it must send the changes
// again that were not acknowledged, else token or that of the last change before the skipped ones.
func (h *held) follow(cancel context.CancelCauseFunc, token string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.dropped:
		token = ""
	case h.skipping:
		token = h.last
	}
	h.dropped, h.skipping, h.stream = false, false, cancel
	return token
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
