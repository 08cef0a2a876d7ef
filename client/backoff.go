package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is how long to wait before the next try: a random part of a ceiling that doubles with each
// failure ("full jitter"), so that the watchers of a server that went away do not come back in step.
type backoff struct {
	base, max time.Duration
}

var defaultBackoff = backoff{base: 500 * time.Millisecond, max: 30 * time.Second}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = time.Hour

// ceiling is the longest wait after a number of failures in a row, from 1.
func (b backoff) ceiling(failures int) time.Duration {
	ceiling := b.base
	for range failures - 1 {
		if ceiling >= b.max/2 {
			return b.max
		}
		ceiling *= 2
	}
	return ceiling
}

// pause is the wait after a number of failures in a row, from 1. What the server asked for is kept in
// full: the random part comes on top.
func (b backoff) pause(failures int, retryAfter time.Duration) time.Duration {
	return min(retryAfter, maxRetryAfter) + rand.N(b.ceiling(failures)+1)
}

// sleep returns false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
