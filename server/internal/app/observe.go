package app

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"

	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// observeState shows what is known at any time.
func (a *App) observeState() {
	a.metrics.Gauge("verification_ready", func() float64 {
		if a.readiness.ready() {
			return 1
		}
		return 0
	})
	if a.stripe != nil {
		a.metrics.Gauge("verification_stripe_reads_left", func() float64 { return float64(a.stripe.ReadsLeft()) })
	}
}

// meterProvider is nil where gRPC's own metrics are not wanted.
func (a *App) meterProvider() metric.MeterProvider {
	if !a.config.GRPCMetrics {
		return nil
	}
	return a.metrics.MeterProvider()
}

func (a *App) observeWebhook(r webhook.Result) {
	age := time.Duration(-1)
	if r.Reason == webhook.ReasonApplied {
		age = r.Age
	}
	a.metrics.Webhook(r.Status, string(r.Reason), r.EventType, r.Took, age)
}

func (a *App) observeStripeCall(operation stripeapi.Operation, outcome stripeapi.Outcome) {
	a.metrics.StripeCall(string(operation), string(outcome))
}

func (a *App) observeCatchUp(s reconcile.Summary, err error) {
	result, done := "done", a.clock()
	switch {
	case err != nil:
		result, done = "failed", time.Time{}
	case s.Stopped != nil:
		result, done = "stopped", time.Time{}
	}
	a.metrics.CatchUp(result, done, s.Missed.Sum(), s.Changed, s.Reread-s.Changed, s.Unknown)
}

// observedStore is the store, with somebody who looks on.
func (a *App) observedStore() observedStore { return observedStore{a.store, a.metrics} }

type observedStore struct {
	*redisstore.Store
	metrics *telemetry.Metrics
}

// Update implements store.Store.
func (s observedStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	began, tries, wrote := time.Now(), 0, false
	session, err := s.Store.Update(ctx, id, func(current verification.Session) (next verification.Session, write bool, err error) {
		tries++
		next, write, err = fn(current)
		wrote = write
		return next, write, err
	})
	s.metrics.Commit(commitResult(wrote, err), tries, time.Since(began))
	return session, err
}

// commitResult is the label of an update's end.
func commitResult(wrote bool, err error) string {
	switch {
	case err == nil && wrote:
		return "committed"
	case err == nil:
		return "unchanged"
	case errors.Is(err, store.ErrConflict):
		return "conflict"
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return "unavailable"
	case errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return "failed"
	}
}

// fullFollow is how many entries Follow returns at the most where one partition has more of them.
const fullFollow = 1000

// Follow implements store.Feed. With fewer entries than one read can hold, the feed was read to its end.
func (s observedStore) Follow(ctx context.Context, after []store.Position, block time.Duration) ([]store.Entry, error) {
	entries, err := s.Store.Follow(ctx, after, block)
	if err == nil && len(entries) < fullFollow {
		s.metrics.FeedRead()
	}
	return entries, err
}

// watchful is the rpc package's observer.
type watchful struct{ metrics *telemetry.Metrics }

var _ rpc.Observer = watchful{}

func (w watchful) Concerns(context.Context, string) {}

func (w watchful) WatchOpened(kind rpc.WatchKind, resumed bool) {
	w.metrics.WatchOpened(string(kind), resumed)
}

func (w watchful) WatchEnded(kind rpc.WatchKind, code string) {
	w.metrics.WatchEnded(string(kind), code)
}

func (w watchful) Sending(_ context.Context, kind rpc.WatchKind, _ string, _ int32) func(error) {
	return func(err error) {
		if err == nil {
			w.metrics.WatchSent(string(kind))
		}
	}
}

func (w watchful) RetryGranted()             { w.metrics.RetryGranted() }
func (w watchful) RetryDenied(reason string) { w.metrics.RetryDenied(reason) }
