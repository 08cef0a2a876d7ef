package rpc

import (
	"context"
	"errors"
	"math"

	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// lookup finds sessions by id and by reference: here first, and at Stripe if they are not known here.
type lookup struct {
	config   *Config
	sessions live.Sessions
}

const (
	// asStored, used as the least revision, asks for the record itself: no cached session is enough.
	asStored = math.MaxInt32
	// maxLeftovers bounds the wrong entries of the index that one call removes.
	maxLeftovers = 16
)

// session returns a session by id. If it is not known here, it is read through from Stripe, in the account. It returns
// errOtherAccount if the session is of another account. An empty account fits every session that is known here. account is as
// the caller names it.
func (l *lookup) session(ctx context.Context, account, id string, minRevision int32) (verification.Session, error) {
	session, err := l.known(ctx, id, minRevision)
	if errors.Is(err, store.ErrNotFound) {
		session, err = l.config.Ingest.ReadUnknown(ctx, l.config.accountOf(account), id)
	}
	if err == nil && session.Account == "" && l.config.accountOf(account) != "" && minRevision != asStored {
		session, err = l.known(ctx, id, asStored) // an account that was added later makes no revision, so a cached session can lack it
	}
	if err == nil && !l.config.fits(&session, account) {
		return verification.Session{}, errOtherAccount
	}
	return session, err
}

// accountOf returns the account of the sessions that a caller means, which is empty for the platform.
func (c *Config) accountOf(named string) string {
	if named == c.Platform() {
		return ""
	}
	return named
}

// fits reports whether a session is of the account that a caller names, or the caller names none.
func (c *Config) fits(session *verification.Session, named string) bool {
	return named == "" || session.Account == c.accountOf(named)
}

// known returns a session that is known here.
func (l *lookup) known(ctx context.Context, id string, minRevision int32) (verification.Session, error) {
	if minRevision == asStored {
		return l.sessions.Get(ctx, id)
	}
	return l.sessions.Session(ctx, id, minRevision)
}

// newest returns the newest session that has a reference, read through from Stripe if none is known here.
func (l *lookup) newest(ctx context.Context, reference string, minRevision int32) (verification.Session, error) {
	session, err := l.newestKnown(ctx, reference, func(ctx context.Context, id string) (verification.Session, error) {
		return l.session(ctx, "", id, minRevision)
	})
	if errors.Is(err, store.ErrNotFound) {
		return l.config.Ingest.ReadUnknownReference(ctx, reference)
	}
	return session, err
}

// newestKnown returns the newest session of the store that has a reference, by its record, which read returns. An
// entry of the index that the record contradicts is a leftover: newestKnown removes it, since nothing else would.
func (l *lookup) newestKnown(ctx context.Context, reference string, read func(ctx context.Context, id string) (verification.Session, error)) (verification.Session, error) {
	for range maxLeftovers {
		id, err := l.sessions.Newest(ctx, reference)
		if err != nil {
			return verification.Session{}, err
		}
		session, err := read(ctx, id)
		if err == nil && session.Reference != reference {
			session, err = l.sessions.Get(ctx, id) // the cache can be older than the index
		}
		switch {
		case err == nil && session.Reference == reference:
			return session, nil
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return session, err
		}
		l.config.Logger.WarnContext(ctx, "the index of references led to a session that does not have the reference; the entry is removed", "session_id", id)
		if err := l.sessions.Unindex(ctx, reference, id); err != nil {
			return verification.Session{}, err
		}
	}
	return verification.Session{}, store.ErrConflict // the next call continues
}

// stripeNotAsked reports whether an error says that this service did not ask Stripe.
func stripeNotAsked(err error) bool {
	return errors.Is(err, verification.ErrStripeBudget) || errors.Is(err, verification.ErrStripeBusy)
}

// stripeUnanswered reports whether an error says that Stripe does not say whether it knows a session: it was not asked, is
// unavailable, or refuses the key or the call. A setting that is missing here is another error, which ends a watch.
func stripeUnanswered(err error) bool {
	var refused *verification.StripeRefusedError
	return stripeNotAsked(err) || errors.Is(err, verification.ErrStripeUnavailable) || errors.Is(err, verification.ErrStripeUnauthorized) ||
		errors.As(err, &refused)
}
