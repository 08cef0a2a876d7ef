package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/golive"
	"example.com/verification-status/server/internal/telemetry"
)

// GoLive checks whether the server with these settings is ready for real people, and writes the results to out. It does not listen. It
// returns an error if a check fails.
func GoLive(ctx context.Context, c *config.Config, out io.Writer) (err error) {
	heard := &warnings{}
	a := &App{config: c, logger: slog.New(heard), clock: time.Now, metrics: telemetry.NewMetrics()}
	if a.current, err = config.NewCurrent(c); err != nil {
		return err
	}
	if err := a.openStore(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.openStripe(Hooks{Clock: a.clock}); err != nil {
		return err
	}
	checks := golive.Config{Settings: c, Clock: a.clock, Redis: func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, redisTimeout)
		defer cancel()
		heard.take()
		err := a.store.Prepare(ctx)
		return heard.take(), err
	}}
	if a.stripe != nil {
		checks.Stripe = a.stripe
	}
	return golive.Run(ctx, checks, out)
}

// redisTimeout bounds the check of Redis.
const redisTimeout = 10 * time.Second

// warnings is a log handler that keeps the warnings, as texts, and drops everything else.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// take returns the warnings since the last call.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// Enabled implements slog.Handler.
func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w *warnings) Handle(_ context.Context, record slog.Record) error {
	var b strings.Builder
	b.WriteString(record.Message)
	record.Attrs(func(attr slog.Attr) bool {
		fmt.Fprintf(&b, " (%s %v)", attr.Key, attr.Value)
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, b.String())
	return nil
}

// WithAttrs implements slog.Handler. The attributes of a logger are no part of a warning.
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *warnings) WithGroup(string) slog.Handler { return w }
