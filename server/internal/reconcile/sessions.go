package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

const (
	// dueAtOnce is how many due sessions of a partition are listed at a time, and duePages how often one
	// run does that.
	dueAtOnce = 1000
	duePages  = 100
	// overtaken is how often a session is read again at once where another input was faster.
	rereadTries = 3
	// A session that was read to no avail is left alone for so long, doubling: it may be stuck at
	// Stripe for days, or unknown there for ever, and each read is one of the day's budget.
	firstHoldOff = 15 * time.Minute
	longHoldOff  = 24 * time.Hour
)

// visit is what is remembered of a session that was read again and is due all the same.
type visit struct {
	revision int32
	holdOff  time.Duration
	until    time.Time
}

// due reads the sessions again that ask for it: in doubt, or in processing for too long.
func (u *run) due(ctx context.Context) error {
	for partition := range u.config.Store.Partitions() {
		if err := u.dueOf(ctx, partition, u.config.Clock()); err != nil {
			return err
		}
	}
	return u.dueUnanswered()
}

// dueUnanswered decides about the sessions for which Stripe gave no answer. If it told of another
// session, the fault is theirs: they rest, so that later runs do not spend their reads on them.
func (u *run) dueUnanswered() error {
	if len(u.retryLater) == 0 {
		return nil
	}
	if u.summary.Reread+u.summary.Unknown == 0 {
		return fmt.Errorf("reading the sessions that are due: %w", verification.ErrStripeUnavailable)
	}
	u.summary.Unanswered = len(u.retryLater)
	for _, session := range u.retryLater {
		u.holdOffSession(session)
	}
	return nil
}

// dueOf goes on behind those that stay due, lest they keep the others from their turn.
func (u *run) dueOf(ctx context.Context, partition int, now time.Time) error {
	stay := 0
	for range duePages {
		if err := u.keep(ctx); err != nil {
			return err
		}
		ids, err := u.config.Store.Due(ctx, partition, now.Unix(), stay, dueAtOnce)
		if err != nil {
			return fmt.Errorf("listing the sessions that are due: %w", err)
		}
		for _, id := range ids {
			stays, err := u.dueSession(ctx, id, now)
			if err != nil {
				return err
			}
			if stays {
				stay++
			}
		}
		if len(ids) < dueAtOnce {
			return nil
		}
	}
	return errDueLeft
}

// dueSession reads one session again, if it is its turn, and says whether it is still listed as due.
func (u *run) dueSession(ctx context.Context, id string, now time.Time) (stays bool, err error) {
	before, err := u.config.Store.Get(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil // the record went, its index entry will
	case errors.Is(err, store.ErrCorrupt):
		u.summary.Unreadable++
		u.config.Logger.Error("catch-up: the record of a session that is due cannot be read", "session_id", id, "error", err)
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading session %s: %w", id, err)
	}
	second, due := before.DueAt()
	if !due || second > now.Unix() {
		return false, nil // it was changed meanwhile
	}
	if !u.config.Accounts.Accept(before.Account) {
		return true, nil
	}
	u.summary.Due++
	last, visited := u.visits.Get(id)
	visited = visited && last.revision == before.Revision
	if visited && now.Before(last.until) {
		return true, nil
	}
	after, err := u.reread(ctx, before)
	switch {
	case refused(err) && (before.Account != "" || !errors.Is(err, verification.ErrStripeUnauthorized)):
		u.summary.Unknown++
		u.config.Logger.Warn("catch-up: Stripe does not tell of a session that is due", "session_id", id, "error", err)
	case ctx.Err() == nil && (errors.Is(err, verification.ErrStripeUnavailable) || errors.Is(err, store.ErrConflict)):
		u.config.Logger.Warn("catch-up: a session that is due could not be read again", "session_id", id, "error", err)
		u.retryLater = append(u.retryLater, before)
		if u.unanswered++; u.unanswered >= maxUnanswered {
			return false, fmt.Errorf("reading session %s again: %w", id, err)
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading session %s again: %w", id, err)
	default:
		u.compare(before, after)
	}
	u.unanswered = 0
	if _, due := after.DueAt(); !due {
		u.visits.Remove(id)
		return false, nil
	}
	if !visited {
		u.visits.Remove(id)
	}
	u.holdOffSession(after)
	return true, nil
}

// holdOffSession leaves a session alone for a while, twice as long each time.
func (u *run) holdOffSession(session verification.Session) {
	pause := firstHoldOff
	if last, found := u.visits.Get(session.ID); found {
		pause = min(2*last.holdOff, longHoldOff)
	}
	u.visits.Add(session.ID, visit{revision: session.Revision, holdOff: pause, until: u.config.Clock().Add(pause)})
}

// reread reads a session at Stripe until the answer is not overtaken by another input.
func (u *run) reread(ctx context.Context, before verification.Session) (after verification.Session, err error) {
	after = before
	for range rereadTries {
		err = u.withRetries(ctx, func(ctx context.Context) error {
			read, err := u.config.Ingest.Reread(ctx, after)
			if err == nil {
				after = read
			}
			return err
		})
		if err != nil || !after.Pending {
			break
		}
	}
	return after, err
}

// compare counts what a read has changed, and logs it.
func (u *run) compare(before, after verification.Session) {
	u.summary.Reread++
	u.logProgress(after.Account, after.Second)
	if before.Revision == after.Revision && before.Pending == after.Pending {
		return
	}
	u.summary.Changed++
	u.config.Logger.Warn("catch-up: a session was not what Stripe says", "session_id", after.ID,
		"from", before.Status, "to", after.Status, "revision", after.Revision)
}

// refresh reads a session from Stripe whatever is known of it here. Where nothing is, nobody knows
// whose it was: all accounts are asked, the platform first.
func (u *run) refresh(ctx context.Context, id string) (before, after verification.Session, err error) {
	before, err = u.config.Store.Get(ctx, id)
	if err == nil && !u.config.Accounts.Accept(before.Account) {
		return before, before, verification.ErrStripeExcluded
	}
	if err == nil {
		after, err = u.reread(ctx, before)
		return before, after, err
	}
	if !errors.Is(err, store.ErrNotFound) {
		return before, before, fmt.Errorf("reading session %s: %w", id, err)
	}
	accounts, err := u.accounts(ctx)
	if err != nil {
		return before, before, err
	}
	var refusal, unanswered error
	silent := 0
	for _, account := range accounts {
		after, err = u.reread(ctx, verification.Session{ID: id, Account: account})
		switch {
		case refused(err):
			if refusal == nil || !errors.Is(err, verification.ErrStripeUnknown) {
				refusal = err
			}
		case ctx.Err() == nil && errors.Is(err, verification.ErrStripeUnavailable):
			// Another account can be the session's, and answer.
			if unanswered, silent = err, silent+1; silent >= maxUnanswered {
				return before, before, unanswered
			}
		default:
			return before, after, err
		}
	}
	if unanswered != nil {
		return before, before, unanswered
	}
	return before, before, refusal
}

// Session reads one session from Stripe now, whatever is known of it here, and says what changed.
// Errors are the store's, the context's or verification's ErrStripe….
func (r *Reconciler) Session(ctx context.Context, id string) (SessionSummary, error) {
	if !stripeevent.ValidSessionID(id) {
		return SessionSummary{}, errors.New(`that is no session id: it begins with "vs_"`)
	}
	u := &run{Reconciler: r, loggedAt: r.config.Clock()}
	before, after, err := u.refresh(ctx, id)
	if err != nil {
		return SessionSummary{}, err
	}
	return SessionSummary{ID: id, Before: before, After: after}, nil
}

// rereadLost empties the queue of lost sessions. It needs no lease: each replica reads what it saw
// lost. A session for which Stripe gives no answer stays in the queue. If Stripe refuses to tell of one,
// or its record cannot be read, it is left to a full run.
func (r *Reconciler) rereadLost(ctx context.Context) error {
	u := &run{Reconciler: r, loggedAt: r.config.Clock()}
	defer func() {
		if s := u.summary; s.Reread+s.Unknown > 0 {
			r.config.Logger.Info("catch-up: sessions that may have lost writes were read again", "reread", s.Reread, "changed", s.Changed, "unknown", s.Unknown)
		}
	}()
	var unanswered error
	for _, id := range r.lostSessions() {
		before, after, err := u.refresh(ctx, id)
		switch {
		case errors.Is(err, verification.ErrStripeUnknown), errors.Is(err, verification.ErrStripeExcluded):
			u.summary.Unknown++
		case refused(err):
			u.summary.Unknown++
			r.LostAll()
		case errors.Is(err, store.ErrCorrupt):
			u.summary.Unreadable++
			r.config.Logger.Error("catch-up: the record of a lost session cannot be read", "session_id", id, "error", err)
			r.LostAll()
		case ctx.Err() == nil && errors.Is(err, verification.ErrStripeUnavailable):
			unanswered = err
			if u.unanswered++; u.unanswered >= maxUnanswered {
				return err
			}
			continue
		case err != nil:
			return err
		default:
			u.compare(before, after)
		}
		u.unanswered = 0
		r.dequeue(id)
	}
	return unanswered
}
