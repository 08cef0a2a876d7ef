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
	// dueAtOnce is how many due sessions of a partition are listed at a time. duePages is how often one run does that for
	// a partition.
	dueAtOnce = 1000
	duePages  = 100
	// rereadTries is how often a session is read if another input overtakes each read.
	rereadTries = 3
	// If a session is still due after a read, the next read waits firstHoldOff. The wait doubles up to longHoldOff. The
	// session can be stuck at Stripe for days or unknown there forever, and each read uses the day's budget.
	firstHoldOff = 15 * time.Minute
	longHoldOff  = 24 * time.Hour
)

// visit is the last read of a session that is still due after the read.
type visit struct {
	account  string
	revision int32
	holdOff  time.Duration
	until    time.Time
}

// due reads the due sessions again: those that are unresolved, and those that are in processing for too long.
func (u *run) due(ctx context.Context) error {
	for partition := range u.config.Store.Partitions() {
		if err := u.dueOf(ctx, partition, u.config.Clock()); err != nil {
			return err
		}
	}
	if err := u.dueUnanswered(); err != nil {
		return err
	}
	return u.noteAbsent(ctx)
}

// dueUnanswered decides about the sessions for which Stripe gave no answer. If Stripe answered for another session, these
// sessions are the cause: they are held off, so that later runs do not spend their reads on them.
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

// dueOf reads the due sessions of a partition again. It skips the sessions that stay due, so that they do not block the
// others.
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

// dueSession reads one session again, unless it is held off. It returns whether the session is still listed as due.
func (u *run) dueSession(ctx context.Context, id string, now time.Time) (stays bool, err error) {
	before, err := u.config.Store.Get(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil // the record is gone, and its index entry will follow
	case errors.Is(err, store.ErrCorrupt):
		u.summary.Unreadable++
		u.config.Logger.Error("catch-up: the record of a session that is due cannot be read", "session_id", id, "error", err)
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading session %s: %w", id, err)
	}
	second, due := before.DueAt()
	if !due || second > now.Unix() {
		return false, nil // the session changed meanwhile
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
	case errors.Is(err, verification.ErrStripeAccountRefused):
		u.holdOffSession(before)
		return true, nil
	case errors.Is(err, verification.ErrStripeUnknown):
		u.summary.Unknown++
		u.unknown = append(u.unknown, before)
		u.config.Logger.Warn("catch-up: Stripe does not know a session that is due", "session_id", id, "account", before.Account)
	case refused(err) && (before.Account != "" || !errors.Is(err, verification.ErrStripeUnauthorized)):
		u.summary.Unknown++
		u.config.Logger.Warn("catch-up: Stripe refuses to return a session that is due", "session_id", id, "error", err)
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
		u.noteAnswer(before.Account, true)
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

// holdOffSession holds a session off. The duration doubles each time.
func (u *run) holdOffSession(session verification.Session) {
	pause := firstHoldOff
	if last, found := u.visits.Get(session.ID); found {
		pause = min(2*last.holdOff, longHoldOff)
	}
	u.visits.Add(session.ID, visit{account: session.Account, revision: session.Revision, holdOff: pause, until: u.config.Clock().Add(pause)})
}

// reread reads a session at Stripe until no other input overtakes the read, at most rereadTries times.
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
		if err != nil || !after.Unresolved {
			break
		}
	}
	return after, err
}

// compare counts a read, and logs it if it changed the session.
func (u *run) compare(before, after verification.Session) {
	u.summary.Reread++
	u.logProgress(after.Account, after.Second)
	if before.Revision == after.Revision && before.Unresolved == after.Unresolved {
		return
	}
	u.summary.Changed++
	u.config.Logger.Warn("catch-up: a session differed from Stripe and was corrected", "session_id", after.ID,
		"from", before.Status, "to", after.Status, "revision", after.Revision)
}

// refresh reads a session from Stripe, even if it is not due. If the store does not know the session, its account is not
// known either: refresh tries all accounts, the platform first.
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
			noSession := errors.Is(err, verification.ErrStripeUnknown) || errors.Is(err, verification.ErrStripeAccountRefused)
			if refusal == nil || !noSession {
				refusal = err
			}
		case ctx.Err() == nil && errors.Is(err, verification.ErrStripeUnavailable):
			// The session can belong to another account that answers.
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

// Session reads one session from Stripe now, even if it is not due, and returns what changed. It returns an error if id is
// not a session id, and errors of the store, of the context and verification's ErrStripe….
func (r *Reconciler) Session(ctx context.Context, id string) (SessionSummary, error) {
	if !stripeevent.ValidSessionID(id) {
		return SessionSummary{}, errors.New(`not a session id: it must begin with "vs_"`)
	}
	u := &run{Reconciler: r, loggedAt: r.config.Clock()}
	before, after, err := u.refresh(ctx, id)
	if err != nil {
		return SessionSummary{}, err
	}
	return SessionSummary{ID: id, Before: before, After: after}, nil
}

// rereadLost reads the lost sessions again and removes them from the queue. It needs no lease, because each replica reads
// the sessions in its own queue. A session stays in the queue if Stripe gives no answer. If Stripe refuses the read, or
// if the record cannot be read, rereadLost requests a full run.
func (r *Reconciler) rereadLost(ctx context.Context) error {
	u := &run{Reconciler: r, loggedAt: r.config.Clock()}
	defer func() {
		if s := u.summary; s.Reread+s.Unknown > 0 {
			r.config.Logger.Info("catch-up: read the sessions again that might have lost writes", "reread", s.Reread, "changed", s.Changed, "unknown", s.Unknown)
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
