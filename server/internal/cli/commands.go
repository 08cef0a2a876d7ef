package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"example.com/verification-status/server/internal/dev"
	"example.com/verification-status/server/internal/telemetry"
)

const description = `Answers "is this person verified yet, and if not, why, and may they try again?"

It takes Stripe's identity.verification_session.* webhooks, keeps each session's state in Redis and serves it over gRPC. Start with: server dev`

type commands struct {
	Dev         devCommand         `cmd:"" help:"Run everything on this machine with nothing installed: embedded Redis, simulated Stripe. Nothing is kept."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the server on this machine whether it is ready, for containers: exit code 0 if it is."`
	Licenses    licensesCommand    `cmd:"" help:"Print the licences and notices of the modules that this program contains."`
	Reconcile   reconcileCommand   `cmd:"" help:"Catch up once from Stripe's list of events, or read one session again, and say what was found. With the settings of serve."`
	Serve       serveCommand       `cmd:"" help:"Run the server. Each setting is a flag or an environment variable."`

	WebhookEndpoint webhookEndpointCommand `cmd:"" help:"Register the webhook endpoint at Stripe, see which there are, and check what one lacks. Needs the API key, and neither Redis nor a running server."`
	Token           struct {
		New newTokenCommand `cmd:"" help:"Make a bearer token for a caller, and its line for GRPC_TOKENS_FILE."`
	} `cmd:"" help:"Make bearer tokens for callers without a client certificate."`
}

type devCommand struct{ dev.Config }

func (d *devCommand) Run(ctx context.Context) error {
	logger, err := telemetry.NewLogger(os.Stderr, d.LogLevel, "text")
	if err != nil {
		return err
	}
	slog.SetDefault(logger)
	defer paceCollector()()
	return dev.Run(ctx, d.Config, logger, os.Stdout)
}

// notices is the text that the licenses command prints.
type notices string

// licensesCommand prints the licences and notices that must go along with the program.
type licensesCommand struct{}

func (licensesCommand) Run(text notices) error {
	_, err := fmt.Print(text)
	return err
}
