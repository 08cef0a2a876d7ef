// Package telemetry makes the server's logger, its metrics and its traces. Log lines, also those of
// libraries, leave without the secrets of Stripe and Redis: these are cut out of every text, in any
// attribute, message or error.
//
// It does not know what is logged, counted or traced: it imports no other package of the project.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Option changes what NewLogger makes.
type Option func(*redactor)

// WithSecrets names the texts that must never appear in the log; more can be added to the set while
// the logger is in use.
func WithSecrets(secrets *Secrets) Option {
	return func(r *redactor) { r.scrub.secrets = secrets }
}

// NewLogger makes a logger that writes a line for each record to w: format "json" or "text", level
// "debug", "info", "warn" or "error". Each line is one Write; it is safe for concurrent use.
func NewLogger(w io.Writer, level, format string, options ...Option) (*slog.Logger, error) {
	var least slog.Level
	switch level {
	case "debug":
		least = slog.LevelDebug
	case "info":
		least = slog.LevelInfo
	case "warn":
		least = slog.LevelWarn
	case "error":
		least = slog.LevelError
	default:
		return nil, fmt.Errorf("log level %q is unknown: use debug, info, warn or error", level)
	}
	r := redactor{scrub: scrubber{secrets: NewSecrets()}}
	for _, option := range options {
		option(&r)
	}
	handler := &slog.HandlerOptions{Level: least, ReplaceAttr: r.replace}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, handler)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, handler)), nil
	default:
		return nil, fmt.Errorf("log format %q is unknown: use json or text", format)
	}
}

// secretWords are parts of names under which a value is concealed whatever it looks like.
var secretWords = []string{
	"secret", "password", "passwd", "authorization", "api_key", "apikey", "api-key",
	"credential", "cookie", "private_key", "stripe-signature", "stripe_signature",
}

// secretNames are whole names of that kind.
var secretNames = []string{"token", "access_token", "auth_token", "bearer", "pwd"}

// isSecretName says whether a key is that of a secret. The path of a secret's file is none.
func isSecretName(key string) bool {
	key = strings.ToLower(key)
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return !strings.HasSuffix(key, "_file")
		}
	}
	for _, name := range secretNames {
		if key == name {
			return true
		}
	}
	return false
}
