// Package rpc is the VerificationService: it turns calls into reads of the store, watches into
// cursors over a session's revisions, and retries into grants and links. It decides nothing about
// order, counts or permission to retry (verification does), and knows no transport settings
// (grpcserver does) and no Redis or Stripe library.
package rpc

import (
	"context"
	"log/slog"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/verification"
)

// Ingest is how sessions come into the store that are not there yet.
type Ingest interface {
	// ReadUnknown and ReadUnknownReference read a session from Stripe that the store does not have;
	// store.ErrNotFound if Stripe does not either.
	ReadUnknown(ctx context.Context, id string) (verification.Session, error)
	ReadUnknownReference(ctx context.Context, reference string) (verification.Session, error)
	// Refresh reads a known session again.
	Refresh(ctx context.Context, current verification.Session) (verification.Session, error)
	// Inherit does what is due between a session and the one that it replaced: see ingest.Ingest.
	Inherit(ctx context.Context, current verification.Session) (verification.Session, error)
}

// Stripe is what a retry asks of Stripe's API. Errors are verification's ErrStripe….
type Stripe interface {
	// Retrieve reads a session and makes a fresh link.
	Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error)
	// CreateLike makes a new session like a closed one: one only, however often it is asked for.
	CreateLike(ctx context.Context, account, id, returnURL string) (newID string, err error)
}

// Live is what this process knows of sessions now; see live.View.
type Live interface {
	live.Sessions
	// Limited returns the same for watches, with a limit on the reads that are under way at once.
	Limited() live.Sessions
	// Hub returns the hub that wakes the watches. A watch subscribes first and reads second.
	Hub() *hub.Hub
}

// Config is what the service is made of.
type Config struct {
	Live   Live
	Ingest Ingest
	// Stripe is nil without an API key: then RetryVerification says so.
	Stripe Stripe
	Policy verification.RetryPolicy
	Clock  func() time.Time
	Logger *slog.Logger
	// Principal is the name of who makes the call that a context belongs to, of 255 bytes at the most;
	// it goes into the record of a grant and into the log. nil: callers have no names.
	Principal func(ctx context.Context) string
	// Await runs wait, while the call that ctx belongs to holds none of the places of calls under way. It
	// returns an error for the caller if too many calls wait, or if no place is free afterwards. nil: wait is called.
	Await func(ctx context.Context, wait func()) error
	// InTouch reports whether the store can be read, as far as is known; heartbeats depend on it. nil: always.
	InTouch func() bool
	// MayRead reports whether the caller of the call that a context belongs to may call GetStatus. nil: all may.
	MayRead func(ctx context.Context) bool
	// StreamMaxAge ends streams so that they spread anew over the servers; 0: never.
	StreamMaxAge time.Duration
	// StallTimeout is how long a response may wait for a caller who does not read before the stream
	// ends; 0: 30 seconds.
	StallTimeout time.Duration
	// Step, if set, is called between the steps of a retry with the name of the one to come. It is
	// there for tests that stop the process at each of them.
	Step func(step string)
}

// Service implements verificationv1.VerificationServiceServer. It is safe for concurrent use.
type Service struct {
	// Unsafe: an RPC that is added to the contract and not here shall not compile.
	verificationv1.UnsafeVerificationServiceServer
	config  Config
	lookup  lookup   // for calls
	watcher *watcher // of WatchStatus
	rereads *rereads // of GetStatus
	links   *links   // of RetryVerification

	stopping context.Context // ends with Drain
	stop     context.CancelFunc
}

var _ verificationv1.VerificationServiceServer = (*Service)(nil)

// New makes the service.
func New(config Config) *Service {
	if config.Step == nil {
		config.Step = func(string) {}
	}
	if config.InTouch == nil {
		config.InTouch = func() bool { return true }
	}
	if config.Principal == nil {
		config.Principal = func(context.Context) string { return "" }
	}
	if config.Await == nil {
		config.Await = func(_ context.Context, wait func()) error { wait(); return nil }
	}
	if config.MayRead == nil {
		config.MayRead = func(context.Context) bool { return true }
	}
	if config.StallTimeout == 0 {
		config.StallTimeout = stallTimeout
	}
	s := &Service{config: config, rereads: newRereads(), links: newLinks()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.lookup = lookup{&s.config, config.Live}
	s.watcher = &watcher{lookup{&s.config, config.Live.Limited()}, s.stopping}
	return s
}

// Drain ends the open streams, and those that are opened later, with an error that tells their callers to
// resume elsewhere. It does not wait.
func (s *Service) Drain() {
	s.stop()
	s.config.Live.Hub().WakeAll()
}

// answerMargin is kept back of a caller's deadline, so that there is time left to say what is wrong.
const answerMargin = 250 * time.Millisecond

// withMargin ends a little before the caller's deadline does.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(answerMargin, left/10)))
}
