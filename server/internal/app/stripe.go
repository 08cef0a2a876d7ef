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
	if a.config.StripeAPIKey == "" {
		a.logger.Warn("no STRIPE_API_KEY: unknown sessions stay unknown, doubts are decided by rule, and RetryVerification is refused")
		return nil
	}
	client, err := stripeapi.New(stripeapi.Config{
		Key: a.settings.APIKey, Base: a.config.StripeAPIBase,
		Accounts: verification.NewAccounts(a.config.Accounts()), ReferenceKey: a.config.ReferenceMetadataKey, ReadsPerDay: int(a.config.APIReadsPerDay),
		CallerSharePercent: int(a.config.CallerSharePercent), RatePerSecond: hooks.StripeRate, Clock: hooks.Clock, Logger: a.logger, Observe: a.observeStripeCall, Trace: a.traceStripeCall,
	})
	a.stripe = client
	return err
}

// ingestStripe and rpcStripe keep a missing client from becoming an interface that is not nil.
func (a *App) ingestStripe() ingest.Stripe {
	if a.stripe == nil {
		return nil
	}
	return a.stripe
}

func (a *App) rpcStripe() rpc.Stripe {
	if a.stripe == nil {
		return nil
	}
	return a.stripe
}

// retryPolicy is the same wherever a retry is judged: in answers and in the lists.
func retryPolicy(c *config.Config) verification.RetryPolicy {
	return verification.RetryPolicy{
		MaxRetries: int32(c.MaxRetries), DenyCodes: c.DenyCodes(), Cooldown: time.Duration(c.RetryCooldown),
	}
}

// warnOfCodes names codes that may have been mistyped. They are allowed: Stripe may know more of them
// than this version does.
func warnOfCodes(codes []string, logger *slog.Logger) {
	for _, code := range codes {
		if !rpc.KnowsErrorCode(code) {
			logger.Warn("RETRY_DENY_CODES names an error code that this version does not know: check its spelling", "code", code)
		}
	}
}
