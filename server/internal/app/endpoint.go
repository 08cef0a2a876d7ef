package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/endpoints"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// endpointWatch knows whether Stripe's events reach this process.
type endpointWatch struct {
	arrived   atomic.Int64 // the Unix second of the last webhook that was kept
	found     atomic.Int64 // the problems that are shown
	forbidden sync.Once    // the key may not list endpoints
	partial   sync.Once    // the key may read one of the two lists only
}

// noWebhooksFor is how long no webhook must have come before the catch-up warns about the events that it finds.
const noWebhooksFor = time.Hour

// checkEndpoint returns what keeps Stripe's events from this server. It logs a line for each problem. A key without the permission to
// list endpoints is no problem, and is said once. The accounts with a key of their own are looked at too. They need no endpoint of their
// own, since the platform's can get their events.
func (a *App) checkEndpoint(ctx context.Context) (int64, error) {
	found, err := a.checkEndpointOf(ctx, "", a.current.APIKey)
	for _, account := range a.current.KeyedAccounts() {
		if err != nil {
			return 0, err
		}
		var more endpoints.Problems
		more, err = a.checkEndpointOf(ctx, account, func() verification.Secret { return a.current.AccountKey(account) })
		found |= more
	}
	return int64(found), err
}

// checkEndpointOf does it for the account of one key. account is empty for the default key.
func (a *App) checkEndpointOf(ctx context.Context, account string, key func() verification.Secret) (endpoints.Problems, error) {
	// The calls have a client of their own: a list that the key may not read must not look like a key that Stripe refuses.
	client, err := stripeapi.New(stripeapi.Config{
		Key: key, Base: a.config.StripeAPIBase, Clock: a.clock, Logger: slog.New(slog.DiscardHandler),
		Observe: a.observeStripeCall, Trace: a.traceStripeCall,
	})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	all, note, err := endpoints.Read(ctx, client)
	switch {
	case errors.Is(err, verification.ErrStripeUnauthorized), errors.Is(err, verification.ErrStripeUnknown):
		a.endpoint.forbidden.Do(func() {
			a.logger.Info("the server cannot look whether its webhook endpoint is enabled: permit the API key to read webhook endpoints, or run server webhook-endpoint check now and then", "account", account, "error", err)
		})
		return 0, nil
	case err != nil:
		return 0, err
	case note != "":
		a.endpoint.partial.Do(func() { a.logger.Info("webhook endpoint: " + note) })
	}
	found, lines := endpoints.Judge(all, a.config.WebhookURL, a.config.WebhookPath)
	if found&endpoints.ProblemMissing != 0 && (note != "" || account != "") {
		return 0, nil // it can be in the other list, or be the platform's
	}
	for _, line := range lines {
		a.logger.Warn("the webhook endpoint at Stripe has a problem", "account", account, "problem", line)
	}
	return found, nil
}

// showEndpoint sets the metric of each problem of the webhook endpoint.
func (a *App) showEndpoint(found int64) {
	if before := a.endpoint.found.Swap(found); before != 0 && found == 0 {
		a.logger.Info("the webhook endpoint at Stripe is in order")
	}
	for problem, name := range endpoints.ProblemNames() {
		a.metrics.EndpointProblem(name, endpoints.Problems(found)&problem != 0)
	}
}

// showNoWebhooks makes the counts that alerts compare appear with 0. Without them, the alert for a webhook that never came would stay
// silent until the first one came.
func (a *App) showNoWebhooks() {
	for _, eventType := range verification.EventTypes {
		a.metrics.NoWebhook(http.StatusOK, string(webhook.ReasonApplied), eventType)
	}
	for _, eventType := range verification.EventTypes {
		for _, reason := range []webhook.Reason{webhook.ReasonNoKey, webhook.ReasonKeyRefused} {
			a.metrics.NoWebhook(http.StatusServiceUnavailable, string(reason), verification.ThinPrefix+eventType)
		}
	}
	for _, reason := range []webhook.Reason{webhook.ReasonWrongSignature, webhook.ReasonTooOld, webhook.ReasonInFuture} {
		a.metrics.NoWebhook(http.StatusBadRequest, string(reason), "")
	}
}

// noteArrival notes that a webhook was kept.
func (a *App) noteArrival(r webhook.Result) {
	if r.Reason == webhook.ReasonApplied || r.Reason == webhook.ReasonDuplicate {
		a.endpoint.arrived.Store(a.clock().Unix())
	}
}

// warnOfSilence warns if a catch-up finds events while no webhook comes. Another replica might get them; then the alert tells.
func (a *App) warnOfSilence(s reconcile.Summary) {
	last := time.Unix(a.endpoint.arrived.Load(), 0)
	if a.webhook == nil || s.Drift() == 0 || a.clock().Sub(last) < noWebhooksFor {
		return
	}
	attrs := []any{"missed", s.Drift()}
	if last.Unix() > 0 {
		attrs = append(attrs, "last_webhook", last.UTC().Format(time.RFC3339))
	}
	a.logger.Warn("catch-up: events were found, and no webhook has come to this replica for an hour or since its start: see whether the endpoint at Stripe is enabled and has the right URL (server webhook-endpoint check)", attrs...)
}
