// Package app builds the server from its parts, runs them, and stops them in order. It is the only
// package that knows all others, and it decides nothing else.
package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/hub"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/tailer"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// retryDeadline is given to RetryVerification calls without one: it waits for Stripe, twice at times.
const retryDeadline = 15 * time.Second

// Hooks let tests stop the process where it hurts most. The zero value does nothing.
type Hooks struct {
	// RetryStep is rpc.Config.Step.
	RetryStep func(step string)
	// Clock is the time wherever a decision depends on it. nil: time.Now.
	Clock func() time.Time
	// StripeRate is stripeapi.Config.RatePerSecond.
	StripeRate float64
}

// App is one server process: built by New, run once by Run.
type App struct {
	config *config.Config
	logger *slog.Logger
	clock  func() time.Time
	store  *redisstore.Store
	stripe *stripeapi.Client // nil without a key
	ingest *ingest.Ingest
	// reconciler is nil without a key.
	reconciler *reconcile.Reconciler
	tailer     *tailer.Tailer
	readiness  *readiness
	grpc       *grpcserver.Server
	webhook    *http.Server
	admin      *http.Server
	drain      chan struct{} // closed to end the open streams
}

// New builds everything and contacts nothing. config must have been loaded. An error is a setting
// that somebody must change.
func New(c *config.Config, logger *slog.Logger, hooks Hooks) (*App, error) {
	if hooks.Clock == nil {
		hooks.Clock = time.Now
	}
	a := &App{config: c, logger: logger, clock: hooks.Clock, drain: make(chan struct{})}
	m := newMetrics()
	live, warning := c.EffectiveLivemode()
	if warning != "" {
		logger.Warn(warning)
	}
	if err := a.openStore(); err != nil {
		return nil, err
	}
	if err := a.openStripe(m, hooks); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	watchers := hub.New()
	a.ingest = ingest.New(ingest.Config{Store: a.store, Stripe: a.ingestStripe(), Clock: hooks.Clock, Logger: logger})
	reconciler, err := a.newReconciler(m, hooks)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.reconciler = reconciler
	a.tailer = tailer.New(a.store, watchers, a.rewound, logger)
	a.grpc = grpcserver.New(grpcserver.Config{
		Logger:                logger,
		MethodDeadlines:       map[string]time.Duration{verificationv1.VerificationService_RetryVerification_FullMethodName: retryDeadline},
		MaxConnectionAgeGrace: time.Duration(c.StreamMaxAge)*5/4 + time.Minute, // streams end by themselves before
		MaxInFlight:           int(c.GRPCMaxInFlight),
		Reflection:            c.GRPCReflection,
	})
	verificationv1.RegisterVerificationServiceServer(a.grpc, rpc.New(rpc.Config{
		Store: a.store, Hub: watchers, Ingest: a.ingest, Stripe: a.rpcStripe(),
		Policy: verification.RetryPolicy{MaxRetries: int32(c.MaxRetries), DenyCodes: verification.DefaultDenyCodes()},
		Clock:  hooks.Clock, Logger: logger, Draining: a.drain,
		StreamMaxAge: time.Duration(c.StreamMaxAge), StreamReads: streamReads(), Step: hooks.RetryStep,
	}))
	a.readiness = &readiness{store: a.store, logger: logger, publish: a.ready}
	handler, err := webhook.New(webhook.Config{
		Applier: holding{a.ingest}, MaxInFlight: int(c.WebhookMaxInFlight), Secrets: func() []verification.Secret { return secrets(c.WebhookSecrets()) },
		Livemode: live, ReferenceKey: c.ReferenceMetadataKey, Clock: hooks.Clock, Logger: logger, Observe: m.webhook,
	})
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.webhook = webhook.NewServer(c.WebhookAddr, handler, logger)
	a.webhook.ConnContext = connlimit.ConnContext
	a.admin = newAdminServer(m, a.readiness, logger)
	return a, nil
}

func (a *App) openStore() error {
	target, err := a.config.RedisTarget()
	if err != nil {
		return fmt.Errorf("REDIS_URL %w", err)
	}
	options := redisstore.Options{
		Addrs: target.Addrs, Mode: redisstore.Mode(a.config.RedisMode), SentinelMaster: a.config.RedisSentinelMaster,
		Username: target.Username, Password: target.Password, DB: target.DB,
		Prefix: a.config.RedisKeyPrefix, Logger: a.logger,
		Clock:      a.clock,
		FeedMaxLen: int64(a.config.FeedMaxLen), FeedMaxAge: time.Duration(a.config.FeedMaxAge),
		WaitReplicas: int(a.config.RedisWaitReplicas), WaitTimeout: time.Duration(a.config.RedisWaitTimeout),
	}
	if target.TLS {
		if options.TLS, err = a.config.RedisTLS(); err != nil {
			return err
		}
	}
	a.store, err = redisstore.Open(options)
	return err
}

func (a *App) openStripe(m *metrics, hooks Hooks) error {
	if a.config.StripeAPIKey == "" {
		a.logger.Warn("no STRIPE_API_KEY: unknown sessions stay unknown, doubts are decided by rule, and RetryVerification is refused")
		return nil
	}
	client, err := stripeapi.New(stripeapi.Config{
		Key: verification.Secret(a.config.StripeAPIKey), Base: a.config.StripeAPIBase,
		ReferenceKey: a.config.ReferenceMetadataKey, ReadsPerDay: int(a.config.APIReadsPerDay),
		RatePerSecond: hooks.StripeRate, Clock: hooks.Clock, Logger: a.logger, Observe: m.stripeCall,
	})
	a.stripe = client
	return err
}

// ready is told when Redis comes and goes. Whoever was away may have missed something.
func (a *App) ready(ready bool) {
	a.grpc.SetServing(ready)
	if ready && a.reconciler != nil {
		a.reconciler.Trigger()
	}
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

func secrets(texts []string) []verification.Secret {
	all := make([]verification.Secret, len(texts))
	for i, text := range texts {
		all[i] = verification.Secret(text)
	}
	return all
}

// close lets go of what New opened.
func (a *App) close() error {
	if a.stripe != nil {
		a.stripe.Close()
	}
	return a.store.Close()
}
