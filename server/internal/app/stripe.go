package app

import (
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func (a *App) openStripe(hooks Hooks) error {
	if err := a.openAccounts(); err != nil {
		return err
	}
	if a.config.StripeAPIKey == "" {
		a.logger.Warn("STRIPE_API_KEY is not set: unknown sessions answer NOT_FOUND, ambiguous orders are decided by rule, RetryVerification is refused")
		return nil
	}
	client, err := stripeapi.New(stripeapi.Config{
		Key: a.current.APIKey, AccountKey: a.current.AccountKey, SensitiveKey: a.current.SensitiveAPIKey, ByContext: a.accounts.ByContext,
		AccountRests: a.accounts.Rests, AccountProbe: a.accounts.Probe, AccountRefused: a.accounts.Refused, AccountAnswered: a.accounts.Answered, Base: a.config.StripeAPIBase,
		Accounts: verification.NewAccounts(a.config.Accounts()), ReferenceKey: a.config.ReferenceMetadataKey, ReadsPerDay: int(a.config.APIReadsPerDay),
		CallerSharePercent: int(a.config.CallerSharePercent), RatePerSecond: hooks.StripeRate, Clock: hooks.Clock, Logger: a.logger, Observe: a.observeStripeCall, Refused: a.observeRefusedRead, Trace: a.traceStripeCall,
	})
	a.stripe = client
	a.unknown = &unknownSessions{clock: hooks.Clock, logger: a.logger}
	return err
}

// ingestStripe and rpcStripe return nil without a client: a nil *stripeapi.Client in an interface would not be nil.
func (a *App) ingestStripe() ingest.Stripe {
	if a.stripe == nil {
		return nil
	}
	return watchedStripe{a.stripe, a.store, a.unknown}
}

func (a *App) rpcStripe() rpc.Stripe {
	if a.stripe == nil {
		return nil
	}
	return watchedStripe{a.stripe, a.store, a.unknown}
}

// retryPolicy returns the policy for answers and for the lists, which must be the same.
func retryPolicy(c *config.Config) verification.RetryPolicy {
	return verification.RetryPolicy{
		MaxRetries: int32(c.MaxRetries), DenyCodes: c.DenyCodes(), Cooldown: time.Duration(c.RetryCooldown),
	}
}

// warnOfCodes warns of codes that can be typing errors. They are allowed, since Stripe can have codes that this version does not
// know.
func warnOfCodes(codes []string, logger *slog.Logger) {
	for _, code := range codes {
		if !rpc.KnowsErrorCode(code) {
			logger.Warn("RETRY_DENY_CODES names an error code that this version does not know: check its spelling", "code", code)
		}
	}
}
