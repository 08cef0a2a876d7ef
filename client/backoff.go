package client

import (
	"context"
	"math/rand/v2"
	"time"

	grpcbackoff "google.golang.org/grpc/backoff"
)

// backoff computes the wait before the next try: a random part of a ceiling that doubles with each failure ("full jitter"),
// so that the watchers of a server that was lost do not return at the same time.
type backoff struct {
	base, max time.Duration
}

var defaultBackoff = backoff{base: 500 * time.Millisecond, max: 3 * time.Second}

// maxRetryAfter bounds the wait that a server asks for.
const maxRetryAfter = time.Hour

// ceiling returns the longest wait after this number of failures in a row, from 1.
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

// random returns a wait after this number of failures in a row, from 1.
func (b backoff) random(failures int) time.Duration {
	return rand.N(b.ceiling(failures) + 1)
}

// ofConnections returns the same backoff for gRPC's connections. gRPC waits from half to one and a half times its delay, so
// that delay is two thirds of the ceiling, and max holds. gRPC's first wait is not random. Clients that lost one server do
// not connect in step nevertheless, because each begins at a random moment: see [policyConfig].
func (b backoff) ofConnections() grpcbackoff.Config {
	return grpcbackoff.Config{BaseDelay: b.base * 2 / 3, MaxDelay: b.max * 2 / 3, Multiplier: 2, Jitter: 0.5}
}

// sleep waits for d. It returns false if the context ended first.
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
