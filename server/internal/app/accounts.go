package app

import (
	"context"
	"slices"

	"example.com/verification-status/server/internal/accounts"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// openAccounts makes the part that keeps how each connected account is reached at Stripe.
func (a *App) openAccounts() (err error) {
	a.accounts, err = accounts.New(accounts.Config{Store: a.store, KeyID: a.keyID, Known: a.knownAccount, Clock: a.clock, Logger: a.logger})
	return err
}

// knownAccount reports whether the settings name an account, or a session of it is stored.
func (a *App) knownAccount(ctx context.Context, account string) (bool, error) {
	if slices.Contains(a.config.Accounts(), account) || a.current.AccountKey(account) != "" {
		return true, nil
	}
	stored, err := a.store.Accounts(ctx)
	return slices.Contains(stored, account), err
}

// keyID returns stripeapi.Client.KeyID, or 0 without an API key.
func (a *App) keyID(account string) int64 {
	if a.stripe == nil {
		return 0
	}
	return a.stripe.KeyID(account)
}

// deauthorized is called with an account that revoked its access at a Unix second. Nothing is requested for it any more, unless
// the account has a key of its own, which needs no permission.
func (a *App) deauthorized(ctx context.Context, account string, second int64) error {
	if a.current.AccountKey(account) != "" {
		return nil
	}
	return a.accounts.Revoked(ctx, account, second)
}

// contextNoter stores that an event named its account by context only. It does that before the event is applied, since that
// can read the session at Stripe.
type contextNoter struct {
	webhook.Applier
	accounts *accounts.Directory
}

// Apply implements webhook.Applier.
func (n contextNoter) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	if object := event.Object; object.ByContext && object.Account != "" {
		if err := n.accounts.NoteContext(ctx, object.Account); err != nil {
			return verification.Outcome{}, err
		}
	}
	return n.Applier.Apply(ctx, event)
}
