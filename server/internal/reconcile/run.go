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

	// tries is how often a step is tried. The pauses between the tries begin with firstPause and double.
	tries      = 5
	firstPause = 500 * time.Millisecond
	// stepTimeout bounds one try, whatever timeouts the store and the Stripe client have. It is shorter than the lease,
	// which is prolonged between two steps.
	stepTimeout = 30 * time.Second
	// maxUnanswered is after how many accounts, or sessions, without an answer in a row Stripe counts as unavailable. If
	// there are fewer, these accounts or sessions themselves can be the cause, and the run tries the others.
	maxUnanswered = 3

	progressEvery = 5 * time.Second
)

// Reasons to end a run early that are not failures.
var (
	errLeaseElsewhere = maintain.ErrElsewhere
	errLeaseLost      = maintain.ErrLost
	errDueLeft        = errors.New("more sessions are due than one run lists")
)

// run is one Run. Only one goroutine uses it.
type run struct {
	*Reconciler
	summary  Summary
	prolong  maintain.Keep // nil without a lease
	loggedAt time.Time     // when progress was last logged

	unanswered int // sessions in a row without an answer of Stripe
	retryLater []verification.Session

	unknown  []verification.Session // due sessions that Stripe did not know
	answered map[string]bool        // by account: whether a session of it was read with success
	witness  map[string]string      // by account: a session of which an event was listed
}

// Run catches up once: first the events of the platform and of each connected account, then the sessions that are due. A
// second Run in this process waits for the first one.
//
// If the budget is spent, if Stripe stays unavailable, or if another replica holds the lease, Run stops early without an
// error. Summary.Stopped says why, and the next run resumes there. If Stripe refuses an account or does not answer for
// it, the account stays behind: the summary names it, and each later run tries it again. Run returns an error of the
// store or the context, or Stripe's refusal of the key.
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

// stopped reports whether an error only means that a later run can continue.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, verification.ErrStripeBudget) || errors.Is(err, verification.ErrStripeUnavailable) ||
		errors.Is(err, errLeaseElsewhere) || errors.Is(err, errLeaseLost) || errors.Is(err, errDueLeft))
}

// underLease catches up while this replica holds the lease. If another replica holds it, that replica's run decides which
// accounts are behind, and underLease reads them from the store.
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

// keep prolongs the lease if necessary. Call it before every step.
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
	if err := u.newKeys(ctx, states); err != nil {
		return err
	}
	behind := []Behind{}
	var platform, stop error // stop ends the run: no further account is read
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
			if err := errors.Join(u.noteCaughtUp(ctx, s), u.grant(ctx, s)); err != nil {
				return err
			}
			continue
		case ctx.Err() != nil:
			return err
		case errors.Is(err, verification.ErrStripeAccountRefused):
			// The account decides about its access, and nobody here can change it. So it is not behind. Its events wait at
			// Stripe.
			u.summary.NoAccess++
			if err := u.noteCaughtUp(ctx, s); err != nil {
				return err
			}
			continue
		case refused(err):
			// One account that refuses must not block the others.
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

// refused reports whether Stripe answered and refused the request, or must not be asked about the account.
func refused(err error) bool {
	var refusal *verification.StripeRefusedError
	return errors.Is(err, verification.ErrStripeExcluded) || errors.Is(err, verification.ErrStripeAccountRefused) || errors.Is(err, verification.ErrStripeUnauthorized) || errors.Is(err, verification.ErrStripeUnknown) || errors.As(err, &refusal)
}

// withRetries does one step. It tries again after a pause if Stripe is unavailable or if other writers were faster.
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

// jittered returns a random duration from d/2 to d, so that replicas do not retry at the same time.
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

// logProgress logs the progress once in progressEvery. The first run can take minutes.
func (u *run) logProgress(account string, second int64) {
	now := u.config.Clock()
	if now.Sub(u.loggedAt) < progressEvery {
		return
	}
	u.loggedAt = now
	s := &u.summary
	u.config.Logger.Info("catch-up: in progress", "account", account, "at", time.Unix(second, 0).UTC(), "pages", s.Pages,
		"events", s.Events, "known", s.Known, "missed", s.Missed.Sum(), "reread", s.Reread)
}
