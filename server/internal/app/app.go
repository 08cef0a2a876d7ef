// Package app builds the server from its parts, runs them, and stops them in order. It is the only
// package that knows all others, and it decides nothing else.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/hub"
	"example.com/verification-status/server/internal/ingest"
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
}

// App is one server process: built by New, run once by Run.
type App struct {
	config    *config.Config
	logger    *slog.Logger
	store     *redisstore.Store
	stripe    *stripeapi.Client // nil without a key
	ingest    *ingest.Ingest
	tailer    *tailer.Tailer
	readiness *readiness
	grpc      *grpcserver.Server
	webhook   *http.Server
	admin     *http.Server
	drain     chan struct{} // closed to end the open streams
}

// New builds everything and contacts nothing. config must have been loaded. An error is a setting
// that somebody must change.
func New(c *config.Config, logger *slog.Logger, hooks Hooks) (*App, error) {
	a := &App{config: c, logger: logger, drain: make(chan struct{})}
	m := newMetrics()
	live, warning := c.EffectiveLivemode()
	if warning != "" {
		logger.Warn(warning)
	}
	if err := a.openStore(); err != nil {
		return nil, err
	}
	if err := a.openStripe(m); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	watchers := hub.New()
	a.ingest = ingest.New(ingest.Config{Store: a.store, Stripe: a.ingestStripe(), Clock: time.Now, Logger: logger})
	a.tailer = tailer.New(a.store, watchers, logger)
	a.grpc = grpcserver.New(grpcserver.Config{
		Logger:                logger,
		MethodDeadlines:       map[string]time.Duration{verificationv1.VerificationService_RetryVerification_FullMethodName: retryDeadline},
		MaxConnectionAgeGrace: time.Duration(c.StreamMaxAge)*5/4 + time.Minute, // streams end by themselves before
		Reflection:            c.GRPCReflection,
	})
	verificationv1.RegisterVerificationServiceServer(a.grpc, rpc.New(rpc.Config{
		Store: a.store, Hub: watchers, Ingest: a.ingest, Stripe: a.rpcStripe(),
		Policy: verification.RetryPolicy{MaxRetries: int32(c.MaxRetries), DenyCodes: verification.DefaultDenyCodes()},
		Clock:  time.Now, Logger: logger, Draining: a.drain,
		StreamMaxAge: time.Duration(c.StreamMaxAge), Step: hooks.RetryStep,
	}))
	a.readiness = &readiness{store: a.store, logger: logger, publish: a.grpc.SetServing}
	handler, err := webhook.New(webhook.Config{
		Applier: a.ingest, Secrets: func() []verification.Secret { return secrets(c.WebhookSecrets()) },
		Livemode: live, ReferenceKey: c.ReferenceMetadataKey, Logger: logger, Observe: m.webhook,
	})
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.webhook = webhook.NewServer(c.WebhookAddr, handler, logger)
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
	}
	if target.TLS {
		options.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	a.store, err = redisstore.Open(options)
	return err
}

func (a *App) openStripe(m *metrics) error {
	if a.config.StripeAPIKey == "" {
		a.logger.Warn("no STRIPE_API_KEY: unknown sessions stay unknown, doubts are decided by rule, and RetryVerification is refused")
		return nil
	}
	client, err := stripeapi.New(stripeapi.Config{
		Key: verification.Secret(a.config.StripeAPIKey), Base: a.config.StripeAPIBase,
		ReferenceKey: a.config.ReferenceMetadataKey, ReadsPerDay: int(a.config.APIReadsPerDay),
		Logger: a.logger, Observe: m.stripeCall,
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

func secrets(texts []string) []verification.Secret {
	all := make([]verification.Secret, len(texts))
	for i, text := range texts {
		all[i] = verification.Secret(text)
	}
	return all
}

// Addrs are where a running App listens.
type Addrs struct{ GRPC, Webhook, Admin net.Addr }

// Run listens and serves until ctx ends, then stops in order, within DRAIN_TIMEOUT. started is told
// once where it listens. A Redis that is away is waited for; one that must not be used ends Run.
func (a *App) Run(ctx context.Context, started func(Addrs)) error {
	defer func() {
		if err := a.close(); err != nil {
			a.logger.Warn("closing", "error", err)
		}
	}()
	if err := a.readiness.prepare(ctx); err != nil {
		return err
	}
	grpcListener, webhookListener, adminListener, err := a.listen()
	if err != nil {
		return err
	}
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	background, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer endBackground()

	var servers, workers sync.WaitGroup
	serve := func(name string, run func() error) {
		servers.Go(func() {
			if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	workers.Go(func() { a.tailer.Run(background) })
	checking, endChecking := context.WithCancel(background)
	defer endChecking()
	workers.Go(func() {
		if err := a.readiness.run(checking); err != nil {
			fail(err)
		}
	})
	serve("gRPC", func() error { return a.grpc.Serve(grpcListener) })
	serve("webhook", func() error { return a.webhook.Serve(webhookListener) })
	serve("admin", func() error { return a.admin.Serve(adminListener) })
	started(Addrs{GRPC: grpcListener.Addr(), Webhook: webhookListener.Addr(), Admin: adminListener.Addr()})

	<-running.Done()
	endChecking()
	a.stop(func() {
		endBackground()
		workers.Wait()
		servers.Wait()
		a.ingest.Close()
	})
	if ctx.Err() == nil {
		return context.Cause(running)
	}
	return nil
}

// stop ends everything in the order in which it can be missed: first nobody new is sent here, then
// accepted webhooks are finished, streams ended with a word, calls answered, and last what they used.
// endWork ends the rest, and waits for it.
func (a *App) stop(endWork func()) {
	began, limit := time.Now(), time.Duration(a.config.DrainTimeout)
	a.logger.Info("stopping", "at_most", limit)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	a.readiness.stop()
	a.grpc.BeginDrain()
	// Webhooks that hang, with Redis, must leave the streams time for their last word.
	finishing, cancelFinishing := context.WithTimeout(ctx, limit*3/4)
	defer cancelFinishing()
	if err := a.webhook.Shutdown(finishing); err != nil {
		a.logger.Warn("webhooks were cut off; Stripe sends them again", "error", err)
		_ = a.webhook.Close()
	}
	close(a.drain)
	if !a.grpc.Stop(ctx) {
		a.logger.Warn("calls were cut off: they did not end in time")
	}
	if err := a.admin.Shutdown(ctx); err != nil {
		_ = a.admin.Close()
	}
	ended := make(chan struct{})
	go func() {
		endWork()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		a.logger.Warn("some work still hangs, with Redis or Stripe; the process ends without it")
	}
	a.logger.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
}

func (a *App) listen() (grpcListener, webhookListener, adminListener net.Listener, err error) {
	var open []net.Listener
	listen := func(name, addr string) net.Listener {
		listener, listenErr := Listen(name, addr)
		if listenErr != nil {
			err = errors.Join(err, listenErr)
			return nil
		}
		open = append(open, listener)
		return listener
	}
	grpcListener = listen("GRPC_ADDR (--grpc-addr)", a.config.GRPCAddr)
	webhookListener = listen("WEBHOOK_ADDR (--webhook-addr)", a.config.WebhookAddr)
	adminListener = listen("ADMIN_ADDR (--admin-addr)", a.config.AdminAddr)
	if err != nil {
		for _, listener := range open {
			_ = listener.Close()
		}
	}
	return grpcListener, webhookListener, adminListener, err
}

// close lets go of what New opened.
func (a *App) close() error {
	if a.stripe != nil {
		a.stripe.Close()
	}
	return a.store.Close()
}
