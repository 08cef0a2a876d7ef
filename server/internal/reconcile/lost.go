package reconcile

import "slices"

// maxLost bounds the queue of lost sessions. More than that are found by a full run.
const maxLost = 10_000

// lostQueue is the sessions of which the store may have lost writes, in the order of their coming.
type lostQueue struct {
	ids    []string
	queued map[string]bool
}

// fullRun is the wish for a run that begins where Stripe's list does, whatever the cursor says: the
// store lost more than the sessions that are known by name. It is kept in memory only; so is how far
// it has come, since the cursor in the store never falls.
type fullRun struct {
	wish    int // grows with each wish; 0: none yet
	done    int // the wish that was fulfilled last
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
			r.Logger.Warn("catch-up: too many sessions lost writes; all of Stripe's events are read again", "at_most", maxLost)
			r.lost = lostQueue{}
			r.wishFull()
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
	r.wishFull()
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

// wishFull needs r.mu.
func (r *Reconciler) wishFull() {
	r.full.wish++
	r.full.cursors = make(map[string]int64)
}

// nextLost returns the session that has waited longest; it stays in the queue.
func (r *Reconciler) nextLost() (id string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lost.ids) == 0 {
		return "", false
	}
	return r.lost.ids[0], true
}

// found takes a session out of the queue. It may have been emptied meanwhile.
func (r *Reconciler) found(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lost.queued[id] {
		return
	}
	delete(r.lost.queued, id)
	at := slices.Index(r.lost.ids, id)
	r.lost.ids = slices.Delete(r.lost.ids, at, at+1)
}

// fullBegins returns the wish that a run shall fulfil; 0: none.
func (r *Reconciler) fullBegins() (wish int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full.wish == r.full.done {
		return 0
	}
	return r.full.wish
}

// fullCursor is how far a wish has come with an account, in Unix seconds; 0: not begun.
func (r *Reconciler) fullCursor(wish int, account string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wish != r.full.wish {
		return 0 // wished for again meanwhile: from the beginning
	}
	return r.full.cursors[account]
}

func (r *Reconciler) fullAdvances(wish int, account string, second int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wish > 0 && wish == r.full.wish {
		r.full.cursors[account] = max(r.full.cursors[account], second)
	}
}

// fullEnds notes that a wish is fulfilled.
func (r *Reconciler) fullEnds(wish int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wish > 0 && wish == r.full.wish {
		r.full.done, r.full.cursors = wish, nil
	}
}
