package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/maintain"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// newReconciler returns the part that catches up, or nil without an API key.
func (a *App) newReconciler(hooks Hooks) (*reconcile.Reconciler, error) {
	if a.stripe == nil {
		return nil, nil
	}
	return reconcile.New(reconcile.Config{
		Store: a.store, Stripe: a.stripe, Ingest: a.ingest,
		Accounts: verification.NewAccounts(a.config.Accounts()), Keyed: a.current.KeyedAccounts, HasPlatform: a.stripe.HasPlatform, KeyID: a.stripe.KeyID,
		Interval: time.Duration(a.config.ReconcileInterval), Clock: hooks.Clock, Logger: a.logger, Observe: a.observeCatchUp,
	})
}

// wishCatchUp is ingest.Config.WishCatchUp.
func (a *App) wishCatchUp(ctx context.Context, thin verification.Event) error {
	if a.reconciler == nil {
		return nil
	}
	return a.reconciler.Wish(ctx, thin)
}

// rewound is called by live.View with the sessions whose changes the store has lost. more is true if other sessions can have lost
// changes too.
func (a *App) rewound(lost []string, more bool) {
	a.metrics.FeedRewound()
	if a.reconciler == nil {
		return
	}
	a.reconciler.Lost(lost...)
	if more {
		a.reconciler.LostAll()
	}
}

const (
	// catchUpWait is how long the command waits for a replica that has the lease. A replica that was killed keeps it for LeaseFor.
	catchUpWait = 3 * maintain.LeaseFor / 2
	// catchUpPoll is the pause between two tries, and catchUpQuiet how long the command waits without a log line.
	catchUpPoll  = 500 * time.Millisecond
	catchUpQuiet = 5 * time.Second
)

// CatchUpOptions says what CatchUp reads. The zero value is what a server reads at its start.
type CatchUpOptions struct {
	// Session is the only session to read, or empty.
	Session string
	// Full reads all events that Stripe lists, 30 days, of every account, wherever earlier catch-ups have stopped. If it is
	// interrupted, the next CatchUp without Full resumes it.
	Full bool
	// Wait is how long to wait for a replica that catches up, or that repairs the lists. 0 means 90 seconds.
	Wait time.Duration
}

// CatchUp runs one catch-up and then repairs the lists, or reads only one session again. It returns a summary for people. It
// returns an error beside the summary if anything of that was not done. It does not listen.
func CatchUp(ctx context.Context, c *config.Config, options CatchUpOptions, logger *slog.Logger) (summary string, err error) {
	if options.Full && options.Session != "" {
		return "", errors.New("all events and a single session cannot be read in one run: choose one")
	}
	if c.StripeAPIKey == "" {
		return "", errors.New("STRIPE_API_KEY is not set: a catch-up reads from Stripe's API")
	}
	hooks := Hooks{Clock: time.Now}
	a, err := openForCommand(ctx, c, hooks, logger)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.closeCommand()) }()
	reconciler, err := a.newReconciler(hooks)
	if err != nil {
		return "", err
	}
	if options.Session != "" {
		one, err := reconciler.Session(ctx, options.Session)
		if err != nil {
			return "", fmt.Errorf("session %s: %w", options.Session, err)
		}
		return one.String(), nil
	}
	if options.Full {
		reconciler.LostAll()
	}
	wait := cmp.Or(options.Wait, catchUpWait)
	var all reconcile.Summary
	a.outwait(ctx, wait, "the catch-up", func() error {
		all, err = reconciler.Run(ctx)
		return all.Stopped
	})
	var lists store.ListRepair
	var listsErr error
	a.outwait(ctx, wait, "the repair of the lists", func() error {
		lists, listsErr = a.jobs().RepairLists(ctx)
		return listsErr
	})
	return all.String() + "\n  lists:    " + maintain.ListsSummary(lists, listsErr), errors.Join(err, all.Err(), maintain.ListsFailure(listsErr))
}

// outwait calls do again as long as do returns that another replica does the work, for at most wait.
func (a *App) outwait(ctx context.Context, wait time.Duration, what string, do func() error) {
	began, quiet := time.Now(), true
	for {
		reason := do()
		waited := time.Since(began)
		if !errors.Is(reason, maintain.ErrElsewhere) && !errors.Is(reason, maintain.ErrLost) || waited >= wait {
			return
		}
		if quiet && waited >= catchUpQuiet {
			quiet = false
			a.logger.Info("waiting for another replica", "what", what, "at_most", wait)
		}
		select {
		case <-time.After(min(catchUpPoll, wait-waited)):
		case <-ctx.Done():
			return
		}
	}
}
