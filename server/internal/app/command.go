package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

// openForCommand opens what a command needs that runs once beside servers and does not listen: the store, Stripe and ingest. It
// returns an error if Redis cannot be used. The caller calls closeCommand.
func openForCommand(ctx context.Context, c *config.Config, hooks Hooks, logger *slog.Logger) (a *App, err error) {
	a = &App{config: c, logger: logger, clock: hooks.Clock, metrics: telemetry.NewMetrics()}
	if a.current, err = config.NewCurrent(c); err != nil {
		return nil, err
	}
	if err := a.openStore(); err != nil {
		return nil, err
	}
	if err := a.openStripe(hooks); err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.ingest = a.newIngest(a.observedStore())
	if err := a.store.Prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("Redis cannot be used: %w", err), a.closeCommand())
	}
	return a, nil
}

// closeCommand closes what openForCommand opened.
func (a *App) closeCommand() error {
	a.ingest.Close()
	return a.close()
}
