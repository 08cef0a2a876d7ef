package cli

import (
	"context"
	"fmt"
	"os"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

type goLiveCommand struct {
	Config config.Config `embed:""`
}

// Run prints a line for each check, and returns an error if one fails.
func (g *goLiveCommand) Run(ctx context.Context, typed flagWarnings) error {
	if err := g.Config.Load(); err != nil {
		return fmt.Errorf("the server cannot start with these settings:\n%w", err)
	}
	secrets := telemetry.NewSecrets(g.Config.Secrets()...)
	logger, err := telemetry.NewLogger(os.Stderr, "warn", "text", telemetry.WithSecrets(secrets))
	if err != nil {
		return err
	}
	for _, warning := range typed {
		logger.Warn(warning)
	}
	return app.GoLive(ctx, &g.Config, os.Stdout)
}
