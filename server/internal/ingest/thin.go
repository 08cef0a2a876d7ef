package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// thinTimeout bounds the reads of Stripe for a thin event inside the webhook request. It leaves time for the commit within the
// webhook's own limit, 10 s.
const thinTimeout = 8 * time.Second

// errOvertaken: each answer of Stripe was older than another input. Stripe delivers the event again.
var errOvertaken = fmt.Errorf("%w: each answer was overtaken by another event", verification.ErrStripeUnavailable)

// answer is the answer of a read that several callers can share.
type answer struct {
	read verification.Read
	// committed is Session.Applied after the answer was committed for one of the callers, plus one. 0 means that it was not. For
	// the other callers the answer is not overtaken by its own commit.
	committed atomic.Uint64
}

// readFor returns the read as an input for a record.
func (a *answer) readFor(current verification.Session) verification.Read {
	read := a.read
	if a.committed.Load() == uint64(current.Applied)+1 {
		read.Applied = current.Applied
	}
	return read
}

// applyThin commits a thin event. It holds no state: the state comes from the snapshot event of the same change or, if the event
// names none or Stripe does not have it, from a read of the session that begins now.
//
// It commits nothing and returns one of verification's ErrStripe… if Stripe gives no answer.
func (i *Ingest) applyThin(ctx context.Context, event verification.Event) (verification.Session, verification.Outcome, error) {
	current, err := i.config.Store.Get(ctx, event.Object.ID)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return current, verification.Outcome{}, err
	case current.KnowsThin(event):
		// It completes what the first delivery might have left undone. It is dropped if Update has an older copy of the record, which
		// does not know the event.
		session, outcome, err := i.commitThin(ctx, event, nil)
		if err != nil || !outcome.Dropped {
			return session, outcome, err
		}
	}
	if i.config.Stripe == nil {
		return current, verification.Outcome{}, verification.ErrStripeNotConfigured
	}
	ctx, cancel := context.WithTimeout(ctx, thinTimeout)
	defer cancel()
	purpose := verification.PurposeAmbiguous
	if err != nil && event.Type == verification.ThinPrefix+verification.EventCreated { // the store has no such session
		purpose = verification.PurposeCreated
	}
	if event.Snapshot != "" {
		snapshot, err := i.config.Stripe.Event(ctx, purpose, event.Object.Account, event.Object.ID, event.Snapshot)
		switch {
		case err == nil:
			if i.isOtherMode(event, snapshot.Object) {
				return current, verification.Outcome{}, verification.ErrStripeOtherMode
			}
			snapshot.Source, snapshot.RecordTime = event.Source, event.RecordTime
			return i.decide(ctx, snapshot)
		case errors.Is(err, verification.ErrStripeUnavailable):
			return current, verification.Outcome{}, err
		}
		i.config.Logger.WarnContext(ctx, "the snapshot event of a thin event cannot be had: reading the session", "event_id", event.ID, "snapshot_event", event.Snapshot, "session_id", event.Object.ID, "error", err)
	}
	return i.readThin(ctx, purpose, event)
}

// isOtherMode reports whether a thin event that does not say its mode is about a session of the mode that is not accepted.
func (i *Ingest) isOtherMode(thin verification.Event, read verification.Object) bool {
	return thin.ModeUnknown && i.config.Livemode != nil && read.Livemode != *i.config.Livemode
}

// readThin commits a thin event by a read of the session.
func (i *Ingest) readThin(ctx context.Context, purpose verification.Purpose, event verification.Event) (session verification.Session, outcome verification.Outcome, err error) {
	wish := true
	for range resolveReads {
		answered := false
		err = i.useRead(ctx, purpose, event.Object, func(got *answer) (err error) {
			answered = true
			session, outcome, err = i.commitRead(ctx, event, got, wish)
			return err
		})
		if !answered && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, err)
		}
		if err != nil || !outcome.Dropped {
			return session, outcome, err
		}
		wish = false
	}
	return session, outcome, errOvertaken
}

// commitRead commits a thin event with an answer of Stripe. It wishes for a catch-up before the commit if wish is set: a delivery
// after the commit is a duplicate, which wishes for nothing.
func (i *Ingest) commitRead(ctx context.Context, event verification.Event, got *answer, wish bool) (verification.Session, verification.Outcome, error) {
	if i.isOtherMode(event, got.read.Object) {
		return verification.Session{}, verification.Outcome{}, verification.ErrStripeOtherMode
	}
	if wish {
		if err := i.config.WishCatchUp(ctx, event); err != nil {
			return verification.Session{}, verification.Outcome{}, err
		}
	}
	return i.commitThin(ctx, event, got)
}

// commitThin commits a thin event with an answer. outcome.Dropped is true if another input overtook the answer. Without an answer it
// commits an event that the record knows, and outcome.Dropped is true if the record does not know it.
func (i *Ingest) commitThin(ctx context.Context, event verification.Event, got *answer) (session verification.Session, outcome verification.Outcome, err error) {
	defer i.sessions.lock(ctx, event.Object.ID)()
	applied := uint32(0)
	session, err = i.config.Store.Update(ctx, event.Object.ID, func(current verification.Session) (next verification.Session, write bool, err error) {
		read := verification.Read{}
		switch {
		case got != nil:
			read = got.readFor(current)
		case !current.KnowsThin(event):
			outcome = verification.Outcome{Dropped: true}
			return current, false, nil
		}
		next, outcome = verification.ApplyThin(current, event, read)
		applied = next.Applied
		return next, outcome.Write, nil
	})
	if err == nil && got != nil && outcome.Write && !outcome.Duplicate {
		got.committed.Store(uint64(applied) + 1)
	}
	return session, outcome, err
}
