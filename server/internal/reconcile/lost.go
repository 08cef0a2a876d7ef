package reconcile

import (
	"context"
	"math"
	mathrand "math/rand/v2"
	"slices"
)

// maxLost bounds the queue of lost sessions. More than that are found by a full run.
const maxLost = 10_000

// lostQueue is the sessions of which the store may have lost writes, in the order of their coming.
type lostQueue struct {
	ids    []string
	queued map[string]bool
}

// fullRun is the wish for a run that begins where Stripe's list does, whatever the cursors say: the
// store lost more than the sessions that are known by name. Each such loss gets a random number, which the
// store keeps, so that the run stays owed to each account, whichever replica does it and however often the
// process restarts. How far a run has come is kept in memory only, since the cursors in the store never fall.
type fullRun struct {
	requested int // of this process
	noted     int // those that the store knows of
	loss      int64
	// cursors are how far the accounts have come in making good that loss, in Unix seconds.
	cursors map[string]int64
}

// Lost asks for sessions to be read from Stripe again, and then for a run: the store has lost writes,
// and these may have been among them. Where there are too many, the run is a full one.
func (r *Reconciler) Lost(ids ...string) {
	r.mu.Lock()
	for _, id := range ids {
		if r.lost.queued[id] {
			continue
		}
		if len(r.lost.ids) >= maxLost {
			r.config.Logger.Warn("catch-up: too many sessions lost writes; all of Stripe's events are read again", "at_most", maxLost)
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

// LostAll asks for a full run: the store has lost writes, and nobody knows whose.
func (r *Reconciler) LostAll() {
	r.mu.Lock()
	r.requestFull()
	r.mu.Unlock()
	r.Trigger()
}

// Trigger asks Loop for a run soon, such as after an outage.
func (r *Reconciler) Trigger() {
	select {
	case r.wake <- struct{}{}:
	default: // one is asked for already
	}
}

// requestFull needs r.mu.
func (r *Reconciler) requestFull() { r.full.requested++ }

// noteLoss lets the store know what this process wishes a full run for. The number is random: a count would
// begin again in a store that was emptied, and come to one that was made good before.
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

// lostSessions returns the sessions in the queue, the one that has waited longest first.
func (r *Reconciler) lostSessions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lost.ids)
}

// dequeue takes a session out of the queue. It may have been emptied meanwhile.
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

// fullCursor is how far a full run has come with an account, in Unix seconds; 0: not begun.
func (r *Reconciler) fullCursor(loss int64, account string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if loss != r.full.loss {
		return 0
	}
	return r.full.cursors[account]
}

func (r *Reconciler) fullAdvances(loss int64, account string, second int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if loss != r.full.loss || r.full.cursors == nil {
		r.full.loss, r.full.cursors = loss, make(map[string]int64)
	}
	r.full.cursors[account] = max(r.full.cursors[account], second)
}
