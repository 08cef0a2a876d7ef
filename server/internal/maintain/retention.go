package maintain

import (
	"context"
	"errors"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	retentionLease = "retention-walk"
	retentionMark  = "retention"

	// The version before this one has no mark. Its replicas walk if they get the lease "retention" for formerFor; the lease does
	// not say whether the walk was completed. So replicas of this version ignore that lease, but take it after a completed walk:
	// replicas of the version before, during a rolling update or after a rollback, then do not walk once more.
	formerLease  = "retention"
	formerHolder = "done"
	formerFor    = 23 * time.Hour
)

// retention is the job that archives sessions that have been settled for longer than SettledTTL. It reads every record once a day, in
// small steps.
func (j *Jobs) retention() job {
	return job{
		name: "retention", lease: retentionLease,
		due: func(ctx context.Context) (bool, error) {
			marks, err := j.config.Store.Marks(ctx, retentionMark)
			return err == nil && dueAgain(j.config.Clock(), marks[0]), err
		},
		do: func(ctx context.Context, keep Keep) error {
			archived, left, err := j.archive(ctx, keep)
			if err != nil {
				return err
			}
			j.config.Logger.Info("retention: sessions settled for longer than SETTLED_TTL were archived", "archived", archived, "left", left)
			if err := j.config.Store.SetMark(ctx, retentionMark, j.config.Clock().Unix()); err != nil {
				return err
			}
			_, err = j.config.Store.Lease(ctx, formerLease, formerHolder, formerFor)
			return err
		},
	}
}

// archive checks all sessions once. It leaves a session that cannot be read, or that changes too often, for the next day, so that the
// others are archived. It returns how many sessions it has archived and left.
func (j *Jobs) archive(ctx context.Context, keep Keep) (archived, left int, err error) {
	err = j.config.Store.Walk(ctx, func(ctx context.Context, session verification.Session) error {
		if err := keep(ctx); err != nil {
			return err
		}
		if _, due := verification.Archive(session, j.config.SettledTTL, j.config.Clock()); !due {
			return nil
		}
		changed := false
		_, err := j.config.Store.Update(ctx, session.ID, func(current verification.Session) (verification.Session, bool, error) {
			var next verification.Session
			next, changed = verification.Archive(current, j.config.SettledTTL, j.config.Clock())
			return next, changed, nil
		})
		switch {
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrCorrupt):
			left++
			return nil
		case err == nil && changed:
			archived++
		}
		return err
	})
	return archived, left, err
}
