package rpc

import (
	"context"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/verification-status/server/internal/verification"
)

const (
	// rereadAgain is how long Stripe is not asked again about a session of which it had nothing new to say: else
	// each call with a min_revision that does not come would spend a read.
	rereadAgain = 30 * time.Second
	// maxRereads bounds how many such sessions are remembered.
	maxRereads = 10_000
)

// rereads are the sessions of which Stripe had nothing new to say lately. It is safe for concurrent use.
type rereads struct {
	vain *lru.Cache[rereadKey, vainRead]
}

type rereadKey struct{ account, id string }

// vainRead is a read that changed nothing: of which record, and when.
type vainRead struct {
	revision int32
	applied  uint32
	at       time.Time
}

func newRereads() rereads {
	vain, err := lru.New[rereadKey, vainRead](maxRereads)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return rereads{vain}
}

// read reads a session again at Stripe, or returns it as it is where that was in vain lately and nothing has
// changed since.
func (r rereads) read(ctx context.Context, from Ingest, session verification.Session, now time.Time) (verification.Session, error) {
	key := rereadKey{session.Account, session.ID}
	last, known := r.vain.Get(key)
	if known && last.revision == session.Revision && last.applied == session.Applied && now.Sub(last.at) < rereadAgain {
		return session, nil
	}
	read, err := from.Reread(ctx, session)
	if err == nil && read.Revision == session.Revision || errors.Is(err, verification.ErrStripeUnknown) {
		r.vain.Add(key, vainRead{session.Revision, session.Applied, now})
	}
	return read, err
}
