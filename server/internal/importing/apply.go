package importing

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// stepSize is how many sessions are applied between two looks at the lease and at the pace.
	stepSize = pageSize
	// atOnce is how many of them are applied at the same time. The store sends the commits together.
	atOnce = 32
)

// apply applies the sessions of a window, the oldest first.
func (w *walk) apply(ctx context.Context, listed window) error {
	w.summary.noteMalformed(listed.malformed)
	for rest := listed.sessions; len(rest) > 0; {
		if err := w.wait(ctx); err != nil {
			return err
		}
		step := rest[max(0, len(rest)-stepSize):]
		if err := w.pacing(ctx, len(step)); err != nil {
			return err
		}
		rest = rest[:len(rest)-len(step)]
		group, inStep := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for _, one := range step {
			group.Go(func() error { return w.session(inStep, one) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		w.applied += len(step)
		w.progress("")
	}
	return nil
}

// wait returns when the import may add changes to the feed again. See pace.
func (w *walk) wait(ctx context.Context) error {
	began := w.config.Clock()
	for {
		if err := w.keep(ctx); err != nil {
			return err
		}
		now := w.config.Clock()
		if err := w.withRetries(ctx, func(ctx context.Context) error { return w.pace.look(ctx, now, w.config.Store) }); err != nil {
			return fmt.Errorf("looking at the consumers of the feed: %w", err)
		}
		reason := w.pace.full(now)
		if reason == "" {
			w.summary.Waited += now.Sub(began)
			return nil
		}
		w.progress(reason)
		if err := sleep(ctx, w.poll); err != nil {
			return err
		}
	}
}

// session begins the record of a session, or compares the record with the list. If the record cannot be read or written, it
// counts and skips the session: one broken record must not block all younger sessions.
func (w *walk) session(ctx context.Context, one verification.Listed) error {
	one.RecordTime = w.config.Clock().UnixMilli()
	var session verification.Session
	made, unknown, revisions := false, false, 0 // unknown: the answer to a commit was lost
	err := w.withRetries(ctx, func(ctx context.Context) (err error) {
		begins := false
		session, err = w.config.Store.Update(ctx, one.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
			next, outcome := verification.ApplyImport(current, one)
			begins = outcome.Write
			return next, begins, nil
		})
		if begins && (err == nil || errors.Is(err, store.ErrUnavailable)) {
			made, unknown = err == nil, err != nil
			revisions++
		}
		if err != nil {
			return err
		}
		before := session.Revision
		session, err = w.config.Ingest.Inherit(ctx, session)
		revisions += int(session.Revision - before)
		return err
	})
	w.pace.add(w.config.Clock(), w.config.Store.Partition(one.Object.ID), revisions)
	switch {
	case w.isBroken(ctx, one.Object.ID, err):
		return nil
	case err != nil:
		return fmt.Errorf("storing session %s: %w", one.Object.ID, err)
	case made, unknown && !session.Differs(one.Object):
		if one.Object.ReferenceTooLong {
			w.config.Logger.Warn("the reference of a session is over 255 bytes and is ignored: callers find the session by its id only", "session_id", one.Object.ID)
		}
		w.count(func(s *Summary) {
			s.New++
			if session.Tombstone() {
				s.Redacted++
			}
		})
		return nil
	case !session.Differs(one.Object):
		w.count(func(s *Summary) { s.Known++ })
		return nil
	}
	return w.reread(ctx, session)
}

// reread reads a known session that differs from the list.
func (w *walk) reread(ctx context.Context, session verification.Session) error {
	after := session
	err := w.withRetries(ctx, func(ctx context.Context) (err error) {
		if err := w.read(); err != nil {
			return err
		}
		after, err = w.config.Ingest.Reread(ctx, session)
		return err
	})
	switch {
	case w.isBroken(ctx, session.ID, err):
	case ctx.Err() != nil, errors.Is(err, ErrReads), errors.Is(err, store.ErrUnavailable), errors.Is(err, verification.ErrStripeUnavailable),
		errors.Is(err, verification.ErrStripeBudget), errors.Is(err, verification.ErrStripeUnauthorized) && session.Account == "":
		return fmt.Errorf("reading session %s: %w", session.ID, err)
	case errors.Is(err, verification.ErrStripeUnknown): // it was deleted meanwhile
		w.config.Logger.Warn("import: Stripe no longer has a session that its list showed", "session_id", session.ID)
		w.count(func(s *Summary) { s.Unknown++ })
	case err != nil:
		w.config.Logger.Error("import: Stripe refuses to return a session that its list shows", "session_id", session.ID, "error", err)
		w.count(func(s *Summary) { s.Unread++ })
	default:
		w.pace.add(w.config.Clock(), w.config.Store.Partition(session.ID), int(after.Revision-session.Revision))
		w.count(func(s *Summary) {
			s.Reread++
			if after.Revision != session.Revision {
				s.Corrected++
			}
		})
	}
	return nil
}

// isBroken counts and logs a session whose record cannot be read or written.
func (w *walk) isBroken(ctx context.Context, id string, err error) bool {
	if ctx.Err() != nil || !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrConflict) {
		return false
	}
	w.config.Logger.Error("import: a session could not be stored; it is left out", "session_id", id, "error", err)
	w.count(func(s *Summary) { s.Broken++ })
	return true
}

func (r *run) count(change func(*Summary)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.summary)
}

// advance stores that everything that was created before a second is imported. It returns errLost if the store has lost marks
// of this run, and so records too.
func (w *walk) advance(ctx context.Context, second int64) error {
	if err := w.unchanged(ctx, *w.account); err != nil {
		return err
	}
	w.from, w.done, w.applied = second, w.done+w.applied, 0
	w.progress("")
	return w.moved(ctx, w)
}
