package rpc

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/verification-status/server/internal/sharedread"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

const (
	// rereadAgain is how long Stripe is not asked again about an unchanged session for a min_revision that does not
	// come: else each such call would use a read.
	rereadAgain = 30 * time.Second
	// maxRereads bounds how many such sessions are kept.
	maxRereads = 10_000
)

// rereads keeps the sessions that GetStatus has read again at Stripe in the last rereadAgain. It is safe for concurrent
// use.
type rereads struct {
	last   *lru.Cache[sessionKey, lastReread]
	shared sharedread.Group[rereadKey, verification.Session]
}

// rereadKey is the key of a shared read. It includes the caller: one caller's share of the reads can be used up while
// others have theirs.
type rereadKey struct {
	sessionKey
	holder shares.Holder
}

// lastReread is when a session was read, and identifies the record after the read.
type lastReread struct {
	revision int32
	applied  uint32
	at       time.Time
}

func newRereads() *rereads {
	last, err := lru.New[sessionKey, lastReread](maxRereads)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &rereads{last: last}
}

// read reads a session again at Stripe, once for all calls that need it at the same time. It returns the session
// unchanged if it was read less than rereadAgain ago and has not changed since.
func (r *rereads) read(ctx context.Context, from Ingest, session verification.Session, now time.Time) (verification.Session, error) {
	key := sessionKey{session.Account, session.ID}
	return r.shared.Next(ctx, rereadKey{key, shares.HolderOf(ctx)}, func(ctx context.Context) (verification.Session, error) {
		last, known := r.last.Get(key)
		if known && last.revision == session.Revision && last.applied == session.Applied && now.Sub(last.at) < rereadAgain {
			return session, nil
		}
		read, err := from.Refresh(ctx, session)
		if ctx.Err() == nil && !stripeNotAsked(err) {
			r.last.Add(key, lastReread{read.Revision, read.Applied, now})
		}
		return read, err
	})
}
