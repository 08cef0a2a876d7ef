package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/store/redisstore"
)

const (
	// pingEvery is how often Redis is looked at.
	pingEvery = time.Second
	// pingTimeout bounds one look.
	pingTimeout = 2 * time.Second
	// unreadyAfter is how long looks must have failed before the server calls itself not ready: a short
	// blip must not take all replicas out of service, since calls answer UNAVAILABLE anyway.
	unreadyAfter = 3 * time.Second
)

// pinged is what readiness asks of the store.
type pinged interface {
	Prepare(ctx context.Context) error
	Ping(ctx context.Context) error
}

// readiness knows whether this process can do its work.
type readiness struct {
	store   pinged
	logger  *slog.Logger
	publish func(ready bool)
	state   atomic.Bool
	stopped atomic.Bool
	waiting bool // the log has been told that Redis is away
}

func (r *readiness) ready() bool { return r.state.Load() && !r.stopped.Load() }

// stop makes the process not ready for good, so that nobody new is sent to one that is going.
func (r *readiness) stop() { r.stopped.Store(true) }

func (r *readiness) set(ready bool) {
	if r.state.Swap(ready) == ready {
		return
	}
	r.publish(ready)
	if ready {
		r.logger.Info("ready: Redis can be used")
	} else {
		r.logger.Warn("not ready: Redis does not answer")
	}
}

// prepare checks Redis once. Only a Redis that must not be used is an error; one that is away is
// waited for.
func (r *readiness) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	err := r.store.Prepare(ctx)
	if errors.Is(err, redisstore.ErrMisconfigured) {
		return err
	}
	if err != nil && !r.waiting {
		r.logger.Warn("Redis cannot be reached: waiting for it, and answering UNAVAILABLE and 503 meanwhile", "error", err)
	}
	r.waiting = err != nil
	r.set(err == nil)
	return nil
}

// run looks at Redis until ctx ends, or Redis turns out to be one that must not be used. After each
// absence it is checked anew: what comes back may be another server.
func (r *readiness) run(ctx context.Context) error {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	var missing time.Time // when the first of the looks began that failed in a row
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !r.ready() {
			if err := r.prepare(ctx); err != nil {
				return err
			}
			missing = time.Time{}
			continue
		}
		looked := time.Now()
		if r.ping(ctx) == nil {
			missing = time.Time{}
			continue
		}
		if missing.IsZero() {
			missing = looked
		}
		if time.Since(missing) >= unreadyAfter {
			r.set(false)
		}
	}
}

func (r *readiness) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return r.store.Ping(ctx)
}
