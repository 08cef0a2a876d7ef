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
	// button again and again uses up few reads. Each call still has a link of its own: links work once.
	linkSpacing = time.Second
	// certainFor is how long a denial that Stripe could take back is answered without Stripe, after Stripe has said
	// what it follows from.
	certainFor = time.Minute
	// maxLinks bounds how many sessions are remembered for that.
	maxLinks = 10_000
)

// links says when a retry may make a GET, and remembers what GETs have confirmed. It is safe for concurrent use.
type links struct {
	spacing time.Duration
	turns   *lru.Cache[linkKey, *rate.Limiter]
	told    *lru.Cache[sessionKey, toldRead]
}

type sessionKey struct{ account, id string }

// linkKey is what turns are divided by. It has the caller, so that the calls of one do not keep another from
// the same session.
type linkKey struct {
	sessionKey
	holder shares.Holder
}

// toldRead says when a read has confirmed a record, and at which count of inputs that was.
type toldRead struct {
	applied uint32
	at      time.Time
}

func newLinks() *links {
	turns, err := lru.New[linkKey, *rate.Limiter](maxLinks)
	if err != nil {
		panic(err) // only for a size below 1
	}
	told, err := lru.New[sessionKey, toldRead](maxLinks)
	if err != nil {
		panic(err)
	}
	return &links{spacing: linkSpacing, turns: turns, told: told}
}

// wait returns when the caller may make a GET of the session. It returns an error that is ErrStripeBusy at once if
// no turn comes before the context's deadline, and ErrStripeUnavailable when the context ends before the turn.
func (l *links) wait(ctx context.Context, account, id string) error {
	if l.spacing == 0 {
		return nil
	}
	key := linkKey{sessionKey{account, id}, shares.HolderOf(ctx)}
	fresh := rate.NewLimiter(rate.Every(l.spacing), 1)
	turns, known, _ := l.turns.PeekOrAdd(key, fresh)
	if !known {
		turns = fresh
	}
	if err := turns.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, ctx.Err())
		}
		return verification.ErrStripeBusy
	}
	return nil
}

// certain reports whether a denial is answered without asking Stripe: the record says it for good, or Stripe has said
// what it follows from a moment ago.
func (s *Service) certain(session verification.Session, denial verification.Denial) bool {
	switch denial {
	case verification.DenialSuperseded, verification.DenialRedacted, verification.DenialCanceled,
		verification.DenialLimitReached, verification.DenialCooldown:
		return true
	case verification.DenialNotRetryable:
		return !session.Pending
	case verification.DenialAlreadyVerified, verification.DenialProcessing:
		return !session.Pending && s.config.Clock().Sub(s.toldAt(session)) < certainFor
	default:
		return false
	}
}

// toldAt is when Stripe last said that the session is as the record says; zero if that is not known.
func (s *Service) toldAt(session verification.Session) time.Time {
	at := session.ToldAt()
	if read, ok := s.links.told.Get(sessionKey{session.Account, session.ID}); ok && read.applied == session.Applied && read.at.After(at) {
		return read.at
	}
	return at
}
