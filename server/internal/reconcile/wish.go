package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"example.com/verification-status/server/internal/maintain"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// wishPoll is the longest time between two looks for wishes.
	wishPoll = 40 * time.Second
	// listedAfter is how long Stripe can need to list an event. A walk that begins earlier proves nothing about it.
	listedAfter = 10 * time.Second
	// maxAnnounced bounds the thin events that wait for their snapshot event. The oldest ones go first.
	maxAnnounced = 10_000
)

// announced is a thin event that was answered by a read and whose snapshot event has not come yet.
type announced struct {
	event verification.Event
	at    time.Time // when it arrived
}

// Wish asks for a catch-up of the account of a thin event that was answered by a read. A read shows only the last of several
// failures; the snapshot events of the list count the others. Some replica serves the wish within a minute, if no run is in
// progress, and many wishes with one run.
//
// Wish returns nil only if the wish is stored. Each wish is a random number, so that a run never serves one that came after
// the run had begun.
func (r *Reconciler) Wish(ctx context.Context, thin verification.Event) error {
	account := thin.Object.Account
	for _, mark := range []string{markWished + account, markWish} { // the account first: markWish says where to look
		if err := r.config.Store.SetMark(ctx, mark, 1+mathrand.Int64N(math.MaxInt64)); err != nil {
			return fmt.Errorf("storing the wish for a catch-up: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if account != "" {
		r.seen[account] = true
	}
	r.announced = append(r.announced, announced{thin, r.config.Clock()})
	r.announced = r.announced[max(0, len(r.announced)-maxAnnounced):]
	return nil
}

// serveWishes catches up the accounts for which there is a wish. It returns an error if a wish is still open.
func (r *Reconciler) serveWishes(ctx context.Context) error {
	marks, err := r.config.Store.Marks(ctx, markWish)
	if err != nil || marks[0] == r.servedWish {
		return err
	}
	select {
	case r.running <- struct{}{}:
		defer func() { <-r.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := r.config.Clock()
	u := &run{Reconciler: r, loggedAt: began, summary: Summary{Wished: true}}
	lease := maintain.Lease{Store: r.config.Store, Name: leaseName, Holder: r.config.Holder, Clock: r.config.Clock, Logger: r.config.Logger}
	err = lease.Do(ctx, func(ctx context.Context, keep maintain.Keep) error {
		u.prolong = keep
		return u.catchUpWished(ctx)
	})
	u.summary.Took = r.config.Clock().Sub(began)
	if err == nil {
		r.servedWish = marks[0]
	}
	if stopped(ctx, err) {
		u.summary.Stopped, err = err, nil
	}
	r.config.Observe(u.summary, err)
	if u.summary.Events > u.summary.Known {
		r.config.Logger.Info("catch-up: read the events that thin events have announced", "summary", u.summary)
	}
	return errors.Join(err, u.summary.Stopped)
}

// catchUpWished applies the events of the accounts for which there is a wish. If it fails for an account, it goes on with the
// others, leaves that account's wish open and returns the first error at the end. It stops early if Stripe does not answer for
// maxUnanswered accounts in a row.
func (u *run) catchUpWished(ctx context.Context) error {
	states, err := u.states(ctx)
	if err != nil {
		return err
	}
	var open error
	unanswered := 0
	for _, s := range states {
		if s.wished == s.granted {
			continue
		}
		s.restored = s.loss // a full run counts in the budget: it is not for a wish
		err := u.catchUpWith(ctx, s)
		switch {
		case err == nil:
		case refused(err), errors.Is(err, errSkipped):
			// The wish is served: it would be refused again each time. The next run of Loop reports the account.
			u.config.Logger.Warn("catch-up: the events that a thin event has announced could not all be applied", "account", s.account, "error", err)
		case ctx.Err() != nil || !errors.Is(err, verification.ErrStripeUnavailable) && !errors.Is(err, verification.ErrStripeBudget):
			return err
		default:
			open = cmp.Or(open, fmt.Errorf("the events of %q: %w", s.account, err))
			if unanswered++; unanswered >= maxUnanswered {
				return open
			}
			continue
		}
		unanswered = 0
		u.summary.Accounts++
		if err := u.grant(ctx, s); err != nil {
			return err
		}
	}
	return open
}

// grant stores that a run has served the wish that was there when it began.
func (u *run) grant(ctx context.Context, s state) error {
	if s.wished == s.granted {
		return nil
	}
	return u.note(ctx, markGranted+s.account, s.wished)
}

// noteUnlisted looks for the snapshot events of the account's thin events, after a walk that began at a time has reached the end
// of Stripe's list. Without a snapshot event, failures can be missing in the counts.
func (u *run) noteUnlisted(ctx context.Context, account string, began time.Time) error {
	u.mu.Lock()
	var due []announced
	u.announced = slices.DeleteFunc(u.announced, func(a announced) bool {
		isDue := a.event.Object.Account == account && !began.Before(a.at.Add(listedAfter))
		if isDue {
			due = append(due, a)
		}
		return isDue
	})
	u.mu.Unlock()
	for _, a := range due {
		session, err := u.config.Store.Get(ctx, a.event.Object.ID)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading session %s: %w", a.event.Object.ID, err)
		}
		if session.HasSnapshotOf(a.event) {
			continue
		}
		u.summary.Unlisted++
		u.config.Logger.Warn("catch-up: Stripe does not list the snapshot event of a thin event; failed_attempts can be too low",
			"event_id", a.event.ID, "type", a.event.Type, "session_id", a.event.Object.ID, "account", account)
	}
	return nil
}
