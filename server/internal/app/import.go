package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/importing"
	"example.com/verification-status/server/internal/verification"
)

const (
	// importRate is the rate of an import's requests to Stripe for each second. Stripe allows 100 in all in live mode, and the
	// replicas need theirs.
	importRate = 5
	// offerTimeout bounds the look at the store for the offer of an import.
	offerTimeout = 2 * time.Second
)

// ImportOptions says what to import.
type ImportOptions struct {
	// Since leaves out the sessions that were created before it. The zero time leaves out none.
	Since time.Time
	// Accounts holds ids of connected accounts, and importing.Platform for the platform itself. If it is empty, the platform and
	// all accounts that are accepted and known are imported.
	Accounts []string
	// Again begins from the first session, also if an import is unfinished.
	Again bool
	// Reads limits the requests to Stripe. 0 means no limit.
	Reads int
	// Progress gets the progress, as a line that is written again and again if Terminal is true.
	Progress io.Writer
	Terminal bool
}

// Import imports the sessions that Stripe has. It returns a summary for people, also beside an error. It does not listen.
func Import(ctx context.Context, c *config.Config, options ImportOptions, hooks Hooks, logger *slog.Logger) (summary string, err error) {
	if c.StripeAPIKey == "" {
		return "", errors.New("STRIPE_API_KEY is not set: an import reads from Stripe's API")
	}
	accepted := verification.NewAccounts(c.Accounts())
	only, err := importedAccounts(options.Accounts, accepted)
	if err != nil {
		return "", err
	}
	if hooks.Clock == nil {
		hooks.Clock = time.Now
	}
	hooks.StripeRate = cmp.Or(hooks.StripeRate, importRate)
	own := *c
	own.APIReadsPerDay, own.CallerSharePercent = 0, 0 // the import has a limit of its own, and no callers
	a, err := openForCommand(ctx, &own, hooks, logger)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.closeCommand()) }()
	printer := importing.NewPrinter(options.Progress, options.Terminal, hooks.Clock)
	since := int64(0)
	if !options.Since.IsZero() {
		since = max(0, options.Since.Unix())
	}
	importer, err := importing.New(importing.Config{
		Store: a.store, Stripe: a.stripe, Ingest: a.ingest, Accepted: accepted, Only: only, Keyed: a.current.KeyedAccounts(), NoPlatform: !a.stripe.HasPlatform(), Since: since, Again: options.Again, Reads: options.Reads,
		FeedMaxLen: int64(c.FeedMaxLen), Clock: hooks.Clock, Logger: logger, Progress: printer.Print,
	})
	if err != nil {
		return "", err
	}
	found, err := importer.Run(ctx)
	printer.End()
	return found.String(), err
}

// importedAccounts returns the accounts as importing names them. It returns an error if one of them is not accepted.
func importedAccounts(names []string, accepted verification.Accounts) ([]string, error) {
	only := slices.Clone(names)
	for i, name := range only {
		switch {
		case name == importing.Platform:
			only[i] = ""
		case !accepted.Accept(name):
			return nil, fmt.Errorf("%s is not in STRIPE_ACCOUNTS: its sessions are not kept", name)
		}
	}
	return only, nil
}

// offerImport says once, at the first start with an empty store, how the sessions of before can be brought in. It is called before
// anything is stored.
func (a *App) offerImport(ctx context.Context) {
	if a.stripe == nil || !a.readiness.InTouch() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, offerTimeout)
	defer cancel()
	for partition := range a.store.Partitions() {
		if head, err := a.store.Head(ctx, partition); err != nil || head.Seq > 0 {
			return
		}
	}
	a.logger.Info("nothing is stored yet. The catch-up brings the last 30 days of events, and other sessions when a caller asks for them. To bring in all sessions that Stripe has: server import, with these settings")
}
