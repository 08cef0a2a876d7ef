package ingest

import (
	"context"
	"errors"
	"fmt"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// question identifies what Stripe is asked for: a session of an account, or a reference.
type question struct{ account, id, reference string }

// String returns different texts for different questions, whatever their parts are.
func (q question) String() string { return fmt.Sprintf("%q %q %q", q.account, q.id, q.reference) }

// ReadUnknown reads a session of an account that the store does not have from Stripe, and stores it. Concurrent calls of one caller
// share the read. It returns store.ErrNotFound if Stripe does not know the session either (see missFor), or if no API
// key is configured. Other errors are verification's ErrStripe… (joined with the context's, if that ended first) or
// the store's.
func (i *Ingest) ReadUnknown(ctx context.Context, account, id string) (verification.Session, error) {
	return i.readUnknown(ctx, question{account: account, id: id}, func(ctx context.Context) (verification.Session, error) {
		retrieved, err := i.config.Stripe.Read(ctx, verification.PurposeLookup, account, id)
		if err != nil {
			return verification.Session{}, err
		}
		return i.keep(ctx, retrieved)
	})
}

// Reread reads a session from Stripe whose changes can have been lost or missed here, and stores what is new. It is for
// work that no caller waits for. An unresolved session is read at the highest priority.
func (i *Ingest) Reread(ctx context.Context, current verification.Session) (verification.Session, error) {
	if current.Unresolved {
		return i.reread(ctx, verification.PurposeAmbiguous, current)
	}
	return i.reread(ctx, verification.PurposeCatchUp, current)
}

// Refresh is Reread for a caller that needs more than is known here.
func (i *Ingest) Refresh(ctx context.Context, current verification.Session) (verification.Session, error) {
	return i.reread(ctx, verification.PurposeLookup, current)
}

func (i *Ingest) reread(ctx context.Context, purpose verification.Purpose, current verification.Session) (verification.Session, error) {
	if i.config.Stripe == nil {
		return current, verification.ErrStripeNotConfigured
	}
	got, err := i.read(ctx, purpose, verification.Object{ID: current.ID, Account: current.Account})
	if err != nil {
		return current, err
	}
	return i.applyRead(ctx, got.read)
}

func (i *Ingest) readUnknown(ctx context.Context, what question, ask func(context.Context) (verification.Session, error)) (verification.Session, error) {
	if i.config.Stripe == nil || i.misses.fresh(what, i.config.Clock()) {
		return verification.Session{}, store.ErrNotFound
	}
	type result struct {
		session verification.Session
		err     error
	}
	answer := make(chan result, 1)
	i.working.Go(func() {
		// Other callers wait for this answer too: it must not end with the first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		// Shared only by calls of one caller: another caller's share of the reads can be used up.
		session, err, _ := i.unknown.Do(what.String()+shares.HolderOf(ctx).String(), func() (any, error) {
			session, err := i.ask(ctx, what, ask)
			i.config.ObserveReadThrough(readThroughOf(err))
			return session, err
		})
		answer <- result{session.(verification.Session), err}
	})
	select {
	case got := <-answer:
		return got.session, got.err
	case <-ctx.Done():
		return verification.Session{}, fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, ctx.Err())
	}
}

func (i *Ingest) ask(ctx context.Context, what question, ask func(context.Context) (verification.Session, error)) (verification.Session, error) {
	session, err := ask(ctx)
	if errors.Is(err, verification.ErrStripeUnknown) {
		i.misses.add(what, i.config.Clock())
		err = store.ErrNotFound
	}
	if err != nil {
		return verification.Session{}, err
	}
	return session, nil
}

// keep commits what Stripe says of a session that was not known here.
func (i *Ingest) keep(ctx context.Context, retrieved verification.Retrieved) (verification.Session, error) {
	return i.applyRead(ctx, verification.Read{
		Object: retrieved.Object, AsOf: retrieved.AsOf, RecordTime: i.config.Clock().UnixMilli(),
	})
}

func readThroughOf(err error) ReadThrough {
	switch {
	case err == nil:
		return ReadThroughFound
	case errors.Is(err, store.ErrNotFound):
		return ReadThroughUnknown
	default:
		return ReadThroughFailed
	}
}

// applyRead commits a read. A read that was overtaken changes nothing: the record is newer.
func (i *Ingest) applyRead(ctx context.Context, read verification.Read) (verification.Session, error) {
	var outcome verification.Outcome
	session, err := i.config.Store.Update(ctx, read.Object.ID, func(current verification.Session) (next verification.Session, write bool, err error) {
		next, outcome = verification.ApplyRead(current, read)
		return next, outcome.Write, nil
	})
	if err != nil {
		return session, err
	}
	if read.Object.ReferenceTooLong && outcome.Write {
		i.warnOfReference(ctx, read.Object)
	}
	return i.Inherit(ctx, session)
}
