package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/maintain"
	"example.com/verification-status/server/internal/reconcile"
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

// CatchUpOptions says what CatchUp reads. The zero value is what a server reads at its start.
type CatchUpOptions struct {
	// Session is the only session to read, or empty.
	Session string
	// Full reads all events that Stripe lists, 30 days, of every account, wherever earlier catch-ups have stopped.
	Full bool
}

// CatchUp runs one catch-up and then repairs the lists, or reads only one session again. It returns a summary for people. It
// returns an error beside the summary if an account is still behind. It does not listen.
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
	all, err := reconciler.Run(ctx)
	lists, listsErr := a.jobs().RepairLists(ctx)
	return all.String() + "\n  lists:    " + maintain.ListsSummary(lists, listsErr), errors.Join(err, all.Err(), maintain.ListsFailure(listsErr))
}
