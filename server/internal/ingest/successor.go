package ingest

import (
	"context"
	"errors"
	"slices"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// maxChain bounds the sessions of a chain of replacements. Each of them used a retry.
const maxChain = 128

// Inherit completes the replacement of another session by this one, and returns this session afterwards: the
// predecessor names it as its successor, and it has the predecessor's counts. If that is done already, or the claim to
// replace is not true, Inherit changes nothing. The process can stop after each commit: the next input, the next copy
// of the same event, or the next call continues.
//
// The oldest predecessor comes first, since each session hands on what it has inherited. Errors are the store's or the
// context's.
func (i *Ingest) Inherit(ctx context.Context, session verification.Session) (verification.Session, error) {
	if session.UnfinishedPredecessor() == "" {
		return session, nil
	}
	chain, err := i.chain(ctx, session)
	if err != nil {
		return session, err
	}
	for n := len(chain) - 2; n >= 0; n-- {
		if chain[n], err = i.inheritFrom(ctx, chain[n+1], chain[n]); err != nil {
			return session, err
		}
	}
	return chain[0], nil
}

// chain returns a session and its predecessors, the newest first, as far as they are known here and the claims are
// true. A claim that would close a circle is ignored.
func (i *Ingest) chain(ctx context.Context, session verification.Session) ([]verification.Session, error) {
	chain := []verification.Session{session}
	for heir := session; len(chain) < maxChain; heir = chain[len(chain)-1] {
		owed := heir.UnfinishedPredecessor()
		predecessorID := heir.Predecessor
		if predecessorID == "" {
			predecessorID = owed
		}
		if predecessorID == "" {
			return chain, nil
		}
		if slices.ContainsFunc(chain, func(s verification.Session) bool { return s.ID == predecessorID }) {
			i.config.Logger.WarnContext(ctx, "a session claims to replace one that continues it: the claim is ignored", "session_id", heir.ID, "claimed", predecessorID)
			return chain[:1], nil
		}
		predecessor, err := i.config.Store.Get(ctx, predecessorID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return chain, nil
		case err != nil:
			return nil, err
		case owed != "" && !predecessor.Accepts(heir):
			return chain, nil
		}
		chain = append(chain, predecessor)
	}
	return chain[:1], nil
}

// inheritFrom makes heir the successor of a session: first the predecessor names it, and from then on the predecessor's
// grants are final; then the heir takes its counts.
func (i *Ingest) inheritFrom(ctx context.Context, predecessor, heir verification.Session) (verification.Session, error) {
	if heir.UnfinishedPredecessor() == "" {
		return heir, nil
	}
	predecessor, err := i.config.Store.Update(ctx, predecessor.ID, func(current verification.Session) (verification.Session, bool, error) {
		if !current.Accepts(heir) {
			return current, false, nil // another session was faster
		}
		next, changed := verification.Supersede(current, heir.ID, i.config.Clock())
		return next, changed, nil
	})
	if err != nil || predecessor.SupersededBy != heir.ID {
		return heir, err
	}
	return i.config.Store.Update(ctx, heir.ID, func(current verification.Session) (verification.Session, bool, error) {
		if !current.Exists() {
			// The store has lost the session since. ErrNotFound would tell a caller that Stripe does not know it.
			return current, false, store.ErrConflict
		}
		next, changed := verification.Inherit(current, predecessor, i.config.Clock())
		return next, changed, nil
	})
}
