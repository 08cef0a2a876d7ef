// Package maintain does the work on all sessions that one replica does at a time: it puts the lists right
// and shrinks the sessions that have been settled for long. It knows the store's port and no other part of
// the server.
package maintain

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// listsEvery is how often the lists are put right, and listsAgain when it is done once more after
	// the first time: until then replicas with the settings of before may have written.
	listsEvery = 24 * time.Hour
	listsAgain = time.Hour
	// listsLook is how often it is asked whether that is due, and how soon again after a failure.
	listsLook  = 10 * time.Minute
	listsRetry = 30 * time.Second
	// listsTimeout bounds one repair.
	listsTimeout = time.Hour
	// listsLease is how long others wait for a replica that died over it. It is prolonged when a third
	// of it is over.
	listsLease = time.Minute
	// releaseTimeout bounds the release, which is made also when the repair was canceled.
	releaseTimeout = 2 * time.Second
)

// Store is what the jobs ask of the store.
type Store interface {
	store.Jobs
	store.ListRepairs
	// Update is store.Store's.
	Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error)
	// Walk calls visit for every session at least once, in no order, and returns visit's first error.
	Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error
}

// Jobs are the jobs of one process.
type Jobs struct {
	// Store keeps the sessions, the lists, the leases and the marks.
	Store Store
	// SettledTTL is how long after its last news a settled session shrinks; 0: never.
	SettledTTL time.Duration
	// Clock tells what is due.
	Clock func() time.Time
	// Logger gets what was done and what failed.
	Logger *slog.Logger
}

var (
	errListsElsewhere = errors.New("another replica is putting them right")
	errListsLost      = errors.New("another replica took the lease over")
)

// KeepLists puts the lists right whenever that is due, until ctx ends: at once where the settings that
// they depend on have changed, or they were never there.
func (j *Jobs) KeepLists(ctx context.Context) {
	holder := rand.Text()
	for {
		pause := listsLook
		if err := j.lookAtLists(ctx, holder); err != nil && ctx.Err() == nil {
			level := slog.LevelWarn
			if errors.Is(err, store.ErrUnavailable) {
				level = slog.LevelDebug // readiness tells of a Redis that is away
			}
			j.Logger.Log(ctx, level, "lists: they are not put right now; it is tried again", "reason", err, "in", listsRetry)
			pause = listsRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// lookAtLists repairs the lists if that is due.
func (j *Jobs) lookAtLists(ctx context.Context, holder string) error {
	last, first, err := j.Store.ListsRepaired(ctx)
	if err != nil || !listsDue(j.Clock(), last, first) {
		return err
	}
	_, err = j.RepairLists(ctx, holder)
	if errors.Is(err, errListsElsewhere) {
		return nil // it is looked at again in a while
	}
	return err
}

// listsDue says whether the lists are to be put right, given when that was done, in Unix seconds.
func listsDue(now time.Time, last, first int64) bool {
	latest, earliest := time.Unix(last, 0), time.Unix(first, 0)
	again := earliest.Add(listsAgain)
	return last == 0 || now.Sub(latest) >= listsEvery || latest.Before(again) && !now.Before(again)
}

// RepairLists puts the lists right once, while this process has the lease, and logs what was found.
func (j *Jobs) RepairLists(ctx context.Context, holder string) (store.ListRepair, error) {
	ctx, cancel := context.WithTimeout(ctx, listsTimeout)
	defer cancel()
	held, err := j.Store.Lease(ctx, "lists", holder, listsLease)
	if err != nil {
		return store.ListRepair{}, err
	}
	if !held {
		return store.ListRepair{}, errListsElsewhere
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if err := j.Store.Release(ctx, "lists", holder); err != nil {
			j.Logger.Debug("lists: the lease was not released; it ends by itself", "error", err)
		}
	}()
	leased := j.Clock()
	found, err := j.Store.RepairLists(ctx, func(ctx context.Context) error {
		if j.Clock().Sub(leased) < listsLease/3 {
			return nil
		}
		held, err := j.Store.Lease(ctx, "lists", holder, listsLease)
		if err == nil && !held {
			err = errListsLost
		}
		leased = j.Clock()
		return err
	})
	if err == nil {
		j.Logger.Info("lists: every session was looked at", "sessions", found.Sessions, "added", found.Added, "removed", found.Removed, "busy", found.Busy)
	}
	return found, err
}

// ListsSummary is one line about a repair, without a newline.
func ListsSummary(found store.ListRepair, err error) string {
	text := fmt.Sprintf("%d sessions looked at; %d entries added, %d removed", found.Sessions, found.Added, found.Removed)
	if found.Busy > 0 {
		text += fmt.Sprintf("; %d sessions were too busy", found.Busy)
	}
	if err != nil {
		text += ". Stopped early: " + err.Error()
	}
	return text
}

// ListsFailure is what makes the command fail; that another replica is at it does not.
func ListsFailure(err error) error {
	if errors.Is(err, errListsElsewhere) || errors.Is(err, errListsLost) {
		return nil
	}
	return err
}
