// Command server is verification-status: it keeps the state of Stripe Identity verification sessions
// from Stripe's webhooks, and serves it over gRPC. This file is the command line and nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
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
		misread(err)
		return 2
	}
	if err := parsed.Run(secretsInFlags(parsed)); err != nil {
		fmt.Fprintf(os.Stderr, "%s\n", err)
		return 1
	}
	return 0
}

// misread says what is wrong with the command line, and which help to ask for. Without a command it is that help.
func misread(err error) {
	var wrong *kong.ParseError
	if !errors.As(err, &wrong) {
		fmt.Fprintln(os.Stderr, withoutValues(err.Error()))
		return
	}
	node, name := wrong.Context.Model.Node, wrong.Context.Model.Name
	if selected := wrong.Context.Selected(); selected != nil {
		node, name = selected, selected.FullPath()
	}
	var commands []string
	for _, child := range node.Children {
		commands = append(commands, child.Name)
	}
	text := withoutValues(err.Error())
	switch {
	case len(commands) > 0 && strings.HasPrefix(text, "expected "):
		_ = wrong.Context.PrintUsage(false)
		fmt.Fprintf(os.Stderr, "%s: a command is missing: %s\n", name, strings.Join(commands, ", "))
		return
	case len(commands) > 0 && strings.HasPrefix(text, "unexpected argument "):
		text += "; the commands are " + strings.Join(commands, ", ")
	}
	fmt.Fprintf(os.Stderr, "the command line cannot be read: %s\n%s --help tells what there is\n", text, name)
}

// flagWarnings has a sentence for each secret that was given as a flag.
type flagWarnings []string

// secretsInFlags looks for secrets among the flags that were typed: ps shows them to every user of the machine for as
// long as the process runs. An address of Redis without a password is no secret.
func secretsInFlags(parsed *kong.Context) (warnings flagWarnings) {
	for _, element := range parsed.Path {
		flag := element.Flag
		if flag == nil || flag.Tag.Get("secret") != "true" {
			continue
		}
		if target, err := (&config.Config{RedisURL: fmt.Sprint(flag.Target.Interface())}).RedisTarget(); err == nil && target.Password == "" {
			continue
		}
		env := flag.Tag.Get("env")
		warnings = append(warnings, fmt.Sprintf("--%s is a flag, and ps shows its secret to every user of this machine: set %s, or name a file in %s_FILE", flag.Name, env, env))
	}
	return warnings
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

func (s *serveCommand) Run(ctx context.Context, hooks app.Hooks, typed flagWarnings) error {
	secrets := telemetry.NewSecrets()
	logger, err := load(&s.Config, secrets, typed, app.CheckAccess, func(*config.Config) error { return telemetry.CheckTraces(ctx) })
	if err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "settings", s.Redacted()...)
	server, err := app.New(&s.Config, logger, secrets, hooks)
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

func (r *reconcileCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := load(&r.Config, telemetry.NewSecrets(), typed)
	if err != nil {
		return err
	}
	summary, err := app.CatchUp(ctx, &r.Config, r.Session, logger)
	if summary != "" {
		fmt.Println(summary)
	}
	return err
}

type webhookEndpointCommand struct {
	Create createEndpointCommand `cmd:"" help:"Register a webhook endpoint for the six identity.verification_session events by name, and print its signing secret once, as STRIPE_WEBHOOK_SECRET=whsec_... on the standard output. Nothing is created where an endpoint with this URL exists."`
	List   listEndpointsCommand  `cmd:"" help:"List the webhook endpoints that Stripe has in the key's mode."`
	Check  checkEndpointCommand  `cmd:"" help:"Say all that keeps an endpoint's events from coming, each with what to do: no such URL, missing types, disabled, the other mode, several endpoints with one URL. The exit code is 0 if nothing does."`
}

type createEndpointCommand struct {
	app.NewEndpoint
	config.API
}

func (c *createEndpointCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&c.API, typed)
	if err != nil {
		return err
	}
	return app.CreateEndpoint(ctx, &c.API, c.NewEndpoint, logger, os.Stdout, os.Stderr)
}

type listEndpointsCommand struct{ config.API }

func (l *listEndpointsCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&l.API, typed)
	if err != nil {
		return err
	}
	return app.ListEndpoints(ctx, &l.API, logger, os.Stdout)
}

type checkEndpointCommand struct {
	URL string `name:"url" required:"" placeholder:"URL" help:"The endpoint's URL. Required."`
	config.API
}

func (c *checkEndpointCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&c.API, typed)
	if err != nil {
		return err
	}
	return app.CheckEndpoint(ctx, &c.API, c.URL, logger, os.Stdout)
}

// loadAPI is load for the commands that speak with Stripe only. Their log is for a person at a terminal.
func loadAPI(a *config.API, typed flagWarnings) (*slog.Logger, error) {
	if err := a.Load(); err != nil {
		return nil, fmt.Errorf("Stripe's API cannot be used with these settings:\n%w", err)
	}
	logger, err := telemetry.NewLogger(os.Stderr, "warn", "text", telemetry.WithSecrets(telemetry.NewSecrets(a.StripeAPIKey)))
	if err != nil {
		return nil, err
	}
	for _, warning := range slices.Concat(typed, a.Warnings()) {
		logger.Warn(warning)
	}
	return logger, nil
}

// newTokenCommand prints a token, once: only its hash is in the line.
type newTokenCommand struct {
	Name   string `required:"" placeholder:"NAME" help:"Whose token: the name in the log, and in the record of a grant."`
	Rights string `required:"" placeholder:"RIGHTS" help:"What it may do, separated by commas: read, watch-all, list, retry."`
}

func (n *newTokenCommand) Run() error {
	rights, err := access.ParseRights(n.Rights)
	if err != nil {
		return fmt.Errorf("--rights: %w", err)
	}
	token, line, err := access.NewToken(n.Name, rights)
	if err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	fmt.Printf("The token, for the caller; it is shown this once:\n%s\n\nThe line for the file that GRPC_TOKENS_FILE names:\n%s\n", token, line)
	return nil
}

type healthcheckCommand struct{ app.Healthcheck }

func (h *healthcheckCommand) Run(ctx context.Context) error { return h.Ask(ctx) }

// load checks the settings, in more ways where there are more, and makes the logger, which conceals what
// is in secrets: those of the settings and whatever is added later. It logs what is unsafe in some places.
func load(c *config.Config, secrets *telemetry.Secrets, typed flagWarnings, more ...func(*config.Config) error) (*slog.Logger, error) {
	problems := []error{c.Load()}
	for _, check := range more {
		problems = append(problems, check(c))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("the server cannot start with these settings:\n%w", err)
	}
	secrets.Add(append(c.Secrets(), telemetry.TraceSecrets()...)...)
	logger, err := telemetry.NewLogger(os.Stderr, c.LogLevel, c.LogFormat, telemetry.WithSecrets(secrets))
	if err != nil {
		return nil, err
	}
	slog.SetDefault(logger)
	for _, warning := range slices.Concat(typed, c.Warnings(), telemetry.TraceWarnings()) {
		logger.Warn(warning)
	}
	return logger, nil
}
