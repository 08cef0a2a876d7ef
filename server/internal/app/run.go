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

// flushTimeout bounds what the last spans may take of a stop: a collector may be away.
const flushTimeout = 3 * time.Second

// closeTimeout is for what has nothing to send: a process that does not start.
const closeTimeout = time.Second

// lastGrace is what the end of the work may take beyond DRAIN_TIMEOUT, when calls had to be cut off.
const lastGrace = time.Second

// Addrs are where a running App listens.
type Addrs struct{ GRPC, Webhook, Admin net.Addr }

// Run listens and serves until ctx ends, then stops in order, within DRAIN_TIMEOUT. started is told
// once where it listens. A Redis that is away is waited for, as is one that must not be used; at the start the
// latter ends Run before anything listens.
func (a *App) Run(ctx context.Context, started func(Addrs)) error {
	defer func() {
		if err := a.close(); err != nil {
			a.logger.Warn("closing", "error", err)
		}
	}()
	if err := a.readiness.Begin(ctx); err != nil {
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
	workers.Go(func() { a.live.Run(background) })
	workers.Go(func() { a.files.Run(background) })
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

// stop ends everything in the order in which it can be missed: first nobody new is sent here, then
// accepted webhooks are finished, streams ended with a word, calls answered, and last what they used.
// endWork ends the rest, and waits for it.
func (a *App) stop(endWork func()) {
	began, limit := time.Now(), time.Duration(a.config.DrainTimeout)
	a.logger.Info("stopping", "at_most", limit)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	a.readiness.Stop()
	a.grpc.BeginDrain()
	// Webhooks that hang, with Redis, must leave the streams time for their last word.
	finishing, cancelFinishing := context.WithTimeout(ctx, limit*3/4)
	defer cancelFinishing()
	if err := a.webhook.Shutdown(finishing); err != nil {
		a.logger.Warn("webhooks were cut off; Stripe sends them again", "error", err)
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
		a.logger.Warn("some work still hangs, with Redis or Stripe; the process ends without it")
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
		each = max(each, int(a.config.CallerMaxStreams)) // behind nginx each watch has a connection
	}
	return bounded(grpcListener, most, each, "GRPC_MAX_CONNECTIONS"),
		bounded(webhookListener, int(a.config.WebhookMaxConnections), 0, "WEBHOOK_MAX_CONNECTIONS"),
		bounded(adminListener, adminMaxConnections, 0, "ADMIN_ADDR (fixed)"), nil
}
