package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

type serveCommand struct {
	Config config.Config `embed:""`
}

func (s *serveCommand) Run(ctx context.Context, hooks app.Hooks, typed flagWarnings) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // until the process ends: a hangup must not cut a stop short
	secrets := telemetry.NewSecrets()
	logger, err := load(&s.Config, secrets, typed, app.CheckAccess, func(*config.Config) error { return telemetry.CheckTraces(ctx) })
	if err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "settings", s.Config.Redacted()...)
	server, err := app.New(&s.Config, logger, secrets, hooks)
	if err != nil {
		return err
	}
	defer paceCollector()()
	go reloadAt(ctx, hangups, server)
	return server.Run(ctx, func(addrs app.Addrs) {
		logger.Info("listening", "grpc", addrs.GRPC.String(), "webhook", addrs.Webhook.String(), "admin", addrs.Admin.String())
	})
}

// reloadAt has the server read its files again at each signal, until ctx ends.
func reloadAt(ctx context.Context, signals <-chan os.Signal, server *app.App) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			server.Reload()
		}
	}
}

type reconcileCommand struct {
	Config  config.Config `embed:""`
	Session string        `xor:"what" placeholder:"ID" help:"Only read this session (vs_...) again from Stripe."`
	Full    bool          `xor:"what" help:"Read all events that Stripe lists, 30 days, wherever earlier catch-ups have stopped: after backups of a Redis Cluster were restored. If it is interrupted, run it without this flag: that resumes."`
}

func (r *reconcileCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := load(&r.Config, telemetry.NewSecrets(), typed)
	if err != nil {
		return err
	}
	summary, err := app.CatchUp(ctx, &r.Config, app.CatchUpOptions{Session: r.Session, Full: r.Full}, logger)
	if summary != "" {
		fmt.Println(summary)
	}
	return err
}
