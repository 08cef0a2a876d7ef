package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/verification-status/server/internal/maintain"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	leaseName = "catch-up"
	leaseFor  = maintain.LeaseFor

	// A step that fails for a moment is tried so often, the pauses doubling.
	tries      = 5
	firstPause = 500 * time.Millisecond
	// stepTimeout bounds one try, whatever the store and Stripe allow themselves. It ends before a lease
	// that is prolonged between steps does.
	stepTimeout = 30 * time.Second
	// maxUnanswered is how many accounts, or sessions, Stripe leaves unanswered one after the other until it
	// counts as away. Fewer can be the fault of these accounts or sessions, and the others are tried.
	maxUnanswered = 3

	progressEvery = 5 * time.Second
)

// Reasons to end a run early that are nobody's fault.
var (
	errLeaseElsewhere = maintain.ErrElsewhere
	errLeaseLost      = maintain.ErrLost
	errDueLeft        = errors.New("more sessions are due than one run lists")
)

// run is one Run. Nothing of it is shared between goroutines.
type run struct {
	*Reconciler
	summary  Summary
	prolong  maintain.Keep // nil: without a lease
	loggedAt time.Time     // when progress was logged

	unanswered int // sessions in a row that Stripe did not tell of
	retryLater []verification.Session
}

// Run catches up once: the events of the platform and of each connected account, then the sessions that
// should be read again. A second Run in this process waits for the first.
//
// If the budget is spent, Stripe stays away or another replica is at it, Run ends without an error and
// the summary says why; the next run resumes where this one stopped. An account that Stripe refuses, or
// does not answer for, is left behind: the summary names it, and each later run tries it again. An
// error is the store's, the context's, or Stripe's refusal of the key.
func (r *Reconciler) Run(ctx context.Context) (Summary, error) {
	select {
	case r.running <- struct{}{}:
		defer func() { <-r.running }()
	case <-ctx.Done():
		return Summary{}, ctx.Err()
	}
	began := r.config.Clock()
	u := &run{Reconciler: r, loggedAt: began}
	err := u.underLease(ctx)
	u.summary.Took = r.config.Clock().Sub(began)
	if stopped(ctx, err) {
		u.summary.Stopped, err = err, nil
	}
	r.config.Observe(u.summary, err)
	return u.summary, err
}

// stopped reports whether an error only means "not now".
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, verification.ErrStripeBudget) || errors.Is(err, verification.ErrStripeUnavailable) ||
		errors.Is(err, errLeaseElsewhere) || errors.Is(err, errLeaseLost) || errors.Is(err, errDueLeft))
}

// underLease catches up while this replica has the lease. If another replica has it, that one's run
// decides which accounts are behind, and the store knows.
func (u *run) underLease(ctx context.Context) error {
	if err := u.noteLoss(ctx); err != nil {
		return err
	}
	lease := maintain.Lease{Store: u.config.Store, Name: leaseName, Holder: u.config.Holder, Clock: u.config.Clock, Logger: u.config.Logger}
	err := lease.Do(ctx, func(ctx context.Context, keep maintain.Keep) error {
		u.prolong = keep
		return u.catchUp(ctx)
	})
	if errors.Is(err, errLeaseElsewhere) || errors.Is(err, errLeaseLost) {
		behind, storeErr := u.behind(ctx)
		if storeErr != nil {
			return storeErr
		}
		u.summary.Behind = behind
	}
	return err
}

// keep prolongs the lease if need be. It is called before every step.
func (u *run) keep(ctx context.Context) error {
	if u.prolong == nil {
		return ctx.Err()
	}
	return u.prolong(ctx)
}

func (u *run) catchUp(ctx context.Context) error {
	states, err := u.states(ctx)
	if err != nil {
		return err
	}
	behind := []Behind{}
	var platform, stop error // of the platform's list, and of all that follow
	answered, unanswered := 0, 0
	for _, s := range states {
		err := stop
		if err == nil {
			err = u.catchUpWith(ctx, s)
		}
		switch {
		case err == nil:
			answered, unanswered = answered+1, 0
			u.summary.Accounts++
			if err := u.noteCaughtUp(ctx, s); err != nil {
				return err
			}
			continue
		case ctx.Err() != nil:
			return err
		case refused(err):
			// One account that took its permission back must not keep the others from being caught up.
			u.config.Logger.Error("catch-up: Stripe refuses an account's events", "account", s.account, "error", err)
			answered, unanswered = answered+1, 0
			u.summary.Refused++
		case errors.Is(err, errSkipped):
			answered, unanswered = answered+1, 0
		case errors.Is(err, verification.ErrStripeBudget):
			stop = err
		case errors.Is(err, verification.ErrStripeUnavailable):
			if unanswered++; unanswered >= maxUnanswered {
				stop = err
			}
		default:
			return err
		}
		since, markErr := u.noteBehind(ctx, s)
		if markErr != nil {
			return markErr
		}
		behind = append(behind, Behind{Account: s.account, Since: since, Reason: err})
		if s.account == "" && !errors.Is(err, errSkipped) {
			platform = fmt.Errorf("the platform's events: %w", err)
		}
	}
	u.summary.Behind = sortedBehind(behind)
	switch {
	case stop != nil:
		return stop
	case answered == 0:
		return platform
	}
	if err := u.due(ctx); err != nil {
		return err
	}
	return platform
}

// refused reports whether Stripe answered, but will not tell, or must not be asked.
func refused(err error) bool {
	var refusal *verification.StripeRefusedError
	return errors.Is(err, verification.ErrStripeExcluded) || errors.Is(err, verification.ErrStripeUnauthorized) || errors.Is(err, verification.ErrStripeUnknown) || errors.As(err, &refusal)
}

// withRetries does one step, again after a pause where Stripe is away for a moment or other writers
// were faster.
func (u *run) withRetries(ctx context.Context, do func(context.Context) error) error {
	pause := u.firstPause
	for try := 1; ; try++ {
		if err := u.keep(ctx); err != nil {
			return err
		}
		step, cancel := context.WithTimeout(ctx, stepTimeout)
		err := do(step)
		cancel()
		if err == nil || try == tries || !errors.Is(err, verification.ErrStripeUnavailable) && !errors.Is(err, store.ErrConflict) {
			return err
		}
		if sleep(ctx, u.jittered(pause)) != nil {
			return ctx.Err()
		}
		pause *= 2
	}
}

// jittered is half to the whole of a pause, so that replicas do not come back in step.
func (r *Reconciler) jittered(d time.Duration) time.Duration {
	return d/2 + time.Duration(r.config.Jitter()*float64(d/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell logs progress now and then: the first run may take minutes.
func (u *run) logProgress(account string, second int64) {
	now := u.config.Clock()
	if now.Sub(u.loggedAt) < progressEvery {
		return
	}
	u.loggedAt = now
	s := &u.summary
	u.config.Logger.Info("catch-up: working", "account", account, "at", time.Unix(second, 0).UTC(), "pages", s.Pages,
		"events", s.Events, "known", s.Known, "missed", s.Missed.Sum(), "reread", s.Reread)
}
