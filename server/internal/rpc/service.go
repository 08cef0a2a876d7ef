// Package rpc is the VerificationService: it turns calls into reads of the store, watches into
// cursors over a session's revisions, and retries into grants and links. It decides nothing about
// order, counts or permission to retry (verification does), and knows no transport settings
// (grpcserver does) and no Redis or Stripe library.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
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

// Recent reads sessions as they are, or were less than a second ago; see live.Cache.
type Recent interface {
	// Recent returns a session at a revision of at least least, if it has come that far. Errors are
	// those of store.Store.Get.
	Recent(ctx context.Context, id string, least int32) (verification.Session, error)
	// Remembered is Recent without asking anybody: nil where memory does not have the session. It must
	// not be changed.
	Remembered(id string, least int32) *verification.Session
}

// Config is what the service is made of.
type Config struct {
	Store  store.Store
	Recent Recent // nil: the Store is asked each time
	Hub    *hub.Hub
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
	// StreamReads is how many reads of the store the open watches make at once; 0: 16.
	StreamReads int
	// Step, if set, is called between the steps of a retry with the name of the one to come. It is
	// there for tests that stop the process at each of them.
	Step func(step string)
}

// Service implements verificationv1.VerificationServiceServer. It is safe for concurrent use.
type Service struct {
	// Unsafe: an RPC that is added to the contract and not here shall not compile.
	verificationv1.UnsafeVerificationServiceServer
	Config
	watching *Service // the same for watches: it reads the store by turns
	rereads  *rereads // of GetStatus
	links    *links   // of RetryVerification

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
	if config.Recent == nil {
		config.Recent = stored{config.Store}
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
	if config.StreamReads == 0 {
		config.StreamReads = 16
	}
	byTurns := config
	read := newTurns(config.Store, config.Recent, config.StreamReads)
	byTurns.Store, byTurns.Recent = read, read
	stopping, stop := context.WithCancel(context.Background())
	return &Service{
		Config: config, watching: &Service{Config: byTurns, stopping: stopping, stop: stop},
		rereads: newRereads(), links: newLinks(), stopping: stopping, stop: stop,
	}
}

// Drain ends the open streams, and those that are opened later, with an error that tells their callers to
// resume elsewhere. It does not wait.
func (s *Service) Drain() {
	s.stop()
	s.Hub.WakeAll()
}

// stored is a Recent that remembers nothing.
type stored struct{ store.Store }

func (stored) Remembered(string, int32) *verification.Session { return nil }

func (s stored) Recent(ctx context.Context, id string, _ int32) (verification.Session, error) {
	return s.Get(ctx, id)
}

// session returns a session by id, read through from Stripe where it is not known.
func (s *Service) session(ctx context.Context, id string, least int32) (verification.Session, error) {
	session, err := s.recent(ctx, id, least)
	if errors.Is(err, store.ErrNotFound) {
		return s.Ingest.ReadUnknown(ctx, id)
	}
	return session, err
}

func (s *Service) recent(ctx context.Context, id string, least int32) (verification.Session, error) {
	if least == asStored {
		return s.Store.Get(ctx, id)
	}
	return s.Recent.Recent(ctx, id, least)
}

// newest returns the newest session that bears a reference, read through from Stripe where none is
// known.
func (s *Service) newest(ctx context.Context, reference string, least int32) (verification.Session, error) {
	session, err := s.bearer(ctx, reference, func(ctx context.Context, id string) (verification.Session, error) {
		return s.session(ctx, id, least)
	})
	if errors.Is(err, store.ErrNotFound) {
		return s.Ingest.ReadUnknownReference(ctx, reference)
	}
	return session, err
}

// bearer returns the newest session of the store that bears a reference, by its record, which read
// reads. What the index says and the record denies is taken out of the index: it was left over, and
// nothing else would ever do it.
func (s *Service) bearer(ctx context.Context, reference string, read func(ctx context.Context, id string) (verification.Session, error)) (verification.Session, error) {
	for range maxLeftovers {
		id, err := s.Store.Newest(ctx, reference)
		if err != nil {
			return verification.Session{}, err
		}
		session, err := read(ctx, id)
		if err == nil && session.Reference != reference {
			session, err = s.Store.Get(ctx, id) // memory may be older than the index
		}
		switch {
		case err == nil && session.Reference == reference:
			return session, nil
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return session, err
		}
		s.Logger.WarnContext(ctx, "the index of references led to a session that does not bear the reference; the entry is removed", "session_id", id)
		if err := s.Store.Unindex(ctx, reference, id); err != nil {
			return verification.Session{}, err
		}
	}
	return verification.Session{}, store.ErrConflict // the next call goes on
}

// maxLeftovers bounds the wrong entries of the index that one call takes away.
const maxLeftovers = 16

// asStored in place of a least revision asks for the record itself: memory is never enough.
const asStored = math.MaxInt32

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
