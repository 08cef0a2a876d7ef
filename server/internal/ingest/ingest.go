package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"example.com/verification-status/server/internal/sharedread"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// resolveTimeout bounds the reads of Stripe for an ambiguous event inside the webhook request.
	resolveTimeout = 2 * time.Second
	// resolveReads is how many GETs an ambiguous event gets if each is overtaken by another input.
	resolveReads = 3
	// readTimeout bounds a shared read of Stripe, whose first caller can have given up. It is shorter than a read of a
	// watch (5 s), so that the watch learns why there was no answer.
	readTimeout = 4500 * time.Millisecond
	// maxArchives bounds the archived sessions that are kept by reference.
	maxArchives = 50_000
)

// Stripe is the part of Stripe's API that ingest needs. Errors are verification's ErrStripe….
type Stripe interface {
	// Read reads a session, of a connected account unless account is empty.
	Read(ctx context.Context, purpose verification.Purpose, account, id string) (verification.Retrieved, error)
	// FindByReference reads the newest session with this client_reference_id.
	FindByReference(ctx context.Context, reference string) (verification.Retrieved, error)
	// Event reads a snapshot event of a session. ErrStripeUnknown means that Stripe does not have it in a usable form.
	Event(ctx context.Context, purpose verification.Purpose, account, sessionID, id string) (verification.Event, error)
}

// Config configures an Ingest.
type Config struct {
	// Store keeps the sessions.
	Store store.Store
	// Stripe is nil without an API key. Then ambiguous events are decided by rule, and unknown sessions stay
	// unknown.
	Stripe Stripe
	// Livemode is the mode of which a session of a thin event must be that does not say its mode. nil: both are kept.
	Livemode *bool
	// Clock returns the time of recording.
	Clock func() time.Time
	// Logger gets a line for each ambiguous event that was decided by rule, and for each event or read whose reference is too long.
	Logger *slog.Logger
	// WishCatchUp asks for a catch-up of the account of a thin event that was answered by a read. It returns nil only if the wish
	// is stored, so that it outlives this process. nil: there is no catch-up.
	WishCatchUp func(ctx context.Context, thin verification.Event) error
	// ObserveAmbiguous is called with the result of each ambiguous event, and ObserveReadThrough with the result of each
	// read of a session that was not known here. They are called by many goroutines at once. nil: not called.
	ObserveAmbiguous   func(AmbiguousResult)
	ObserveReadThrough func(ReadThrough)
}

// AmbiguousResult is the result of an event whose order was ambiguous: a small, fixed set.
type AmbiguousResult string

// The results of ambiguous events.
const (
	AmbiguousResolved   AmbiguousResult = "settled" // Stripe was read, or the order had become clear by then
	AmbiguousUnresolved AmbiguousResult = "pending" // decided by rule, unresolved until Stripe is read
)

// ReadThrough is the result of a read of a session that was not known here: a small, fixed set.
type ReadThrough string

// The results of such reads.
const (
	ReadThroughFound   ReadThrough = "found"
	ReadThroughUnknown ReadThrough = "unknown" // Stripe does not know it either
	ReadThroughFailed  ReadThrough = "failed"
)

// Ingest is safe for concurrent use. Close it when nothing calls it any more.
type Ingest struct {
	config   Config
	sessions *keyedMutex
	reads    sharedread.Group[readKey, *answer]
	unknown  singleflight.Group
	misses   *misses
	rechecks *rechecks
	archives *lru.Cache[string, archived] // by reference
	working  sync.WaitGroup
}

// New makes an Ingest.
func New(config Config) *Ingest {
	archives, err := lru.New[string, archived](maxArchives)
	if err != nil {
		panic(err) // only for a size below 1
	}
	if config.ObserveAmbiguous == nil {
		config.ObserveAmbiguous = func(AmbiguousResult) {}
	}
	if config.WishCatchUp == nil {
		config.WishCatchUp = func(context.Context, verification.Event) error { return nil }
	}
	if config.ObserveReadThrough == nil {
		config.ObserveReadThrough = func(ReadThrough) {}
	}
	return &Ingest{config: config, sessions: newKeyedMutex(), misses: newMisses(), rechecks: newRechecks(), archives: archives}
}

// Close waits for the reads that are under way. Each has a timeout.
func (i *Ingest) Close() {
	i.rechecks.close()
	i.reads.Wait()
	i.working.Wait()
}

// Apply commits one event and returns its outcome. If the error is nil, the event and all its effects are in the store.
// An error wraps one of package store's or is the context's. An outage of Stripe's API is not an error, except for a thin
// event, which says nothing by itself: its errors can also be verification's ErrStripe….
func (i *Ingest) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	event.RecordTime = i.config.Clock().UnixMilli()
	defer i.dropMisses(event.Object)
	decide := i.decide
	if event.Thin {
		decide = i.applyThin
	}
	session, outcome, err := decide(ctx, event)
	if err != nil {
		return outcome, err
	}
	if event.Object.ReferenceTooLong && !outcome.Duplicate {
		i.warnOfReference(ctx, event.Object, "event_id", event.ID)
	}
	_, err = i.Inherit(ctx, session)
	return outcome, err
}

// warnOfReference logs that a session cannot be found by its reference, without the reference.
func (i *Ingest) warnOfReference(ctx context.Context, object verification.Object, attrs ...any) {
	i.config.Logger.With(attrs...).WarnContext(ctx, "the reference of a session is over 255 bytes and is ignored: callers find the session by its id only", "session_id", object.ID)
}

// decide commits one event by the rules and, if its order is ambiguous, by what Stripe says.
func (i *Ingest) decide(ctx context.Context, event verification.Event) (verification.Session, verification.Outcome, error) {
	session, outcome, err := i.apply(ctx, event, i.config.Stripe == nil)
	if err != nil || !outcome.Ambiguous {
		return session, outcome, err
	}
	if i.config.Stripe != nil {
		session, outcome, err = i.settle(ctx, event)
	}
	switch {
	case err != nil:
	case outcome.Effect == verification.EffectPending:
		i.config.ObserveAmbiguous(AmbiguousUnresolved)
	default:
		i.config.ObserveAmbiguous(AmbiguousResolved)
	}
	return session, outcome, err
}

// apply commits an event by the rules alone. It commits an ambiguous event only if decide is set.
func (i *Ingest) apply(ctx context.Context, event verification.Event, decide bool) (session verification.Session, outcome verification.Outcome, err error) {
	defer i.sessions.lock(ctx, event.Object.ID)()
	session, err = i.config.Store.Update(ctx, event.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
		var next verification.Session
		next, outcome = verification.Transition(current, event)
		return next, outcome.Write && (decide || !outcome.Ambiguous), nil
	})
	return session, outcome, err
}

// settle asks Stripe about an event whose order is ambiguous. A read that another input overtook is dropped, and the rules
// are applied to the event again.
func (i *Ingest) settle(ctx context.Context, event verification.Event) (verification.Session, verification.Outcome, error) {
	asking, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	log := i.config.Logger.With("event_id", event.ID, "session_id", event.Object.ID)
	for range resolveReads {
		got, err := i.read(asking, verification.PurposeAmbiguous, event.Object)
		if err != nil {
			log.Warn("the order of an event is ambiguous and Stripe gave no answer: decided by rule", "error", err)
			return i.decideByRule(ctx, event, wasBusy(err))
		}
		var outcome verification.Outcome
		session, err := i.config.Store.Update(ctx, event.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
			var next verification.Session
			next, outcome = verification.Resolve(current, event, got.read)
			if outcome.Dropped {
				next, outcome = verification.Transition(current, event)
			}
			return next, outcome.Write && !outcome.Ambiguous, nil
		})
		if err != nil || !outcome.Ambiguous {
			return session, outcome, err
		}
	}
	log.Warn("the order of an event is ambiguous and each answer of Stripe was overtaken: decided by rule")
	return i.decideByRule(ctx, event, true)
}

// decideByRule commits an ambiguous event. If again is set, Stripe can be asked soon, and is.
func (i *Ingest) decideByRule(ctx context.Context, event verification.Event, again bool) (verification.Session, verification.Outcome, error) {
	session, outcome, err := i.apply(ctx, event, true)
	if err == nil && again && session.Unresolved {
		i.recheck(event.Object)
	}
	return session, outcome, err
}

// readKey is the key by which reads of a session are shared. The read for an ambiguous event does not wait for one of
// lower priority, and no read fails because another caller's share of the reads is used up.
type readKey struct {
	question
	purpose verification.Purpose
	holder  shares.Holder
}

// read makes a GET of a session that begins after this call. Callers that wait at the same time share it. It reads the
// record just before, so that the answer is known to be newer.
func (i *Ingest) read(ctx context.Context, purpose verification.Purpose, object verification.Object) (got *answer, err error) {
	err = i.useRead(ctx, purpose, object, func(shared *answer) error {
		got = shared
		return nil
	})
	return got, err
}

// useRead calls use with the answer that read would return, and returns the error of use. The next such read of this process begins
// when all callers have used the answer, so that what they commit by it does not overtake that read.
func (i *Ingest) useRead(ctx context.Context, purpose verification.Purpose, object verification.Object, use func(*answer) error) error {
	key := readKey{question{account: object.Account, id: object.ID}, purpose, shares.HolderOf(ctx)}
	return i.reads.Use(ctx, key, func(ctx context.Context) (*answer, error) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		current, err := i.config.Store.Get(ctx, object.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		retrieved, err := i.config.Stripe.Read(ctx, purpose, object.Account, object.ID)
		if err != nil {
			return nil, err
		}
		return &answer{read: verification.Read{
			Object: retrieved.Object, AsOf: retrieved.AsOf,
			Applied: current.Applied, RecordTime: i.config.Clock().UnixMilli(),
		}}, nil
	}, use)
}
