package reconcile

import (
	"context"
	"math"
	mathrand "math/rand/v2"
	"slices"
)

// maxLost bounds the queue of lost sessions. If there are more, a full run finds them.
const maxLost = 10_000

// lostQueue holds the sessions whose writes the store might have lost, the oldest report first.
type lostQueue struct {
	ids    []string
	queued map[string]bool
}

// fullRun is the request for full runs. A full run is necessary if the store lost more than the sessions in lostQueue. Each
// such loss has a random number, which the store keeps. So each account gets its full run, whichever replica makes it
// and however often the process restarts. The store keeps the progress of a full run too, in markFull and not in the cursors: these
// never decrease.
type fullRun struct {
	requested int // how many losses this process has seen
	noted     int // how many of them the store knows
}

// Lost requests that sessions are read from Stripe again, followed by a run. The store has lost writes, and these sessions
// might be affected. If there are too many sessions, it requests a full run.
func (r *Reconciler) Lost(ids ...string) {
	r.mu.Lock()
	for _, id := range ids {
		if r.lost.queued[id] {
			continue
		}
		if len(r.lost.ids) >= maxLost {
			r.config.Logger.Warn("catch-up: too many sessions lost writes; reading all of Stripe's events again", "limit", maxLost)
			r.lost = lostQueue{}
			r.requestFull()
			break
		}
		if r.lost.queued == nil {
			r.lost.queued = make(map[string]bool)
		}
		r.lost.queued[id] = true
		r.lost.ids = append(r.lost.ids, id)
	}
	r.mu.Unlock()
	r.Trigger()
}

// LostAll requests a full run: the store has lost writes, and it is not known of which sessions.
func (r *Reconciler) LostAll() {
	r.mu.Lock()
	r.requestFull()
	r.mu.Unlock()
	r.Trigger()
}

// Trigger requests a run soon, for example after an outage. It does not block.
func (r *Reconciler) Trigger() {
	select {
	case r.wake <- struct{}{}:
	default: // a run is requested already
	}
}

// requestFull requests a full run. The caller holds r.mu.
func (r *Reconciler) requestFull() { r.full.requested++ }

// fullRequested reports whether this process requests a full run that the store does not know yet.
func (r *Reconciler) fullRequested() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full.requested != r.full.noted
}

// noteLoss stores a number for the losses that this process has seen and the store does not know. The number is random. A
// counter would restart in a store that was emptied, and reach a number whose full run is already done.
func (u *run) noteLoss(ctx context.Context) error {
	u.mu.Lock()
	requested, noted := u.full.requested, u.full.noted
	u.mu.Unlock()
	if requested == noted {
		return nil
	}
	if err := u.note(ctx, markLoss, 1+mathrand.Int64N(math.MaxInt64)); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.full.noted = requested
	return nil
}

// lostSessions returns the sessions in the queue, the one that waits longest first.
func (r *Reconciler) lostSessions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lost.ids)
}

// catchUpLost applies the events of the last minutes of the accounts of lost sessions. A session must learn its outcome from the
// event again, before it is read: an outcome that only a read has shown has another name. See verification.OutcomeKey.
//
// It needs no lease, like rereadLost, and moves no cursor. It returns false if only a full run finds the events: a full run is
// requested, or the store has no cursor of an account. A cursor proves nothing while a full run is due: a run that began before
// the loss might have stored it afterwards. Without an answer of Stripe's list the reads must do.
func (r *Reconciler) catchUpLost(ctx context.Context) bool {
	lost := r.lostSessions()
	if len(lost) == 0 {
		return true
	}
	u := &run{Reconciler: r, loggedAt: r.config.Clock()}
	states, err := u.states(ctx)
	if err != nil {
		return true
	}
	concerned, all := u.accountsOf(ctx, lost)
	requested := r.fullRequested()
	for _, s := range states {
		if !all && !concerned[s.account] {
			continue
		}
		cursor, err := r.config.Store.Cursor(ctx, s.account)
		if requested || s.restored != s.loss || err == nil && cursor == 0 {
			return false
		}
		if err == nil {
			w := &walk{run: u, state: s, lost: true, from: max(1, cursor-int64(r.config.Overlap.Seconds()))}
			err = w.events(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.config.Logger.Info("catch-up: the events of an account cannot be listed before its lost sessions are read", "account", s.account, "reason", err)
		}
	}
	return true
}

// accountsOf returns the accounts of sessions. all is true if the record of a session is gone, so that its account is not known.
func (u *run) accountsOf(ctx context.Context, ids []string) (accounts map[string]bool, all bool) {
	accounts = make(map[string]bool)
	for _, id := range ids {
		session, err := u.config.Store.Get(ctx, id)
		if err != nil {
			return nil, true
		}
		accounts[session.Account] = true
	}
	return accounts, false
}

// dequeue removes a session from the queue. The queue might have been emptied meanwhile.
func (r *Reconciler) dequeue(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lost.queued[id] {
		return
	}
	delete(r.lost.queued, id)
	at := slices.Index(r.lost.ids, id)
	r.lost.ids = slices.Delete(r.lost.ids, at, at+1)
}

// The value of markFull has the low bits of the loss above the Unix second, which fits into fullSecondBits until the year 2106. They are
// one number, so that no crash and no other replica can leave the progress of one loss beside another loss.
const (
	fullSecondBits = 32
	fullLossMask   = 1<<31 - 1
)

// packFull returns the value of markFull for a full run that has come to a Unix second.
func packFull(loss, second int64) int64 {
	return loss&fullLossMask<<fullSecondBits | second&(1<<fullSecondBits-1)
}

// fullCursor returns the Unix second up to which the full run of the account has come. It returns 0 if the run for this loss has not begun.
func (s state) fullCursor() int64 {
	if s.progress>>fullSecondBits != s.loss&fullLossMask {
		return 0
	}
	return s.progress & (1<<fullSecondBits - 1)
}

// fullAdvances stores the progress of the account's full run.
func (w *walk) fullAdvances(ctx context.Context, second int64) error {
	if second <= w.fullCursor() {
		return nil
	}
	w.progress = packFull(w.loss, second)
	return w.note(ctx, markFull+w.account, w.progress)
}
