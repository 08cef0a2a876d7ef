package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	redisserver "github.com/alicebob/miniredis/v2/server"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/webhook"
)

// The secrets of the development server. They open nothing but the simulator on the same machine.
const (
	apiKey        = "sk_test_simulated"
	sensitiveKey  = "rk_test_simulated" // the simulator shows dates of birth to this key alone
	webhookSecret = "whsec_simulated"
	reference     = "user-42"
)

// Config configures the development server.
type Config struct {
	GRPCAddr    string `name:"grpc-addr" default:"127.0.0.1:50051" placeholder:"HOST:PORT" help:"The address of the gRPC listener."`
	WebhookAddr string `name:"webhook-addr" default:"127.0.0.1:4242" placeholder:"HOST:PORT" help:"The address of the webhook listener, to which the simulated Stripe sends."`
	AdminAddr   string `name:"admin-addr" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"The address of /metrics, /livez, /readyz and /debug/pprof."`
	StripeAddr  string `name:"stripe-addr" default:"127.0.0.1:12111" placeholder:"HOST:PORT" help:"The address of the simulated Stripe: its API, its hosted page, and at / a list of the sessions."`
	PortOffset  int    `name:"port-offset" default:"0" placeholder:"N" help:"A number that is added to each of the four ports, to run a second dev beside the first: --port-offset 100."`
	Payload     string `name:"payload-style" default:"snapshot" enum:"snapshot,thin,both" placeholder:"STYLE" help:"The style of the events that the simulated Stripe sends: snapshot, thin or both."`
	LogLevel    string `name:"log-level" default:"warn" placeholder:"LEVEL" help:"The lowest level that is logged: debug, info, warn or error."`
}

// payloadStyles has the styles by their names in the flag. An empty name is a snapshot.
var payloadStyles = map[string]stripesim.Style{"thin": stripesim.Thin, "both": stripesim.Both}

// Run runs the server with an embedded Redis and a simulated Stripe until ctx ends. It writes to out what to try, then one line for
// each event, retry and watch. Nothing is kept.
func Run(ctx context.Context, c Config, logger *slog.Logger, out io.Writer) error {
	c, err := c.placed()
	if err != nil {
		return err
	}
	redis := miniredis.NewMiniRedis()
	redis.ClockTTL(true) // without it, nothing expires
	if err := redis.StartAddr("127.0.0.1:0"); err != nil {
		return fmt.Errorf("the embedded Redis does not start: %w", err)
	}
	defer redis.Close()
	// INFO of miniredis panics while the server is being closed, and each new connection begins with INFO. The lines that it lacks
	// would also be logged as problems: the embedded Redis evicts nothing, and its version is new enough.
	redis.Server().SetPreHook(func(peer *redisserver.Peer, command string, _ ...string) bool {
		if command == "INFO" {
			peer.WriteBulk("redis_version:7.2.0\r\nmaxmemory_policy:noeviction\r\n")
		}
		return command == "INFO"
	})

	stripeListener, err := app.Listen("--stripe-addr", c.StripeAddr)
	if err != nil {
		return err
	}
	stripe, err := newSimulatedStripe(stripeListener.Addr(), logger)
	if err != nil {
		return errors.Join(err, stripeListener.Close())
	}
	settings := config.Defaults()
	settings.GRPCAddr, settings.WebhookAddr, settings.AdminAddr = c.GRPCAddr, c.WebhookAddr, c.AdminAddr
	settings.RedisURL = "redis://" + redis.Addr()
	settings.StripeAPIKey, settings.StripeWebhookSecret = apiKey, webhookSecret
	settings.StripeSensitiveAPIKey = sensitiveKey
	settings.StripeAPIBase, settings.APIReadsPerDay = "http://"+stripeListener.Addr().String(), 100_000
	settings.LogLevel, settings.LogFormat = c.LogLevel, "text"
	settings.GRPCMaxStreams, settings.CacheSessions = 1000, 1000
	settings.FeedMaxAge = 0 // the feed lasts no longer than the process
	settings.DrainTimeout = config.Duration(5 * time.Second)
	if err := settings.Load(); err != nil {
		return errors.Join(err, stripeListener.Close())
	}
	shown := newConsole()
	server, err := app.New(settings, logger, telemetry.NewSecrets(), shown.hooks())
	if err != nil {
		return errors.Join(err, stripeListener.Close())
	}

	// The simulator ends after the server: its API must answer until then.
	simulating, endSimulator := context.WithCancel(context.WithoutCancel(ctx))
	api := &http.Server{Handler: stripe.Handler(), ReadHeaderTimeout: 5 * time.Second}
	var simulator sync.WaitGroup
	simulator.Go(func() { _ = api.Serve(stripeListener) })
	simulator.Go(func() { _ = stripe.Run(simulating) })
	defer func() {
		endSimulator()
		_ = api.Close()
		simulator.Wait()
	}()
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer shown.end()
	err = server.Run(running, func(addrs app.Addrs) {
		endpoint := stripesim.Endpoint{
			URL: "http://" + addrs.Webhook.String() + webhook.Path, Secrets: []string{webhookSecret},
			Style: payloadStyles[c.Payload], NamesSnapshot: 1,
		}
		if err := stripe.SetEndpoints(endpoint); err != nil {
			fail(fmt.Errorf("the simulated Stripe cannot send webhooks: %w", err))
			return
		}
		demo, err := newDemo(running, settings.StripeAPIBase)
		if err != nil {
			fail(fmt.Errorf("the demo session cannot be created: %w", err))
			return
		}
		_, _ = io.WriteString(out, guide(addrs, settings.StripeAPIBase, demo))
		shown.begin(out)
	})
	if err == nil && ctx.Err() == nil {
		return context.Cause(running)
	}
	return err
}

func newSimulatedStripe(addr net.Addr, logger *slog.Logger) (*stripesim.Sim, error) {
	return stripesim.New(stripesim.Config{
		APIKeys:        []string{apiKey, sensitiveKey},
		BaseURL:        "http://" + addr.String(),
		APIVersion:     "2026-08-26.dahlia", // the version of today's accounts, not the one that the library expects
		RedactionDelay: 5 * time.Second,
		Logger:         logger,
	})
}
