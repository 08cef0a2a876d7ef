package ingest

import (
	"context"
	"errors"
	"fmt"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// ReadUnknown reads a session that the store does not have from Stripe, once for all who ask at the
// same time, and keeps it. store.ErrNotFound if Stripe does not know it either (remembered for 30 s)
// or no API key is configured; else verification's ErrStripe… (with the context's, if that ended
// first) or the store's.
func (i *Ingest) ReadUnknown(ctx context.Context, id string) (verification.Session, error) {
	return i.readUnknown(ctx, "id:"+id, func(ctx context.Context) (verification.Retrieved, error) {
		return i.Stripe.Lookup(ctx, id)
	})
}

// ReadUnknownReference is ReadUnknown for the newest session with a client_reference_id. A redacted
// one bears none here, whatever Stripe still shows: it is kept and counts as a miss, lest each call
// ask Stripe again.
func (i *Ingest) ReadUnknownReference(ctx context.Context, reference string) (verification.Session, error) {
	key := "reference:" + reference
	session, err := i.readUnknown(ctx, key, func(ctx context.Context) (verification.Retrieved, error) {
		return i.Stripe.FindByReference(ctx, reference)
	})
	if err == nil && session.Tombstone() {
		i.misses.Add(key, i.Clock())
		return verification.Session{}, store.ErrNotFound
	}
	return session, err
}

// Reread reads a session from Stripe that may have been lost or missed here, and keeps what is new.
func (i *Ingest) Reread(ctx context.Context, current verification.Session) (verification.Session, error) {
	if i.Stripe == nil {
		return current, verification.ErrStripeNotConfigured
	}
	read, err := i.read(ctx, verification.Object{ID: current.ID, Account: current.Account})
	if err != nil {
		return current, err
	}
	return i.applyRead(ctx, read)
}

func (i *Ingest) readUnknown(ctx context.Context, key string, ask func(context.Context) (verification.Retrieved, error)) (verification.Session, error) {
	if i.Stripe == nil || i.missed(key) {
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
		session, err, _ := i.unknown.Do(key, func() (any, error) {
			session, err := i.ask(ctx, key, ask)
			i.ObserveReadThrough(readThroughOf(err))
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

func (i *Ingest) ask(ctx context.Context, key string, ask func(context.Context) (verification.Retrieved, error)) (verification.Session, error) {
	retrieved, err := ask(ctx)
	if errors.Is(err, verification.ErrStripeUnknown) {
		i.misses.Add(key, i.Clock())
		return verification.Session{}, store.ErrNotFound
	}
	if err != nil {
		return verification.Session{}, err
	}
	return i.applyRead(ctx, verification.Read{
		Object: retrieved.Object, AsOf: retrieved.AsOf, RecordTime: i.Clock().UnixMilli(),
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
	session, err := i.Store.Update(ctx, read.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.ApplyRead(current, read)
		return next, outcome.Write, nil
	})
	if err != nil {
		return session, err
	}
	return i.Inherit(ctx, session)
}

func (i *Ingest) missed(key string) bool {
	at, found := i.misses.Get(key)
	return found && i.Clock().Sub(at) < missFor
}
