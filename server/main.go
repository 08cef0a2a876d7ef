// Command server is verification-status: it keeps the state of Stripe Identity verification sessions
// from Stripe's webhooks, and serves it over gRPC. This file is the command line and nothing else.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

const description = `Answers "is this person verified yet, and if not, why, and may they try again?"

It takes Stripe's identity.verification_session.* webhooks, keeps each session's state in Redis and serves it over gRPC. Start with: server dev`

type commands struct {
	Dev         devCommand         `cmd:"" help:"Run everything on this machine with nothing installed: embedded Redis, simulated Stripe. Nothing is kept."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the server on this machine whether it is ready, for containers: exit code 0 if it is."`
	Reconcile   reconcileCommand   `cmd:"" help:"Catch up once from Stripe's list of events, or read one session again, and say what was found. With the settings of serve."`
	Serve       serveCommand       `cmd:"" help:"Run the server. Each setting is a flag or an environment variable."`
}

func main() { os.Exit(run(app.Hooks{})) }

// run is the process: it reads the command line, runs the command and returns the exit code.
func run(hooks app.Hooks) int {
	var c commands
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	parser := kong.Must(&c, kong.Name("server"), kong.Description(description),
		kong.ValueFormatter(describe), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(hooks))
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "the command line cannot be read: %s\nserver --help and server serve --help tell what there is\n", withoutValues(err.Error()))
		return 2
	}
	if err := parsed.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s\n", err)
		return 1
	}
	return 0
}

// withoutValues takes out of an error what was typed or set: a secret with a space before it is an
// argument to kong, which quotes it. Short texts stay, since a mistyped command must be readable.
func withoutValues(text string) string {
	const shortest = 8
	var values []string
	for _, arg := range os.Args[1:] {
		if name, value, found := strings.Cut(arg, "="); found && strings.HasPrefix(name, "-") {
			arg = value
		}
		values = append(values, arg)
	}
	for _, setting := range config.Table() {
		values = append(values, os.Getenv(setting.Env))
	}
	for _, value := range values {
		if len(value) >= shortest && !strings.HasPrefix(value, "-") {
			text = strings.ReplaceAll(text, value, "[value]")
			text = strings.ReplaceAll(text, strings.ToLower(value), "[value]") // as kong quotes booleans
		}
	}
	return text
}

// describe adds the default to a flag's help: with a placeholder, kong does not show it.
func describe(value *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(value)
	if value.HasDefault {
		help += fmt.Sprintf(" Default: %s.", value.Default)
	}
	return help
}

type devCommand struct{ app.Dev }

func (d *devCommand) Run(ctx context.Context) error {
	logger, err := telemetry.NewLogger(os.Stderr, d.LogLevel, "text")
	if err != nil {
		return err
	}
	slog.SetDefault(logger)
	return app.RunDev(ctx, d.Dev, logger, os.Stdout)
}

type serveCommand struct{ config.Config }

func (s *serveCommand) Run(ctx context.Context, hooks app.Hooks) error {
	logger, err := load(&s.Config)
	if err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "settings", s.Redacted()...)
	server, err := app.New(&s.Config, logger, hooks)
	if err != nil {
		return err
	}
	return server.Run(ctx, func(addrs app.Addrs) {
		logger.Info("listening", "grpc", addrs.GRPC.String(), "webhook", addrs.Webhook.String(), "admin", addrs.Admin.String())
	})
}

type reconcileCommand struct {
	config.Config
	Session string `placeholder:"ID" help:"Read this one session again from Stripe (vs_...), and nothing else."`
}

func (r *reconcileCommand) Run(ctx context.Context) error {
	logger, err := load(&r.Config)
	if err != nil {
		return err
	}
	summary, err := app.CatchUp(ctx, &r.Config, r.Session, logger)
	if summary != "" {
		fmt.Println(summary)
	}
	return err
}

type healthcheckCommand struct{ app.Healthcheck }

func (h *healthcheckCommand) Run(ctx context.Context) error { return h.Ask(ctx) }

// load checks the settings and makes the logger that knows what to conceal.
func load(c *config.Config) (*slog.Logger, error) {
	if err := c.Load(); err != nil {
		return nil, fmt.Errorf("the server cannot start with these settings:\n%w", err)
	}
	logger, err := telemetry.NewLogger(os.Stderr, c.LogLevel, c.LogFormat, telemetry.WithSecrets(append(c.Secrets(), telemetry.TraceSecrets()...)...))
	if err != nil {
		return nil, err
	}
	slog.SetDefault(logger)
	return logger, nil
}
