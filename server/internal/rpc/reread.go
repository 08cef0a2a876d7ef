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
	// rereadAgain is how long Stripe is not asked again about one session, as its record is, for a min_revision
	// that does not come: else each such call would spend a read.
	rereadAgain = 30 * time.Second
	// maxRereads bounds how many such sessions are remembered.
	maxRereads = 10_000
)

// rereads are the sessions that GetStatus has read again at Stripe lately. It is safe for concurrent use.
type rereads struct {
	last   *lru.Cache[sessionKey, lastReread]
	shared sharedread.Group[linkKey, verification.Session]
}

// lastReread is when a session was read, and the record after it.
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

// read reads a session again at Stripe, once for all calls that want it at the same time. It returns the session
// as it is if it was read a short time ago and has not changed since.
func (r *rereads) read(ctx context.Context, from Ingest, session verification.Session, now time.Time) (verification.Session, error) {
	key := sessionKey{session.Account, session.ID}
	// The key has the caller: its share of the reads can be used up, and that of others not.
	return r.shared.Next(ctx, linkKey{key, shares.HolderOf(ctx)}, func(ctx context.Context) (verification.Session, error) {
		last, known := r.last.Get(key)
		if known && last.revision == session.Revision && last.applied == session.Applied && now.Sub(last.at) < rereadAgain {
			return session, nil
		}
		read, err := from.Refresh(ctx, session)
		if ctx.Err() == nil && !unasked(err) {
			r.last.Add(key, lastReread{read.Revision, read.Applied, now})
		}
		return read, err
	})
}
