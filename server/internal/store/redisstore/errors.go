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

// failed turns an error of the driver into one of the port: the context's where that has ended, a
// record of a foreign type as corrupt, and anything else as unavailable. The driver's error is kept as
// text only: its own deadlines would look like the caller's. An answer that will be the same until somebody
// corrects something makes Redis suspect.
func (s *Store) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	// The connection's deadline is the context's; it may fire an instant earlier.
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

// redacted removes what a server or driver may quote: an old Redis repeats the arguments of a command
// that it does not know, and HELLO carries the password.
func (s *Store) redacted(text string) string { return redact(text, s.passwords()) }

func redact(text string, passwords []string) string {
	text, _, _ = strings.Cut(text, ", with args beginning with")
	for _, password := range passwords {
		text = strings.ReplaceAll(text, password, "[secret]")
	}
	return text
}
