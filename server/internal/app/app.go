package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/accounts"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/maintain"
	"example.com/verification-status/server/internal/readiness"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/reload"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// retryDeadline is the deadline of a call of RetryVerification or CompareVerifiedOutputs that has none. The call waits for Stripe, sometimes twice.
const retryDeadline = 15 * time.Second

// operatorsFormat is the RECORD_FORMAT from which on the calls of operators and comparisons are on.
const operatorsFormat = 3

// Hooks let tests stop the process at a critical step, and let the development server observe it. The zero value does nothing.
type Hooks struct {
	// RetryStep is rpc.Config.Step.
	RetryStep func(step string)
	// Clock returns the time on which decisions depend. nil: time.Now.
	Clock func() time.Time
	// StripeRate is stripeapi.Config.RatePerSecond.
	StripeRate float64

	// WrapStore, WrapApplier and WrapService return what the server uses in place of the part. nil: the part itself.
	WrapStore   func(store.Store) store.Store
	WrapApplier func(webhook.Applier) webhook.Applier
	WrapService func(verificationv1.VerificationServiceServer) verificationv1.VerificationServiceServer
	// ObserveWebhook, if not nil, is called for each webhook after the metrics.
	ObserveWebhook func(webhook.Result)
}

// wrap returns what the hook makes of a part.
func wrap[T any](hook func(T) T, part T) T {
	if hook == nil {
		return part
	}
	return hook(part)
}

// App is one server process: built by New, run once by Run.
type App struct {
	config    *config.Config
	current   *config.Current
	files     *reload.Watcher
	logger    *slog.Logger
	shedding  *telemetry.Shedding
	metrics   *telemetry.Metrics
	traces    *telemetry.Traces // nil: off
	clock     func() time.Time
	store     store.Backend
	live      *live.View // in front of store
	consumers *consumers.Consumers
	stripe    *stripeapi.Client // nil without a key
	accounts  *accounts.Directory
	unknown   *unknownSessions // nil without a key
	ingest    *ingest.Ingest
	// reconciler is nil without a key.
	reconciler *reconcile.Reconciler
	readiness  *readiness.Monitor
	access     *access.Access
	grpc       *grpcserver.Server
	webhook    *http.Server
	admin      *http.Server
	service    *rpc.Service
	endpoint   endpointWatch
}

// New builds all parts and makes no connection. c must be loaded. secrets are the texts that logger conceals: New adds those that
// files bring later. It returns an error if a setting is wrong.
func New(c *config.Config, logger *slog.Logger, secrets *telemetry.Secrets, hooks Hooks) (*App, error) {
	if hooks.Clock == nil {
		hooks.Clock = time.Now
	}
	m := telemetry.NewMetrics()
	a := &App{config: c, logger: logger, metrics: m, clock: hooks.Clock}
	livemode, warning := c.EffectiveLivemode()
	if warning != "" {
		logger.Warn(warning)
	}
	warnOfCodes(c.DenyCodes(), logger)
	a.shedding = telemetry.NewShedding(m, grpcserver.WithCall(logger), func(ctx context.Context) string { return a.access.Principal(ctx) })
	a.files = reload.New(reload.Config{Logger: logger, Observe: m.FileReloaded})
	var err error
	if a.access, err = a.openAccess(); err != nil {
		return nil, err
	}
	if a.current, err = config.NewCurrent(c); err != nil {
		return nil, err
	}
	if err := a.current.Watch(c, a.files, secrets.Add); err != nil {
		return nil, err
	}
	for _, name := range a.files.Names() {
		m.FileWatched(name)
	}
	if a.traces, err = telemetry.NewTraces(context.Background(), logger); err != nil {
		return nil, err
	}
	if err := a.openStore(); err != nil {
		return nil, errors.Join(err, a.flush(closeTimeout))
	}
	if err := a.openStripe(hooks); err != nil {
		return nil, errors.Join(err, a.store.Close(), a.flush(closeTimeout))
	}
	a.live = live.New(live.Config{
		Store: a.observedStore(), CacheSessions: int(c.CacheSessions), WatchReads: streamReads(), Lost: a.rewound, Logger: logger,
	})
	a.consumers = a.newConsumers()
	a.ingest = a.newIngest(wrap[store.Store](hooks.WrapStore, a.live))
	reconciler, err := a.newReconciler(hooks)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.reconciler = reconciler
	a.grpc = grpcserver.New(grpcserver.Config{
		Logger: logger,
		MethodDeadlines: map[string]time.Duration{
			verificationv1.VerificationService_RetryVerification_FullMethodName:    retryDeadline,
			verificationv1.ComparisonService_CompareVerifiedOutputs_FullMethodName: retryDeadline,
		},
		MaxConnectionAgeGrace: time.Duration(c.StreamMaxAge)*5/4 + time.Minute, // streams end by themselves before
		MaxInFlight:           int(c.GRPCMaxInFlight),
		SharePercent:          int(c.CallerSharePercent),
		Shed:                  a.shedding.Shed,
		Reflection:            c.GRPCReflection.On(),
		Access:                a.access,
		Meter:                 meter{m},
		TracerProvider:        a.traces.Provider(),
	})
	a.service = rpc.New(rpc.Config{
		Live: a.live, Ingest: a.ingest, Stripe: a.rpcStripe(), Consumers: a.consumers,
		Policy: retryPolicy(c), Clock: hooks.Clock, Logger: grpcserver.WithCall(logger), Principal: a.access.Principal,
		MayRead: a.access.MayRead, MayOverride: a.access.MayOverride, MayNameOperators: a.access.MayNameOperators, Await: grpcserver.Await,
		Operators: c.RecordFormat >= operatorsFormat, ObserveOperator: a.observeOperator, ComparisonLimit: int(c.ComparisonLimit), ObserveComparison: a.observeComparison,
		OverBudget: a.observeRefusedCall, ListReads: listReads(), ListReadsEach: shareOf(listReads(), c),
		StreamMaxAge: time.Duration(c.StreamMaxAge), Step: hooks.RetryStep, Platform: a.current.PlatformAccount,
		InTouch: func() bool { return a.readiness.InTouch() },
	})
	observed := rpc.Observed(a.service, rpcObserver{a.metrics, a.traces})
	verificationv1.RegisterVerificationServiceServer(a.grpc, wrap[verificationv1.VerificationServiceServer](hooks.WrapService, observed))
	verificationv1.RegisterFeedServiceServer(a.grpc, a.service)
	verificationv1.RegisterOperatorServiceServer(a.grpc, observed)
	verificationv1.RegisterComparisonServiceServer(a.grpc, observed)
	a.readiness = readiness.New(readiness.Config{Store: a.store, Logger: logger, Publish: a.ready, Refused: a.showMisconfigured})
	handler, err := webhook.New(webhook.Config{
		Applier: wrap[webhook.Applier](hooks.WrapApplier, connHolder{contextNoter{tracedIngest{a.ingest, a.traces}, a.accounts}}), MaxInFlight: int(c.WebhookMaxInFlight),
		Secrets: a.current.WebhookSecrets, AccountOf: a.current.WebhookAccount, Platform: a.current.PlatformAccount, Path: c.WebhookPath,
		Livemode: livemode, Accounts: verification.NewAccounts(c.Accounts()), ReferenceKey: c.ReferenceMetadataKey, Deauthorized: a.deauthorized, Authorized: a.accounts.Authorized,
		Clock: hooks.Clock, Logger: logger, Observe: a.webhookObserver(hooks.ObserveWebhook),
	})
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.webhook = webhook.NewServer(c.WebhookAddr, a.traces.Webhook(handler), logger)
	a.webhook.ConnContext = connlimit.ConnContext
	a.admin = newAdminServer(m, a.readiness.Ready, logger)
	a.observeState()
	return a, nil
}

func (a *App) openStore() error {
	target, err := a.config.RedisTarget()
	if err != nil {
		return err
	}
	options := redisstore.Options{
		Addrs: target.Addrs, Mode: redisstore.Mode(a.config.RedisMode), SentinelMaster: a.config.RedisSentinelMaster,
		Credentials: a.current.RedisCredentials, SentinelCredentials: a.current.SentinelCredentials, DB: target.DB,
		Prefix: a.config.RedisKeyPrefix, Logger: a.logger, RecordFormat: int(a.config.RecordFormat),
		Policy: retryPolicy(a.config), Clock: a.clock, Trace: a.traces.Context,
		FeedMaxLen: int64(a.config.FeedMaxLen), FeedMaxAge: time.Duration(a.config.FeedMaxAge),
		ObserveServers: a.observeRedis,
		WaitReplicas:   int(a.config.RedisWaitReplicas), WaitTimeout: time.Duration(a.config.RedisWaitTimeout),
	}
	if target.TLS {
		options.TLS = a.current.RedisTLS
	}
	opened, err := redisstore.Open(options)
	if err != nil {
		return err // not the nil *redisstore.Store, which would become an interface that is not nil
	}
	a.store = opened
	return nil
}

// newIngest returns the part through which every event and read reaches the store.
func (a *App) newIngest(s store.Store) *ingest.Ingest {
	livemode, _ := a.config.EffectiveLivemode()
	return ingest.New(ingest.Config{
		Store: s, Stripe: a.ingestStripe(), Livemode: livemode, Clock: a.clock, Logger: a.logger, WishCatchUp: a.wishCatchUp,
		ObserveAmbiguous:   func(r ingest.AmbiguousResult) { a.metrics.Doubt(string(r)) },
		ObserveReadThrough: func(r ingest.ReadThrough) { a.metrics.ReadThrough(string(r)) },
	})
}

// jobs returns the jobs that one replica does at a time.
func (a *App) jobs() *maintain.Jobs {
	config := maintain.Config{Store: a.store, SettledTTL: time.Duration(a.config.SettledTTL), Clock: a.clock, Logger: a.logger}
	if a.stripe != nil {
		config.CheckEndpoint, config.ShowEndpoint = a.checkEndpoint, a.showEndpoint
	}
	return maintain.New(config)
}

// ready is called with each change of readiness. After an outage of Redis, a catch-up finds the events that were missed.
func (a *App) ready(ready bool) {
	a.grpc.SetServing(ready)
	if ready && a.reconciler != nil {
		a.reconciler.Trigger()
	}
}

// close closes what New has opened.
func (a *App) close() error {
	if a.stripe != nil {
		a.stripe.Close()
	}
	return errors.Join(a.store.Close(), a.flush(closeTimeout))
}

// flush sends the spans that are left, within limit.
func (a *App) flush(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return a.traces.Shutdown(ctx)
}
