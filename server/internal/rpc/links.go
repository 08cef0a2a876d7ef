package rpc

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

const (
	// linkSpacing is the least time between two GETs of one session for one caller: a person that presses a
	// button again and again uses up few reads. Each call still gets a link of its own: links work once.
	linkSpacing = time.Second
	// certainFor is how long a denial is answered without Stripe, after a read of Stripe has confirmed the record
	// that it follows from. Stripe can change such a record: a reviewer can reverse a result.
	certainFor = time.Minute
	// maxLinks bounds the sessions that links keeps limiters and confirmations for.
	maxLinks = 10_000
)

// links limits the GETs of retries, and keeps which records a GET has confirmed. It is safe for concurrent use.
type links struct {
	spacing   time.Duration
	limiters  *lru.Cache[linkKey, *rate.Limiter]
	confirmed *lru.Cache[sessionKey, confirmation]
}

type sessionKey struct{ account, id string }

// linkKey is the key of a limiter. It includes the caller, so that one caller's calls do not keep another caller from
// the same session.
type linkKey struct {
	sessionKey
	holder shares.Holder
}

// confirmation is when a read has confirmed a record, and the record's count of inputs at that time.
type confirmation struct {
	applied uint32
	at      time.Time
}

func newLinks() *links {
	limiters, err := lru.New[linkKey, *rate.Limiter](maxLinks)
	if err != nil {
		panic(err) // only for a size below 1
	}
	confirmed, err := lru.New[sessionKey, confirmation](maxLinks)
	if err != nil {
		panic(err)
	}
	return &links{spacing: linkSpacing, limiters: limiters, confirmed: confirmed}
}

// wait returns when the caller may make a GET of the session. It returns ErrStripeBusy at once if that is after the
// context's deadline, and ErrStripeUnavailable if the context ends first.
func (l *links) wait(ctx context.Context, account, id string) error {
	if l.spacing == 0 {
		return nil
	}
	key := linkKey{sessionKey{account, id}, shares.HolderOf(ctx)}
	fresh := rate.NewLimiter(rate.Every(l.spacing), 1)
	limiter, known, _ := l.limiters.PeekOrAdd(key, fresh)
	if !known {
		limiter = fresh
	}
	if err := limiter.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, ctx.Err())
		}
		return verification.ErrStripeBusy
	}
	return nil
}

// certain reports whether a denial is answered without asking Stripe: the record is final, or a read of Stripe has
// confirmed it less than certainFor ago.
func (s *Service) certain(session verification.Session, denial verification.Denial) bool {
	switch denial {
	case verification.DenialSuperseded, verification.DenialRedacted, verification.DenialCanceled,
		verification.DenialLimitReached, verification.DenialCooldown:
		return true
	case verification.DenialNotRetryable:
		return !session.Pending
	case verification.DenialAlreadyVerified, verification.DenialProcessing:
		return !session.Pending && s.config.Clock().Sub(s.confirmedAt(session)) < certainFor
	default:
		return false
	}
}

// confirmedAt returns when Stripe last said that the session is as the record says; zero if that is not known.
func (s *Service) confirmedAt(session verification.Session) time.Time {
	at := session.ToldAt()
	if read, ok := s.links.confirmed.Get(sessionKey{session.Account, session.ID}); ok && read.applied == session.Applied && read.at.After(at) {
		return read.at
	}
	return at
}
