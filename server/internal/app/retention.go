package app

import (
	"context"
	"crypto/rand"
	"time"

	"example.com/verification-status/server/internal/verification"
)

const (
	// retainEvery is how often settled sessions are looked through; one replica does it.
	retainEvery = 24 * time.Hour
	// retainTimeout bounds one look-through.
	retainTimeout = time.Hour
)

// retain shrinks the sessions that have been settled for longer than SETTLED_TTL, until ctx ends. It
// reads every record once a day, in small steps.
func (a *App) retain(ctx context.Context, clock func() time.Time) {
	keep := time.Duration(a.config.SettledTTL)
	if keep == 0 {
		return
	}
	holder := rand.Text()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retainEvery / 24):
		}
		if held, err := a.store.Lease(ctx, "retention", holder, retainEvery-retainEvery/24); err != nil || !held {
			continue
		}
		shrunk, err := a.shrink(ctx, keep, clock)
		if err != nil {
			a.logger.Warn("retention: stopped early; it goes on at the next turn", "error", err, "shrunk", shrunk)
			continue
		}
		a.logger.Info("retention: sessions settled for longer than SETTLED_TTL were shrunk", "shrunk", shrunk)
	}
}

// shrink looks through all sessions once.
func (a *App) shrink(ctx context.Context, keep time.Duration, clock func() time.Time) (shrunk int, err error) {
	ctx, cancel := context.WithTimeout(ctx, retainTimeout)
	defer cancel()
	err = a.store.Walk(ctx, func(ctx context.Context, session verification.Session) error {
		if _, due := verification.Shrink(session, keep, clock()); !due {
			return nil
		}
		changed := false
		_, err := a.store.Update(ctx, session.ID, func(current verification.Session) (verification.Session, bool, error) {
			var next verification.Session
			next, changed = verification.Shrink(current, keep, clock())
			return next, changed, nil
		})
		if changed && err == nil {
			shrunk++
		}
		return err
	})
	return shrunk, err
}
