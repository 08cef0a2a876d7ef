package app

import (
	"context"
	"errors"
	"time"

	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// observeState registers the metrics that are read at each scrape.
func (a *App) observeState() {
	a.metrics.Gauge("verification_ready", func() float64 {
		if a.readiness.Ready() {
			return 1
		}
		return 0
	})
	a.metrics.Gauge("verification_feed_lag_seconds", func() float64 { return a.live.Lag().Seconds() })
	a.metrics.Gauge("verification_feed_max_age_seconds", time.Duration(a.config.FeedMaxAge).Seconds)
	a.metrics.Gauge("verification_feed_max_changes", func() float64 { return float64(a.config.FeedMaxLen) * float64(a.store.Partitions()) })
	a.metrics.Counter("verification_memory_hits_total", func() float64 { hits, _ := a.live.Counts(); return float64(hits) })
	a.metrics.Counter("verification_memory_misses_total", func() float64 { _, misses := a.live.Counts(); return float64(misses) })
	a.metrics.Gauge("verification_watch_streams_max", func() float64 { return float64(a.config.GRPCMaxStreams) })
	if a.config.GRPCTLS() {
		a.metrics.Gauge("verification_tls_certificate_not_before_timestamp_seconds", func() float64 { return float64(a.access.CertificateStart().Unix()) })
		a.metrics.Gauge("verification_tls_certificate_expiry_timestamp_seconds", func() float64 { return float64(a.access.CertificateExpiry().Unix()) })
	}
	a.showMisconfigured("")
	a.showNoWebhooks()
	if a.stripe != nil {
		a.showEndpoint(0)
		a.metrics.Gauge("verification_catch_up_interval_seconds", time.Duration(a.config.ReconcileInterval).Seconds)
		a.metrics.Gauge("verification_stripe_reads_left", func() float64 { return float64(a.stripe.ReadsLeft()) })
		showRefusedKeys(a.metrics)
		a.showBudget()
	}
}

// showMisconfigured sets the metric of each reason. now is the reason why Redis must not be used, or "".
func (a *App) showMisconfigured(now string) {
	for _, reason := range redisstore.Reasons {
		a.metrics.RedisMisconfigured(string(reason), string(reason) == now)
	}
}

// observeRedis shows what the masters of Redis say of their memory.
func (a *App) observeRedis(servers []redisstore.Server) {
	shown := make([]telemetry.RedisServer, len(servers))
	for i, server := range servers {
		shown[i] = telemetry.RedisServer(server)
	}
	a.metrics.RedisServers(shown, time.Now())
}

// showRefusedKeys makes the counts of calls for which Stripe refuses the key appear with 0, since an alert fires for the first one.
func showRefusedKeys(m *telemetry.Metrics) {
	for _, operation := range []stripeapi.Operation{
		stripeapi.OperationRetrieve, stripeapi.OperationFind, stripeapi.OperationCreate, stripeapi.OperationEphemeralKey, stripeapi.OperationEvents, stripeapi.OperationEvent,
	} {
		m.NoStripeCall(string(operation), string(stripeapi.OutcomeUnauthorized))
	}
}

// meter adapts the metrics to grpcserver.Meter.
type meter struct{ *telemetry.Metrics }

// Method implements grpcserver.Meter.
func (m meter) Method(name string) grpcserver.MethodMeter { return m.Metrics.Method(name) }

// webhookObserver returns a function that counts webhooks, and then calls more if it is not nil.
func (a *App) webhookObserver(more func(webhook.Result)) func(webhook.Result) {
	if more == nil {
		return a.observeWebhook
	}
	return func(r webhook.Result) {
		a.observeWebhook(r)
		more(r)
	}
}

func (a *App) observeWebhook(r webhook.Result) {
	switch r.Reason {
	case webhook.ReasonOverloaded:
		a.shedding.Shed(context.Background(), "webhook", "WEBHOOK_MAX_IN_FLIGHT")
	case webhook.ReasonLargeBodies:
		a.shedding.Shed(context.Background(), "webhook", "none: it is fixed for large bodies of webhooks")
	}
	a.noteArrival(r)
	age := time.Duration(-1)
	if r.Reason == webhook.ReasonApplied {
		age = r.Age
	}
	a.metrics.Webhook(r.Status, string(r.Reason), r.EventType, r.Secret, r.Took, age)
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
	case !s.Complete():
		result = "incomplete"
	}
	a.warnOfSilence(s)
	a.metrics.ThinWithoutSnapshot(s.Unlisted)
	if s.Wished { // of the events alone
		a.metrics.Missed(s.Drift())
		return
	}
	a.metrics.CatchUp(result, done, s.Drift(), s.Changed, s.Reread-s.Changed, s.Unknown)
	a.metrics.SessionsAbsent(s.Absent)
	if s.Behind == nil {
		return // not known: the metric keeps its value
	}
	behind := make([]telemetry.BehindAccount, len(s.Behind))
	for i, account := range s.Behind {
		behind[i] = telemetry.BehindAccount{Name: account.Name(), Since: account.Since}
	}
	a.metrics.CatchUpBehind(behind)
}

// observedStore returns the store with metrics and traces.
func (a *App) observedStore() observedStore { return observedStore{a.store, a.metrics, a.traces} }

type observedStore struct {
	store.Store
	metrics *telemetry.Metrics
	traces  *telemetry.Traces
}

// Update implements store.Store. It keeps the trace of a commit before any watcher of this process is woken.
func (s observedStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	began, tries, wrote, before := time.Now(), 0, false, int32(0)
	ctx, end := s.traces.Commit(ctx, id)
	session, err := s.Store.Update(ctx, id, func(current verification.Session) (next verification.Session, write bool, err error) {
		tries++
		next, write, err = fn(current)
		wrote, before = write, current.Revision
		return next, write, err
	})
	result := commitResult(wrote, err)
	s.metrics.Commit(result, tries, time.Since(began))
	if result == "committed" {
		for revision := before + 1; revision <= session.Revision; revision++ {
			s.traces.Keep(session.ID, revision, s.traces.Context(ctx))
		}
	}
	end(session.Revision, result, err != nil)
	return session, err
}

// commitResult returns the metric label for the end of an update.
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

// Follow implements store.Feed.
func (s observedStore) Follow(ctx context.Context, after []store.Position, block time.Duration) ([]store.Entry, error) {
	entries, err := s.Store.Follow(ctx, after, block)
	s.keepTraces(entries)
	return entries, err
}

// ReadFeed implements store.Feed.
func (s observedStore) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	entries, err := s.Store.ReadFeed(ctx, partition, after, limit)
	s.keepTraces(entries)
	return entries, err
}

// keepTraces keeps the traces of changes by other replicas for their deliveries.
func (s observedStore) keepTraces(entries []store.Entry) {
	for _, entry := range entries {
		if entry.Trace != "" {
			s.traces.Keep(entry.SessionID, entry.Revision, entry.Trace)
		}
	}
}

// tracedIngest is the ingest for webhooks: each event has a span. Events that a catch-up finds have none, since most of them are
// known already.
type tracedIngest struct {
	*ingest.Ingest
	traces *telemetry.Traces
}

// Apply implements webhook.Applier.
func (i tracedIngest) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	ctx, end := i.traces.Event(ctx, event.Object.ID, event.ID, event.Type)
	outcome, err := i.Ingest.Apply(ctx, event)
	end(effectName(outcome), err)
	return outcome, err
}

func effectName(outcome verification.Outcome) string {
	if outcome.Duplicate {
		return "duplicate"
	}
	return outcome.Effect.String()
}

func (a *App) traceStripeCall(ctx context.Context, operation stripeapi.Operation) (context.Context, func(stripeapi.Outcome)) {
	ctx, end := a.traces.StripeCall(ctx, string(operation))
	return ctx, func(outcome stripeapi.Outcome) { end(string(outcome)) }
}

// rpcObserver counts and traces what package rpc reports.
type rpcObserver struct {
	metrics *telemetry.Metrics
	traces  *telemetry.Traces
}

var _ rpc.Observer = rpcObserver{}

func (o rpcObserver) Concerns(ctx context.Context, sessionID string) {
	grpcserver.NoteSession(ctx, sessionID)
}

func (o rpcObserver) WatchOpened(kind rpc.WatchKind, resumed bool) {
	o.metrics.WatchOpened(string(kind), resumed)
}

func (o rpcObserver) WatchEnded(kind rpc.WatchKind, code string) {
	o.metrics.WatchEnded(string(kind), code)
}

func (o rpcObserver) Sending(ctx context.Context, kind rpc.WatchKind, sessionID string, revision int32) func(error) {
	sent := o.traces.Delivery(ctx, string(kind), sessionID, revision)
	return func(err error) {
		sent(err)
		if err == nil {
			o.metrics.WatchSent(string(kind))
		}
	}
}

func (a *App) observeOperator(operation rpc.Operation, outcome rpc.OperatorOutcome) {
	a.metrics.OperatorCall(string(operation), string(outcome))
}

func (a *App) observeComparison(outcome rpc.ComparisonOutcome) { a.metrics.Comparison(string(outcome)) }

func (o rpcObserver) RetryGranted()             { o.metrics.RetryGranted() }
func (o rpcObserver) RetryDenied(reason string) { o.metrics.RetryDenied(reason) }
