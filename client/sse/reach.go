package sse

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// reachTimeout bounds the check whether the service answers.
const reachTimeout = 5 * time.Second

// reach checks whether the service answers, for users without a session. All of them share one check in liveInterval. It costs
// no read: see Client.Ready.
type reach struct {
	mu    sync.Mutex
	last  *check
	stale bool // counted in the outage
}

// check is one check. err is set before done is closed.
type check struct {
	began time.Time
	done  chan struct{}
	err   error
}

// reachable returns nil if the service answered a check of the last liveInterval, or answers one now.
func (h *Handler) reachable(ctx context.Context) error {
	h.reach.mu.Lock()
	if h.reach.last == nil || time.Since(h.reach.last.began) >= h.liveInterval() {
		h.reach.last = &check{began: time.Now(), done: make(chan struct{})}
		go h.run(h.reach.last)
	}
	last := h.reach.last
	h.reach.mu.Unlock()
	select {
	case <-last.done:
		return last.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run makes a check, and logs a result that differs from the one before.
func (h *Handler) run(c *check) {
	defer close(c.done)
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(h.times.reach, reachTimeout))
	defer cancel()
	err := h.Client.Ready(ctx)
	c.err = err
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	switch stale := err != nil; {
	case stale && !h.reach.stale:
		h.outage.begin(h.logger(), err)
	case !stale && h.reach.stale:
		h.outage.end(h.logger(), true)
	}
	h.reach.stale = err != nil
}
