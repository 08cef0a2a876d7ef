package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// warnUnknownEvery is the time between two warnings about sessions that Stripe does not know.
const warnUnknownEvery = time.Hour

// unknownSessions warns of sessions whose events came and that Stripe does not know under the API key. It is safe for
// concurrent use.
type unknownSessions struct {
	clock  func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	count  int // since the last warning
	warned time.Time
}

// note counts an answer about a session. It warns at once, and then at most once in warnUnknownEvery.
func (u *unknownSessions) note(account, id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	now := u.clock()
	if !u.warned.IsZero() && now.Sub(u.warned) < warnUnknownEvery {
		return
	}
	u.logger.Warn("events of sessions that this key does not know: is STRIPE_API_KEY of the same account as the webhook? If it is, the sessions were deleted at Stripe",
		"answers", u.count, "session_id", id, "account", account)
	u.count, u.warned = 0, now
}

// watchedStripe is the client for the parts that read sessions. It notes each session that is known here and not at Stripe,
// also in the session's record: see verification.NoteUnknown.
type watchedStripe struct {
	*stripeapi.Client
	store   store.Store
	unknown *unknownSessions
}

// Retrieve implements rpc.Stripe, whose sessions are all known here.
func (w watchedStripe) Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error) {
	read, err := w.Client.Retrieve(ctx, account, id)
	if errors.Is(err, verification.ErrStripeUnknown) {
		w.unknown.note(account, id)
		w.mark(ctx, account, id)
	}
	return read, err
}

// Read implements ingest.Stripe. A session of an event is known, also if it is not stored yet.
func (w watchedStripe) Read(ctx context.Context, purpose verification.Purpose, account, id string) (verification.Retrieved, error) {
	read, err := w.Client.Read(ctx, purpose, account, id)
	if errors.Is(err, verification.ErrStripeUnknown) && (w.mark(ctx, account, id) || purpose.OfEvent()) {
		w.unknown.note(account, id)
	}
	return read, err
}

// mark notes in the record that Stripe does not know the session of the account. It reports whether the session is stored. If
// the store fails, the next answer of Stripe is noted.
func (w watchedStripe) mark(ctx context.Context, account, id string) bool {
	stored, err := w.store.Get(ctx, id)
	if err != nil {
		return false
	}
	if _, changed := verification.NoteUnknown(stored); !changed || stored.Account != account {
		return true
	}
	_, err = w.store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.NoteUnknown(current)
		return next, changed, nil
	})
	if err != nil {
		w.unknown.logger.Info("a session that Stripe does not know could not be marked", "session_id", id, "error", err)
	}
	return true
}
