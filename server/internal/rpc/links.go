package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/verification-status/server/internal/sharedread"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// linkSpacing is the least time between two GETs of one session for one caller: a person that presses a
	// button again and again uses up no reads. Calls that come meanwhile share the next GET, and its link.
	linkSpacing = time.Second
	// certainFor is how long a denial that Stripe could take back is answered without Stripe, after Stripe has said
	// what it follows from.
	certainFor = time.Minute
	// maxLinks bounds how many sessions are remembered for that.
	maxLinks = 10_000
)

// links makes the GETs of retries. It is safe for concurrent use.
type links struct {
	group sharedread.Group[linkKey, *linkRead]
	told  *lru.Cache[sessionKey, toldRead]
}

type sessionKey struct{ account, id string }

// linkKey is what a GET is shared by. It has the caller, so that no call fails because another caller's share
// of the reads is used up.
type linkKey struct {
	sessionKey
	holder shares.Holder
}

// toldRead says when a read has confirmed a record, and at which count of inputs that was.
type toldRead struct {
	applied uint32
	at      time.Time
}

// linkRead is one GET, shared by all calls that waited for it.
type linkRead struct {
	read verification.Read
	link verification.Link

	mu        sync.Mutex
	committed bool   // it is in the record
	applied   uint32 // the record's count of inputs then
}

func newLinks() *links {
	told, err := lru.New[sessionKey, toldRead](maxLinks)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &links{group: sharedread.Group[linkKey, *linkRead]{Spacing: linkSpacing}, told: told}
}

// link returns a GET of a session that begins after this call, with what the record held before it. Errors
// are the store's or verification's ErrStripe….
func (s *Service) link(ctx context.Context, account, id string) (*linkRead, error) {
	key := linkKey{sessionKey{account, id}, shares.HolderOf(ctx)}
	got, err := s.links.group.Next(ctx, key, func(ctx context.Context) (*linkRead, error) {
		before, err := s.Store.Get(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		retrieved, err := s.Stripe.Retrieve(ctx, account, id)
		if err != nil {
			return nil, err
		}
		return &linkRead{link: retrieved.Link, read: verification.Read{
			Object: retrieved.Object, AsOf: retrieved.AsOf, Applied: before.Applied, RecordTime: s.Clock().UnixMilli(),
		}}, nil
	})
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) && !errors.Is(err, verification.ErrStripeUnavailable) {
		err = fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, ctx.Err())
	}
	return got, err
}

// commit commits a read together with what then makes of it. overtaken: other news came since the read, and
// nothing was committed. A read is not overtaken by its own commit for the other calls that share it.
func (s *Service) commit(ctx context.Context, r *linkRead, then change) (session verification.Session, overtaken bool, err error) {
	id := r.read.Object.ID
	r.mu.Lock()
	if r.committed {
		r.mu.Unlock()
		session, err = s.Store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
			if overtaken = current.Applied != r.applied; overtaken {
				return current, false, nil
			}
			next, write := then(current)
			return next, write, nil
		})
		return session, overtaken, err
	}
	defer r.mu.Unlock()
	session, err = s.Store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.ApplyRead(current, r.read)
		if overtaken = outcome.Dropped; overtaken {
			return current, false, nil
		}
		changed, write := then(next)
		return changed, outcome.Write || write, nil
	})
	if err == nil && !overtaken {
		r.committed, r.applied = true, session.Applied
		s.links.told.Add(sessionKey{session.Account, id}, toldRead{session.Applied, s.Clock()})
	}
	return session, overtaken, err
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
		return !session.Pending && s.Clock().Sub(s.toldAt(session)) < certainFor
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
