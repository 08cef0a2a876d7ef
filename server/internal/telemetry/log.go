package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Option is an option of NewLogger.
type Option func(*redactor)

// WithSecrets names the texts that the log never shows. More can be added to the set while the logger is in use.
func WithSecrets(secrets *Secrets) Option {
	return func(r *redactor) { r.text.secrets = secrets }
}

// NewLogger returns a logger that writes one line for each record to w, in one Write. format is "json" or "text", level is
// "debug", "info", "warn" or "error"; it returns an error for any other value. The logger is safe for concurrent use.
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
	r := redactor{text: textRedactor{secrets: NewSecrets()}}
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

// secretWords are parts of attribute names whose values are always concealed.
var secretWords = []string{
	"secret", "password", "passwd", "authorization", "api_key", "apikey", "api-key",
	"credential", "cookie", "private_key", "stripe-signature", "stripe_signature",
}

// secretNames are whole names whose values are always concealed.
var secretNames = []string{"token", "access_token", "auth_token", "bearer", "pwd"}

// isSecretName reports whether the value of a key is a secret. The path of a secret's file is not.
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
