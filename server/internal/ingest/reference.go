package ingest

import (
	"context"
	"errors"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// archiveFor is how long Stripe is not asked again which archived session a reference leads to. A newer
	// session is in the index as soon as its webhook comes. The catch-up, which runs as often as this, finds a
	// session whose webhook did not come.
	archiveFor = 15 * time.Minute
	// archiveWithoutStripe is the same while Stripe cannot be asked: the least SETTLED_TTL. In less time no newer
	// session can have been settled and archived, and so be missing in the index.
	archiveWithoutStripe = 24 * time.Hour
)

// archived is an archived session to which a reference leads according to Stripe. Neither its record nor the index can
// hold the reference. Without this entry each call by reference would ask Stripe.
type archived struct {
	id    string
	at    time.Time // when Stripe said so
	tried time.Time // when Stripe was last asked again in vain
}

// ReadUnknownReference is ReadUnknown for the newest session with a client_reference_id. If that session is archived, the
// session returned has no reference. A redacted session, and a session whose record has another reference, count as a
// miss, whatever Stripe's list says.
func (i *Ingest) ReadUnknownReference(ctx context.Context, reference string) (verification.Session, error) {
	known, _ := i.archives.Get(reference)
	session, err := i.archived(ctx, reference, known)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return verification.Session{}, err
	}
	now := i.config.Clock()
	if err == nil && (now.Sub(known.at) < archiveFor || now.Sub(known.tried) < missFor[0]) {
		return session, nil
	}
	found, failed := i.readUnknown(ctx, question{reference: reference}, func(ctx context.Context) (verification.Session, error) {
		return i.find(ctx, reference)
	})
	if failed != nil && !errors.Is(failed, store.ErrNotFound) && err == nil && now.Sub(known.at) < archiveWithoutStripe {
		known.tried = i.config.Clock()
		i.archives.Add(reference, known)
		return session, nil
	}
	return found, failed
}

// archived reads the archived session of a reference. It returns store.ErrNotFound if none is known, or if the session's
// record has changed since.
func (i *Ingest) archived(ctx context.Context, reference string, known archived) (verification.Session, error) {
	if known.id == "" {
		return verification.Session{}, store.ErrNotFound
	}
	session, err := i.config.Store.Get(ctx, known.id)
	if err == nil && !leads(reference, session) {
		return session, store.ErrNotFound
	}
	return session, err
}

// leads reports whether callers of a reference see a session that Stripe says it leads to: the session has the reference,
// or has lost it only because it was archived.
func leads(reference string, session verification.Session) bool {
	return session.Reference == reference || session.Reference == "" && session.IsArchived()
}

// find asks Stripe for the newest session of a reference, and notes it if it is archived.
func (i *Ingest) find(ctx context.Context, reference string) (verification.Session, error) {
	session, err := i.findSession(ctx, reference)
	if err == nil && !leads(reference, session) {
		err = verification.ErrStripeUnknown
	}
	switch {
	case errors.Is(err, verification.ErrStripeUnknown):
		i.archives.Remove(reference)
	case err == nil && session.Reference != reference:
		i.archives.Add(reference, archived{id: session.ID, at: i.config.Clock()})
	}
	return session, err
}

// findSession stores what Stripe's list says of a session that is not known here. If a record exists and differs, the
// session gets a GET of its own: it is not known what the record held when the list was requested.
func (i *Ingest) findSession(ctx context.Context, reference string) (verification.Session, error) {
	retrieved, err := i.config.Stripe.FindByReference(ctx, reference)
	if err != nil {
		return verification.Session{}, err
	}
	session, err := i.keep(ctx, retrieved)
	if err == nil && saysMore(session, retrieved) {
		return i.Refresh(ctx, session)
	}
	return session, err
}

// saysMore reports whether an answer of Stripe would change a record, if the answer is newer than all that the record
// holds.
func saysMore(session verification.Session, retrieved verification.Retrieved) bool {
	_, outcome := verification.ApplyRead(session, verification.Read{
		Object: retrieved.Object, AsOf: retrieved.AsOf, Applied: session.Applied,
	})
	return outcome.Write
}

// dropMisses drops the cached misses and archives of a session that has an event. They are older than the event.
func (i *Ingest) dropMisses(object verification.Object) {
	i.misses.end(question{account: object.Account, id: object.ID})
	if object.Reference != "" {
		i.misses.end(question{reference: object.Reference})
		i.archives.Remove(object.Reference)
	}
}
