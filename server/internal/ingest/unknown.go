package ingest

import (
	"context"
	"errors"
	"fmt"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// question is what Stripe was asked for: a session of an account, or a reference.
type question struct{ account, id, reference string }

// String tells any two of them apart, whatever their parts are.
func (q question) String() string { return fmt.Sprintf("%q %q %q", q.account, q.id, q.reference) }

// ReadUnknown reads a session that the store does not have from Stripe, once for all calls of one caller at the
// same time, and keeps it. store.ErrNotFound if Stripe does not know it either (see missFor)
// or no API key is configured; else verification's ErrStripe… (with the context's, if that ended
// first) or the store's.
func (i *Ingest) ReadUnknown(ctx context.Context, id string) (verification.Session, error) {
	return i.readUnknown(ctx, question{id: id}, func(ctx context.Context) (verification.Session, error) {
		retrieved, err := i.config.Stripe.Read(ctx, verification.PurposeLookup, "", id)
		if err != nil {
			return verification.Session{}, err
		}
		return i.keep(ctx, retrieved)
	})
}

// Reread reads a session from Stripe that may have been lost or missed here, and keeps what is new. It is for
// work that no caller waits for: a doubt is settled before all else.
func (i *Ingest) Reread(ctx context.Context, current verification.Session) (verification.Session, error) {
	if current.Pending {
		return i.reread(ctx, verification.PurposeDoubt, current)
	}
	return i.reread(ctx, verification.PurposeCatchUp, current)
}

// Refresh is Reread for a caller that wants more than is known here.
func (i *Ingest) Refresh(ctx context.Context, current verification.Session) (verification.Session, error) {
	return i.reread(ctx, verification.PurposeLookup, current)
}

func (i *Ingest) reread(ctx context.Context, purpose verification.Purpose, current verification.Session) (verification.Session, error) {
	if i.config.Stripe == nil {
		return current, verification.ErrStripeNotConfigured
	}
	read, err := i.read(ctx, purpose, verification.Object{ID: current.ID, Account: current.Account})
	if err != nil {
		return current, err
	}
	return i.applyRead(ctx, read)
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
		// Others wait for this answer too: it must not end with the first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		// Not shared with other callers: their share of the reads may be used up, and this one's not.
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

// keep commits what Stripe told of a session that was not known here.
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

// applyRead commits a read. One that was overtaken is not needed: the record is newer.
func (i *Ingest) applyRead(ctx context.Context, read verification.Read) (verification.Session, error) {
	session, err := i.config.Store.Update(ctx, read.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.ApplyRead(current, read)
		return next, outcome.Write, nil
	})
	if err != nil {
		return session, err
	}
	return i.Inherit(ctx, session)
}
