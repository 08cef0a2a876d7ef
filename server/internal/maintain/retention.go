package maintain

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

// Retain shrinks the sessions that have been settled for longer than SETTLED_TTL, until ctx ends. It
// reads every record once a day, in small steps.
func (j *Jobs) Retain(ctx context.Context) {
	keep := j.SettledTTL
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
		if held, err := j.Store.Lease(ctx, "retention", holder, retainEvery-retainEvery/24); err != nil || !held {
			continue
		}
		shrunk, err := j.shrink(ctx, keep)
		if err != nil {
			j.Logger.Warn("retention: stopped early; it goes on at the next turn", "error", err, "shrunk", shrunk)
			continue
		}
		j.Logger.Info("retention: sessions settled for longer than SETTLED_TTL were shrunk", "shrunk", shrunk)
	}
}

// shrink looks through all sessions once.
func (j *Jobs) shrink(ctx context.Context, keep time.Duration) (shrunk int, err error) {
	ctx, cancel := context.WithTimeout(ctx, retainTimeout)
	defer cancel()
	err = j.Store.Walk(ctx, func(ctx context.Context, session verification.Session) error {
		if _, due := verification.Shrink(session, keep, j.Clock()); !due {
			return nil
		}
		changed := false
		_, err := j.Store.Update(ctx, session.ID, func(current verification.Session) (verification.Session, bool, error) {
			var next verification.Session
			next, changed = verification.Shrink(current, keep, j.Clock())
			return next, changed, nil
		})
		if changed && err == nil {
			shrunk++
		}
		return err
	})
	return shrunk, err
}
