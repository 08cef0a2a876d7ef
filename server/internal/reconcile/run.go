package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	leaseName = "catch-up"
	// leaseFor is how long others wait for a replica that died. It is prolonged between steps, once a
	// third of it is over: a step that takes all of its time still ends before the lease.
	leaseFor = time.Minute
	// releaseTimeout bounds the release, which is made also when the run was canceled.
	releaseTimeout = 2 * time.Second

	// A step that fails for a moment is tried so often, the pauses doubling.
	tries      = 5
	firstPause = 500 * time.Millisecond
	// stepTimeout bounds one try, whatever the store and Stripe allow themselves.
	stepTimeout = 30 * time.Second

	progressEvery = 5 * time.Second
)

// Reasons to end a run early that are nobody's fault.
var (
	errLeaseElsewhere = errors.New("another replica is catching up")
	errLeaseLost      = errors.New("another replica took the lease over")
)

// run is one Run. Nothing of it is shared between goroutines.
type run struct {
	*Reconciler
	summary Summary
	leased  time.Time // when the lease was taken or prolonged; zero: without a lease
	told    time.Time // when progress was logged
}

// Run catches up once: the events of the platform and of each connected account known here, then the
// sessions that should be read again. A second Run in this process waits for the first.
//
// Where the budget is spent, Stripe stays away or another replica is at it, Run ends without an error
// and the summary says why; the next one goes on where this one stopped. An error is the store's, the
// context's, or Stripe's refusal of the key.
func (r *Reconciler) Run(ctx context.Context) (Summary, error) {
	select {
	case r.running <- struct{}{}:
		defer func() { <-r.running }()
	case <-ctx.Done():
		return Summary{}, ctx.Err()
	}
	began := r.Clock()
	u := &run{Reconciler: r, told: began}
	err := u.withLease(ctx, u.catchUp)
	u.summary.Took = r.Clock().Sub(began)
	if stopped(ctx, err) {
		u.summary.Stopped, err = err, nil
	}
	r.Observe(u.summary, err)
	return u.summary, err
}

// stopped reports whether an error only means "not now".
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, verification.ErrStripeBudget) || errors.Is(err, verification.ErrStripeUnavailable) ||
		errors.Is(err, errLeaseElsewhere) || errors.Is(err, errLeaseLost))
}

// withLease does something while this replica has the lease, or says that another one has it.
func (u *run) withLease(ctx context.Context, do func(context.Context) error) error {
	held, err := u.Store.Lease(ctx, leaseName, u.Holder, leaseFor)
	if err != nil {
		return fmt.Errorf("taking the lease: %w", err)
	}
	if !held {
		return errLeaseElsewhere
	}
	u.leased = u.Clock()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if err := u.Store.Release(ctx, leaseName, u.Holder); err != nil {
			u.Logger.Debug("catch-up: the lease was not released; it ends by itself", "error", err)
		}
	}()
	return do(ctx)
}

// keep prolongs the lease where a third of it is over. It is called before every step.
func (u *run) keep(ctx context.Context) error {
	now := u.Clock()
	if u.leased.IsZero() || now.Sub(u.leased) < leaseFor/3 {
		return ctx.Err()
	}
	held, err := u.Store.Lease(ctx, leaseName, u.Holder, leaseFor)
	if err != nil {
		return fmt.Errorf("prolonging the lease: %w", err)
	}
	if !held {
		return errLeaseLost
	}
	u.leased = now
	return nil
}

func (u *run) catchUp(ctx context.Context) error {
	accounts, err := u.accounts(ctx)
	if err != nil {
		return err
	}
	full := u.fullBegins()
	var refusals []error
	for _, account := range accounts {
		err := u.account(ctx, account, full)
		if !refused(err) {
			if err != nil {
				return err
			}
			u.summary.Accounts++
			continue
		}
		// One account that took its permission back must not keep the others from being caught up.
		u.Logger.Error("catch-up: Stripe refuses an account's events", "account", account, "error", err)
		u.summary.Refused++
		if account == "" {
			refusals = append(refusals, fmt.Errorf("the platform's events: %w", err))
		}
	}
	if err := u.due(ctx); err != nil {
		return err
	}
	if len(refusals) == 0 {
		u.fullEnds(full)
	}
	return errors.Join(refusals...)
}

// accounts are those to read from: the platform, then the connected ones that are known and accepted.
func (u *run) accounts(ctx context.Context) ([]string, error) {
	connected, err := u.Store.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the connected accounts: %w", err)
	}
	slices.Sort(connected)
	connected = slices.DeleteFunc(connected, func(account string) bool { return !u.Accounts.Accept(account) })
	return append([]string{""}, connected...), nil
}

// refused reports whether Stripe answered, but will not tell, or must not be asked.
func refused(err error) bool {
	var refusal *verification.StripeRefusedError
	return errors.Is(err, verification.ErrStripeExcluded) || errors.Is(err, verification.ErrStripeUnauthorized) || errors.Is(err, verification.ErrStripeUnknown) || errors.As(err, &refusal)
}

// patiently does one step, again after a pause where Stripe is away for a moment or other writers
// were faster.
func (u *run) patiently(ctx context.Context, do func(context.Context) error) error {
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
	return d/2 + time.Duration(r.Jitter()*float64(d/2))
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
func (u *run) tell(account string, second int64) {
	now := u.Clock()
	if now.Sub(u.told) < progressEvery {
		return
	}
	u.told = now
	s := &u.summary
	u.Logger.Info("catch-up: working", "account", account, "at", time.Unix(second, 0).UTC(), "pages", s.Pages,
		"events", s.Events, "known", s.Known, "missed", s.Missed.Sum(), "reread", s.Reread)
}
