package rpc

import (
	"context"
	"log/slog"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/sharedread"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

// Ingest reads sessions from Stripe into the store.
type Ingest interface {
	// ReadUnknown and ReadUnknownReference read a session from Stripe that the store does not have. They
	// return store.ErrNotFound if Stripe does not have it either. account is empty for the platform.
	ReadUnknown(ctx context.Context, account, id string) (verification.Session, error)
	ReadUnknownReference(ctx context.Context, reference string) (verification.Session, error)
	// Refresh reads a known session from Stripe again.
	Refresh(ctx context.Context, current verification.Session) (verification.Session, error)
	// Inherit completes the replacement of one session by another: see ingest.Ingest.
	Inherit(ctx context.Context, current verification.Session) (verification.Session, error)
}

// Stripe is the part of Stripe's API that a retry needs. Errors are verification's ErrStripe….
type Stripe interface {
	// Retrieve reads a session and makes a fresh link.
	Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error)
	// CreateLike creates a new session like a closed one. Repeated calls create only one.
	CreateLike(ctx context.Context, account, id, returnURL string) (newID string, err error)
	// EphemeralKey makes a key with which a mobile library of an API version continues a session.
	EphemeralKey(ctx context.Context, account, id, version string) (verification.Secret, error)
	// Outputs reads what Stripe verified in a session: the date of birth and the id number if sensitive is true, else the rest. It
	// returns comparison.ErrNotComparable if the session is not verified, or is redacted.
	Outputs(ctx context.Context, account, id string, sensitive bool) (comparison.Outputs, error)
}

// Live is what this process knows of sessions now; see live.View.
type Live interface {
	live.Sessions
	// Limited returns the same for watches, with a limit on the reads that are under way at once.
	Limited() live.Sessions
	// Hub returns the hub that wakes the watches. A watch subscribes first and reads second.
	Hub() *hub.Hub
}

// Config configures a Service.
type Config struct {
	Live   Live
	Ingest Ingest
	// Stripe is nil without an API key: then RetryVerification fails with FAILED_PRECONDITION.
	Stripe Stripe
	Policy verification.RetryPolicy
	// Consumers keeps the named consumers of the feed.
	Consumers *consumers.Consumers
	Clock     func() time.Time
	Logger    *slog.Logger
	// Principal returns the name of the caller of the call that a context belongs to, 255 bytes at most. The
	// name goes into the record of a grant and into the log. nil: callers have no names.
	Principal func(ctx context.Context) string
	// Await runs wait, while the call that ctx belongs to holds none of the slots for calls under way. It
	// returns an error for the caller if too many calls wait, or if no slot is free afterwards. nil: wait is called.
	Await func(ctx context.Context, wait func()) error
	// InTouch reports whether the last check of the store found it readable. Without it no heartbeat is sent.
	// nil: always.
	InTouch func() bool
	// MayRead reports whether the caller of the call that a context belongs to may call GetStatus. nil: all may.
	MayRead func(ctx context.Context) bool
	// MayOverride reports whether the caller of the call that a context belongs to may delete the consumers of other callers.
	// nil: all may.
	MayOverride func(ctx context.Context) bool
	// MayNameOperators reports whether the caller of the call that a context belongs to may see the names of operators. nil: all
	// may.
	MayNameOperators func(ctx context.Context) bool
	// Operators turns on the calls that need records of format 3. Replicas of the version before must not run then.
	Operators bool
	// ObserveOperator is called for each call of OperatorService, by many goroutines at once. nil: not called.
	ObserveOperator func(operation Operation, outcome OperatorOutcome)
	// ComparisonLimit is how often the outputs of one session can be compared within 24 hours, on all servers together.
	ComparisonLimit int
	// ObserveComparison is called for each call of CompareVerifiedOutputs, by many goroutines at once. nil: not called.
	ObserveComparison func(outcome ComparisonOutcome)
	// OverBudget is called with the context of each call that fails because no read at Stripe is left for it: for its purpose or, if
	// share is true, for its caller. It is called by many goroutines at once. nil: not called.
	OverBudget func(ctx context.Context, share bool)
	// Platform returns the id of the platform's own account, or "" if it is not known. A caller that names it means the sessions
	// without an account. nil: it is not known.
	Platform func() string
	// ListReads is how many calls read lists of records from the store at the same time; 0: 8. One named caller has at most
	// ListReadsEach of them; 0: no bound. Further calls wait.
	ListReads, ListReadsEach int
	// StreamMaxAge is the age at which streams end, so that they spread over the servers again. 0 means never.
	StreamMaxAge time.Duration
	// StallTimeout bounds the wait of a response for a caller that does not read. Then the stream ends. 0: 30
	// seconds.
	StallTimeout time.Duration
	// Step is called before each step of a retry, with the step's name. It is there for tests that stop the
	// process at each step. nil: not called.
	Step func(step string)
}

// Service implements the VerificationService, the FeedService, the OperatorService and the ComparisonService. It is safe for concurrent use.
type Service struct {
	// Unsafe: without a method for each RPC of the contract this package must not compile.
	verificationv1.UnsafeVerificationServiceServer
	verificationv1.UnsafeFeedServiceServer
	verificationv1.UnsafeOperatorServiceServer
	verificationv1.UnsafeComparisonServiceServer
	config  Config
	lookup  lookup   // for calls
	watcher *watcher // of WatchStatus
	rereads *rereads // of GetStatus
	links   *links   // of RetryVerification
	lists   *shares.Queue

	consumers sharedread.Group[struct{}, []consumers.State] // of ListConsumers

	stopping context.Context // ends with Drain
	stop     context.CancelFunc
}

var (
	_ verificationv1.VerificationServiceServer = (*Service)(nil)
	_ verificationv1.FeedServiceServer         = (*Service)(nil)
	_ verificationv1.OperatorServiceServer     = (*Service)(nil)
	_ verificationv1.ComparisonServiceServer   = (*Service)(nil)
)

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
	if config.MayOverride == nil {
		config.MayOverride = func(context.Context) bool { return true }
	}
	if config.MayNameOperators == nil {
		config.MayNameOperators = func(context.Context) bool { return true }
	}
	if config.OverBudget == nil {
		config.OverBudget = func(context.Context, bool) {}
	}
	if config.ObserveComparison == nil {
		config.ObserveComparison = func(ComparisonOutcome) {}
	}
	if config.ObserveOperator == nil {
		config.ObserveOperator = func(Operation, OperatorOutcome) {}
	}
	if config.Platform == nil {
		config.Platform = func() string { return "" }
	}
	if config.ListReads == 0 {
		config.ListReads = 8
	}
	if config.StallTimeout == 0 {
		config.StallTimeout = stallTimeout
	}
	s := &Service{
		config: config, rereads: newRereads(), links: newLinks(), lists: shares.NewQueue(config.ListReads, config.ListReadsEach),
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.lookup = lookup{&s.config, config.Live}
	s.watcher = &watcher{lookup{&s.config, config.Live.Limited()}, s.stopping}
	return s
}

// Drain ends the open streams, and streams that are opened later, with an error that tells their callers to resume on
// another server. It does not wait.
func (s *Service) Drain() {
	s.stop()
	s.config.Live.Hub().WakeAll()
}

// answerMargin is the part of a caller's deadline that is kept for the answer, so that an error arrives in time.
const answerMargin = 250 * time.Millisecond

// withMargin returns a context that ends a little before the caller's deadline.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(answerMargin, left/10)))
}
