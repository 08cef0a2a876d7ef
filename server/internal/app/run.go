package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
)

// flushTimeout bounds the time for the last spans at a stop, since the collector might not answer.
const flushTimeout = 3 * time.Second

// closeTimeout does the same for a process that does not start, and has no spans to send.
const closeTimeout = time.Second

// lastGrace is the time beyond DRAIN_TIMEOUT for the end of the background work, if calls had to be cut off.
const lastGrace = time.Second

// Addrs are the addresses on which a running App listens.
type Addrs struct{ GRPC, Webhook, Admin net.Addr }

// Run listens and serves until ctx ends, then stops in order, within DRAIN_TIMEOUT. It calls started once with the addresses. It
// waits for a Redis that cannot be reached or must not be used. It returns an error if Redis must not be used at the start, if it
// cannot listen, or if a server fails.
func (a *App) Run(ctx context.Context, started func(Addrs)) error {
	defer func() {
		if err := a.close(); err != nil {
			a.logger.Warn("closing the connections failed", "error", err)
		}
	}()
	if err := a.readiness.Begin(ctx); err != nil {
		return err
	}
	a.offerImport(ctx)
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
	workers.Go(func() { a.live.Run(background) })
	workers.Go(func() { a.files.Run(background) })
	workers.Go(func() { a.consumers.Run(background) })
	workers.Go(func() { a.jobs().Run(background) })
	if a.reconciler != nil {
		workers.Go(func() { a.reconciler.Loop(background) })
	}
	checking, endChecking := context.WithCancel(background)
	defer endChecking()
	workers.Go(func() { a.readiness.Run(checking) })
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

// Reload has the files that settings name read again at once. It returns before that. It is safe for concurrent use, also before Run.
func (a *App) Reload() { a.files.LookNow() }

// stop shuts down in this order: readiness, webhooks, streams, calls, the background work that all of them use, traces. Accepted
// webhooks and calls are finished; streams end with an error. endWork ends the background work and waits for it. The caller closes
// the store.
func (a *App) stop(endWork func()) {
	began, limit := time.Now(), time.Duration(a.config.DrainTimeout)
	a.logger.Info("stopping", "at_most", limit)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	a.readiness.Stop()
	a.grpc.BeginDrain()
	// Webhooks that hang with Redis must leave the streams time for their last error.
	finishing, cancelFinishing := context.WithTimeout(ctx, limit*3/4)
	defer cancelFinishing()
	if err := a.webhook.Shutdown(finishing); err != nil {
		a.logger.Warn("webhooks were cut off, Stripe sends them again", "error", err)
		_ = a.webhook.Close()
	}
	a.service.Drain()
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
	case <-time.After(time.Until(began.Add(limit + lastGrace))):
		a.logger.Warn("some work still waits for Redis or Stripe: the process ends without it")
	}
	if err := a.flush(min(flushTimeout, max(0, time.Until(began.Add(limit))))); err != nil {
		a.logger.Warn("the last traces could not be sent", "error", err)
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
		return nil, nil, nil, err
	}
	bounded := func(listener net.Listener, limit, each int, setting string) net.Listener {
		return connlimit.New(listener, limit, each, func() { a.shedding.Shed(context.Background(), "connection", setting) })
	}
	most := int(a.config.GRPCMaxConnections)
	each := shares.Of(most, int(a.config.CallerSharePercent))
	if each > 0 {
		each = max(each, int(a.config.CallerMaxStreams)) // behind nginx, each watch has its own connection
	}
	return bounded(grpcListener, most, each, "GRPC_MAX_CONNECTIONS"),
		bounded(webhookListener, int(a.config.WebhookMaxConnections), 0, "WEBHOOK_MAX_CONNECTIONS"),
		bounded(adminListener, adminMaxConnections, 0, "ADMIN_ADDR (fixed)"), nil
}
