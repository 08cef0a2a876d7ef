package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

// load checks the settings, also with the functions in more, and returns the logger. The logger conceals the texts in secrets: load
// adds those of the settings, and more can be added later. load logs the warnings about the settings.
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

// loadAPI does the same for the commands that call Stripe only. Their log is for a person at a terminal.
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
