package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

// failed converts an error of the driver to an error of package store: the error of the context if the context has ended,
// ErrCorrupt if a key has a foreign type, and otherwise ErrUnavailable. It keeps only the text of the driver's error, because
// the driver's own deadlines would look like the caller's. It sets suspect if an operator must correct something.
func (s *Store) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	// The connection has the deadline of the context and can fail a moment earlier.
	var timeout net.Error
	if deadline, ok := ctx.Deadline(); ok && errors.As(err, &timeout) && timeout.Timeout() && !time.Now().Before(deadline) {
		return fmt.Errorf("%s: %w", what, context.DeadlineExceeded)
	}
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return fmt.Errorf("%s: %w: a key of this service has a foreign type", what, store.ErrCorrupt)
	}
	if s.refused(err) != nil {
		s.suspect.Store(true)
	}
	return fmt.Errorf("%s: %w: %s", what, store.ErrUnavailable, s.redacted(err.Error()))
}

// redacted removes passwords from a text of a server or of the driver. An old Redis repeats the arguments of an unknown command,
// and HELLO contains the password.
func (s *Store) redacted(text string) string { return redact(text, s.passwords()) }

func redact(text string, passwords []string) string {
	text, _, _ = strings.Cut(text, ", with args beginning with")
	for _, password := range passwords {
		text = strings.ReplaceAll(text, password, "[secret]")
	}
	return text
}
