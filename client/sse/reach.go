package sse

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/verification-status/client"
)

// reachTimeout bounds the question whether the service answers.
const reachTimeout = 5 * time.Second

// reach knows whether the service answers, for users who have nothing to watch yet. They share one
// question in liveInterval, so that visitors cost the service nothing, however many they are.
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

// reachable returns nil if the service answered within the last liveInterval, or answers now.
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

// ask sends a question that names no session. The service refuses it at once, and reads nothing for it; a
// service that is not ready, or a program that may not call it, gets another error.
func (h *Handler) ask(question *reached) {
	defer close(question.done)
	ctx, cancel := context.WithTimeout(context.Background(), reachTimeout)
	defer cancel()
	_, err := h.Client.Status(ctx, client.Subject{})
	if errors.Is(err, client.ErrInvalidRequest) {
		err = nil
	}
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
