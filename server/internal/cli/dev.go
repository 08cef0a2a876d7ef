//go:build !nodev

package cli

import (
	"context"
	"log/slog"
	"os"

	"example.com/verification-status/server/internal/dev"
	"example.com/verification-status/server/internal/telemetry"
)

// firstCommand is the command that the description names.
const firstCommand = "dev"

// devCommands are the commands that the tag nodev leaves out.
type devCommands struct {
	Dev devCommand `cmd:"" help:"Run the server with an embedded Redis and a simulated Stripe. It needs nothing installed, and keeps nothing."`
}

type devCommand struct {
	Config dev.Config `embed:""`
}

func (d *devCommand) Run(ctx context.Context) error {
	logger, err := telemetry.NewLogger(os.Stderr, d.Config.LogLevel, "text")
	if err != nil {
		return err
	}
	slog.SetDefault(logger)
	defer paceCollector()()
	return dev.Run(ctx, d.Config, logger, os.Stdout)
}
