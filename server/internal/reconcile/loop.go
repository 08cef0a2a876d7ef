package reconcile

import (
	"context"
	"errors"
	"time"

	"example.com/verification-status/server/internal/verification"
)

const (
	// minPause is the least time between two runs. A service that flaps must not spend the day's budget on the
	// catch-up.
	minPause = 5 * time.Second
	// After a failure the next run waits 1 s. The wait doubles with each further failure, up to 5 min.
	firstBackoff = time.Second
	longBackoff  = 5 * time.Minute
)

// Loop runs the catch-up at once, at every interval, and soon after Trigger, Lost and LostAll. It returns when ctx ends.
// Call it once.
func (r *Reconciler) Loop(ctx context.Context) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		select {
		case <-r.wake: // this run does what was requested so far
		default:
		}
		summary, err := r.pass(ctx)
		pause := r.config.Interval*9/10 + time.Duration(r.config.Jitter()*float64(r.config.Interval/5))
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(summary.Stopped, errLeaseElsewhere), errors.Is(summary.Stopped, errLeaseLost):
			// The replica with the lease might have crashed.
			pause = min(pause, leaseFor+r.jittered(leaseFor/10))
		case err != nil, errors.Is(summary.Stopped, verification.ErrStripeUnavailable):
			pause, backoff = min(pause, r.jittered(backoff)), min(2*backoff, longBackoff)
		}
		if err == nil && summary.Stopped == nil {
			backoff = firstBackoff
		}
		r.wait(ctx, pause)
	}
}

// pass is one pass of the loop: it applies the events of the lost sessions and reads these again, then does one Run. If only a
// full run finds the events, the Run comes first. A lost session that cannot be read now does not prevent the Run.
func (r *Reconciler) pass(ctx context.Context) (Summary, error) {
	var lost error
	hasEvents := r.catchUpLost(ctx)
	if hasEvents {
		lost = r.rereadLost(ctx)
	}
	summary, err := r.Run(ctx)
	elsewhere := errors.Is(summary.Stopped, errLeaseElsewhere) || errors.Is(summary.Stopped, errLeaseLost)
	if !hasEvents && !elsewhere { // else another replica is applying the events: a later pass reads
		lost = r.rereadLost(ctx)
	}
	if err == nil && summary.Stopped == nil {
		if stopped(ctx, lost) {
			summary.Stopped = lost
		} else {
			err = lost
		}
	}
	switch {
	case err != nil:
		r.logFailure(ctx, err)
	case summary.Stopped != nil:
		r.config.Logger.Info("catch-up: stopped early; the next run resumes there", "reason", summary.Stopped, "summary", summary)
	case !summary.Complete():
		r.config.Logger.Warn("catch-up: ended, but not complete", "summary", summary)
	default:
		r.config.Logger.Info("catch-up: done", "summary", summary)
	}
	return summary, err
}

func (r *Reconciler) logFailure(ctx context.Context, err error) {
	if ctx.Err() == nil {
		r.config.Logger.Error("catch-up: failed; it will be tried again", "error", err)
	}
}

// wait returns after the pause, when a run is requested (but not before minPause), or when ctx ends. Meanwhile it serves wishes.
func (r *Reconciler) wait(ctx context.Context, pause time.Duration) {
	early := min(pause, minPause)
	if sleep(ctx, early) != nil {
		return
	}
	timer := time.NewTimer(pause - early)
	defer timer.Stop()
	look := wishPoll
	wishes := time.NewTimer(r.jittered(look))
	defer wishes.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-r.wake:
			return
		case <-ctx.Done():
			return
		case <-wishes.C:
			if err := r.serveWishes(ctx); err != nil && ctx.Err() == nil {
				r.config.Logger.Info("catch-up: a wish is still open; it will be tried again", "reason", err)
				look = min(2*look, longBackoff)
			} else {
				look = wishPoll
			}
			wishes.Reset(r.jittered(look))
		}
	}
}
