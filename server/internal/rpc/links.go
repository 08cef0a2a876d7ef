package rpc

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

const (
	// linkSpacing is the least time between two GETs of one session: a person that presses a button again and again
	// uses up few reads. Each call still gets a link of its own, because a link works once. The callers of one session
	// alternate, so that one caller's calls do not keep another caller from the session.
	linkSpacing = time.Second
	// maxRepeats is how many GETs a caller can make of a session without a new outcome, and repeatEvery is the time after which it
	// can make one more. A person who gets a link again and again would otherwise use up all reads of a caller's day.
	maxRepeats  = 120
	repeatEvery = 5 * time.Minute
	// certainFor is how long a denial is answered without Stripe, after a read of Stripe has confirmed the record
	// that it follows from. Stripe can change such a record: a reviewer can reverse a result.
	certainFor = time.Minute
	// maxLinks bounds the sessions that links keeps schedules, allowances and confirmations for.
	maxLinks = 10_000
)

// links limits the GETs of retries, and keeps which records a GET has confirmed. It is safe for concurrent use.
type links struct {
	spacing   time.Duration // 0: no limits
	schedules *lru.Cache[sessionKey, *shares.Schedule]
	confirmed *lru.Cache[sessionKey, confirmation]

	mu         sync.Mutex // of an allowance that is replaced
	allowances *lru.Cache[allowanceKey, allowance]
}

// allowanceKey is the key of an allowance. It includes the caller: one caller can use up its own GETs of a session, not
// those of others.
type allowanceKey struct {
	sessionKey
	holder shares.Holder
}

// allowance is the number of GETs that a caller has left of a session until the session has another outcome.
type allowance struct {
	failures int32
	status   string
	left     *rate.Limiter
}

type sessionKey struct{ account, id string }

// confirmation is when a read has confirmed a record, and the record's count of inputs at that time.
type confirmation struct {
	applied uint32
	at      time.Time
}

func newLinks() *links {
	schedules, err := lru.New[sessionKey, *shares.Schedule](maxLinks)
	if err != nil {
		panic(err) // only for a size below 1
	}
	confirmed, err := lru.New[sessionKey, confirmation](maxLinks)
	if err != nil {
		panic(err)
	}
	allowances, err := lru.New[allowanceKey, allowance](maxLinks)
	if err != nil {
		panic(err)
	}
	return &links{spacing: linkSpacing, schedules: schedules, confirmed: confirmed, allowances: allowances}
}

// wait returns when the caller may make a GET of the session. It returns ErrStripeBusy if no slot comes before the
// context's deadline: at once if that is known, else when the context ends.
func (l *links) wait(ctx context.Context, account, id string) error {
	if l.spacing == 0 {
		return nil
	}
	if err := l.schedule(sessionKey{account, id}).Wait(ctx, 0, shares.HolderOf(ctx)); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", verification.ErrStripeBusy, ctx.Err())
		}
		return verification.ErrStripeBusy
	}
	return nil
}

// schedule returns the schedule of a session's GETs.
func (l *links) schedule(key sessionKey) *shares.Schedule {
	if known, ok := l.schedules.Get(key); ok {
		return known
	}
	fresh := shares.NewSchedule(1/l.spacing.Seconds(), 1, 0)
	if known, ok, _ := l.schedules.PeekOrAdd(key, fresh); ok {
		return known
	}
	return fresh
}

// check returns a linkLimitError if the caller has no GET of the session left. spend does the same, and uses up one GET. session is the record,
// which can be empty.
func (l *links) check(key allowanceKey, session *verification.Session, now time.Time) error {
	if l.spacing == 0 {
		return nil
	}
	return lacks(l.allowance(key, session), now)
}

func (l *links) spend(key allowanceKey, session *verification.Session, now time.Time) error {
	if l.spacing == 0 {
		return nil
	}
	left := l.allowance(key, session)
	if left.AllowN(now, 1) {
		return nil
	}
	return lacks(left, now)
}

// allowance returns the allowance of a session. A new failure or another status makes a new one.
func (l *links) allowance(key allowanceKey, session *verification.Session) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.allowances.Get(key)
	if ok && known.failures == session.FailedAttempts && known.status == session.Status {
		return known.left
	}
	fresh := rate.NewLimiter(rate.Every(repeatEvery), maxRepeats)
	l.allowances.Add(key, allowance{session.FailedAttempts, session.Status, fresh})
	return fresh
}

// lacks returns a linkLimitError if a limiter has no token left.
func lacks(left *rate.Limiter, now time.Time) error {
	missing := 1 - left.TokensAt(now)
	if missing <= 0 {
		return nil
	}
	return &linkLimitError{time.Duration(missing * float64(repeatEvery))}
}

// linkLimitError is a GET of a session that has had too many without a new outcome.
type linkLimitError struct {
	wait time.Duration // until the session has a GET left
}

func (*linkLimitError) Error() string {
	return "the session has had too many links without a new outcome"
}

// certain reports whether a denial is answered without asking Stripe: the record is final, or a read of Stripe has
// confirmed it less than certainFor ago.
func (s *Service) certain(session verification.Session, denial verification.Denial) bool {
	switch denial {
	case verification.DenialSuperseded, verification.DenialRedacted, verification.DenialCanceled,
		verification.DenialLimitReached, verification.DenialCooldown, verification.DenialResolved:
		return true
	case verification.DenialNotRetryable:
		return !session.Unresolved
	case verification.DenialAlreadyVerified, verification.DenialProcessing:
		return !session.Unresolved && s.config.Clock().Sub(s.confirmedAt(session)) < certainFor
	default:
		return false
	}
}

// confirmedAt returns when Stripe last said that the session is as the record says; zero if that is not known.
func (s *Service) confirmedAt(session verification.Session) time.Time {
	at := session.StateReceivedAt()
	if read, ok := s.links.confirmed.Get(sessionKey{session.Account, session.ID}); ok && read.applied == session.Applied && read.at.After(at) {
		return read.at
	}
	return at
}
