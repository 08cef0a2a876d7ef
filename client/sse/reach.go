package sse

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// reachTimeout bounds the question whether the service answers.
const reachTimeout = 5 * time.Second

// reach knows whether the service answers, for users who have nothing to watch yet. All of them share one question
// in liveInterval, however many they are. See Client.Ready: it costs no read.
type reach struct {
	mu    sync.Mutex
	last  *reached
	stale bool // counted in the outage
}

// reached is one question. err is set when done is closed.
type reached struct {
	asked time.Time
	done  chan struct{}
	err   error
}

// reachable returns nil if the service answered a question of the last liveInterval, or answers one now.
func (h *Handler) reachable(ctx context.Context) error {
	h.reach.mu.Lock()
	if h.reach.last == nil || time.Since(h.reach.last.asked) >= h.liveInterval() {
		h.reach.last = &reached{asked: time.Now(), done: make(chan struct{})}
		go h.ask(h.reach.last)
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

// ask sets a question's answer, and logs one that is another than before.
func (h *Handler) ask(question *reached) {
	defer close(question.done)
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(h.times.reach, reachTimeout))
	defer cancel()
	err := h.Client.Ready(ctx)
	question.err = err
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
