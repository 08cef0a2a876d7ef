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
	// prepareTimeout bounds a check while not ready: each begins with connections of its own, so one that is cut off
	// leaves nothing done, and a Redis that is slow for all would never be used again.
	prepareTimeout = 5 * time.Second
	// unreadyAfter is how long looks must have failed before the server calls itself not ready: a short
	// blip must not take all replicas out of service, since calls answer UNAVAILABLE anyway.
	unreadyAfter = 3 * time.Second
	// prepareEvery is how often a Redis that answers is checked like at the start: its eviction policy, its
	// user's permissions, whether a new connection is let in. Each check costs Redis less than a millisecond.
	prepareEvery = 10 * time.Second
	// sayEvery is how often the log repeats what somebody must correct.
	sayEvery = time.Minute
)

// pinged is what readiness asks of the store.
type pinged interface {
	Prepare(ctx context.Context) error
	Ping(ctx context.Context) error
	Suspect() bool
}

// readiness knows whether this process can do its work.
type readiness struct {
	store   pinged
	logger  *slog.Logger
	publish func(ready bool)
	// wrong is told what somebody must correct in Redis, "" if nothing, whenever that changes.
	wrong   func(reason redisstore.Reason)
	state   atomic.Bool
	stopped atomic.Bool
	waiting bool // the log has been told that Redis is away

	reason redisstore.Reason // what wrong was told last
	text   string            // what the log was told of it
	said   time.Time         // when
}

func (r *readiness) ready() bool { return r.state.Load() && !r.stopped.Load() }

// stop makes the process not ready for good, so that nobody new is sent to one that is going.
func (r *readiness) stop() { r.stopped.Store(true) }

// set makes the process ready or not, and returns whether it was the other.
func (r *readiness) set(ready bool) bool {
	if r.state.Swap(ready) == ready {
		return false
	}
	r.publish(ready)
	return true
}

// begin checks Redis before the process listens. Only a Redis that must not be used is an error: at the
// start somebody looks on. One that is away is waited for.
func (r *readiness) begin(ctx context.Context) error {
	err := r.prepare(ctx, pingTimeout)
	if errors.Is(err, redisstore.ErrMisconfigured) {
		return err
	}
	r.conclude(err, false)
	return nil
}

// run looks at Redis until ctx ends. What comes back after an absence is checked: it may be another server.
// What somebody must correct is waited for, however long that takes: a process that ended would end again
// at each start, until the restarts are minutes apart.
func (r *readiness) run(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	var missing time.Time // when the first of the looks began that failed in a row
	prepared := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !r.ready() {
			r.conclude(r.prepare(ctx, prepareTimeout), false)
			missing, prepared = time.Time{}, time.Now()
			continue
		}
		looked := time.Now()
		answers := r.ping(ctx) == nil
		switch {
		case answers:
			missing = time.Time{}
		case missing.IsZero():
			missing = looked
		}
		if suspect := r.store.Suspect(); suspect || r.reason != "" || answers && looked.Sub(prepared) >= prepareEvery {
			r.conclude(r.prepare(ctx, pingTimeout), answers)
			prepared = time.Now()
		}
		if !missing.IsZero() && time.Since(missing) >= unreadyAfter && r.set(false) {
			r.logger.Warn("not ready: Redis does not answer")
		}
	}
}

// conclude draws what follows from a check. answers: the connections that are open can be used.
func (r *readiness) conclude(err error, answers bool) {
	reason := redisstore.ReasonOf(err)
	serving := r.ready() && answers
	switch {
	case err == nil:
		r.text = ""
		if r.set(true) {
			r.logger.Info("ready: Redis can be used")
		} else if r.reason != "" {
			r.logger.Info("Redis lets new connections in again")
		}
	case serving && reason.NewConnectionsOnly():
		r.complain("Redis refuses new connections: this replica works only until its open ones end; no restart is needed", reason, err)
	case reason != "":
		r.set(false)
		r.complain("not ready: Redis must not be used until somebody corrects this; no restart is needed", reason, err)
	case r.ready():
		return // pings decide whether it is away
	case !r.waiting:
		r.logger.Warn("Redis cannot be reached: waiting for it, and answering UNAVAILABLE and 503 meanwhile", "error", err)
	}
	r.waiting = err != nil
	if reason != r.reason {
		r.reason = reason
		r.wrong(reason)
	}
}

// complain logs what somebody must correct: at once if it is not what was logged last, else once a minute.
func (r *readiness) complain(what string, reason redisstore.Reason, err error) {
	if text := what + err.Error(); text != r.text || time.Since(r.said) >= sayEvery {
		r.logger.Error(what, "reason", reason, "error", err)
		r.text, r.said = text, time.Now()
	}
}

func (r *readiness) prepare(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return r.store.Prepare(ctx)
}

func (r *readiness) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return r.store.Ping(ctx)
}
