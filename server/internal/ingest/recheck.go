package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/verification-status/server/internal/verification"
)

const (
	// maxRechecks bounds the sessions that wait for another read. The catch-up reads the others.
	maxRechecks = 1000
	// recheckAfter is the pause before the first read. It doubles before each of the recheckTries.
	recheckAfter = time.Second
	recheckTries = 5
	// recheckTimeout bounds one read. It is below resolveTimeout: rechecks must not make the queue for Stripe so long that
	// the reads for new ambiguous events time out.
	recheckTimeout = resolveTimeout / 2
)

// rechecks holds the sessions with an ambiguous event that was decided by rule only because this service was busy. Stripe
// can be asked soon; until the next catch-up, a quarter of an hour, the session could show a wrong status.
type rechecks struct {
	ctx  context.Context // ends when the process stops
	stop context.CancelFunc

	mu      sync.Mutex
	waiting map[question]bool
	working sync.WaitGroup
}

func newRechecks() *rechecks {
	r := &rechecks{waiting: make(map[question]bool)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// close gives up the sessions that wait. Their records are marked as unresolved, and a catch-up begins with each start.
func (r *rechecks) close() {
	r.stop()
	r.working.Wait()
}

// add calls run for a session in a goroutine of its own, unless one is running for that session.
func (r *rechecks) add(what question, run func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[what] || len(r.waiting) >= maxRechecks || r.ctx.Err() != nil {
		return
	}
	r.waiting[what] = true
	r.working.Go(func() {
		run(r.ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, what)
	})
}

// wasBusy reports whether a read failed because this service had no slot for it, or because the wait for a shared read
// timed out. It returns false for a failure of Stripe: the catch-up deals with an outage.
func wasBusy(err error) bool {
	return errors.Is(err, verification.ErrStripeBusy) ||
		errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, verification.ErrStripeUnavailable)
}

// recheck reads a session again soon, until it is resolved or Stripe fails.
func (i *Ingest) recheck(object verification.Object) {
	i.rechecks.add(question{account: object.Account, id: object.ID}, func(ctx context.Context) {
		for pause := recheckAfter; pause < recheckAfter<<recheckTries; pause *= 2 {
			timer := time.NewTimer(pause/2 + rand.N(pause/2)) // spread: events that were refused together must not return together
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			session, err := i.recheckNow(ctx, object.ID)
			if err == nil && !session.Unresolved {
				i.config.Logger.Info("an event that was decided by rule is settled by Stripe", "session_id", object.ID, "status", session.Status)
				return
			}
			if err != nil && !wasBusy(err) {
				return
			}
		}
	})
}

func (i *Ingest) recheckNow(ctx context.Context, id string) (verification.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, recheckTimeout)
	defer cancel()
	session, err := i.config.Store.Get(ctx, id)
	if err != nil || !session.Unresolved {
		return session, err
	}
	return i.Reread(ctx, session)
}
