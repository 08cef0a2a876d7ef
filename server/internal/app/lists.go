package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/store"
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

var (
	errListsElsewhere = errors.New("another replica is putting them right")
	errListsLost      = errors.New("another replica took the lease over")
)

// keepLists puts the lists right whenever that is due, until ctx ends: at once where the settings that
// they depend on have changed, or they were never there.
func (a *App) keepLists(ctx context.Context) {
	holder := rand.Text()
	for {
		pause := listsLook
		if err := a.lookAtLists(ctx, holder); err != nil && ctx.Err() == nil {
			level := slog.LevelWarn
			if errors.Is(err, store.ErrUnavailable) {
				level = slog.LevelDebug // readiness tells of a Redis that is away
			}
			a.logger.Log(ctx, level, "lists: they are not put right now; it is tried again", "reason", err, "in", listsRetry)
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
func (a *App) lookAtLists(ctx context.Context, holder string) error {
	last, first, err := a.store.ListsRepaired(ctx)
	if err != nil || !listsDue(a.clock(), last, first) {
		return err
	}
	_, err = a.repairLists(ctx, holder)
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

// repairLists puts the lists right once, while this process has the lease, and logs what was found.
func (a *App) repairLists(ctx context.Context, holder string) (store.ListRepair, error) {
	ctx, cancel := context.WithTimeout(ctx, listsTimeout)
	defer cancel()
	held, err := a.store.Lease(ctx, "lists", holder, listsLease)
	if err != nil {
		return store.ListRepair{}, err
	}
	if !held {
		return store.ListRepair{}, errListsElsewhere
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if err := a.store.Release(ctx, "lists", holder); err != nil {
			a.logger.Debug("lists: the lease was not released; it ends by itself", "error", err)
		}
	}()
	leased := a.clock()
	found, err := a.store.RepairLists(ctx, func(ctx context.Context) error {
		if a.clock().Sub(leased) < listsLease/3 {
			return nil
		}
		held, err := a.store.Lease(ctx, "lists", holder, listsLease)
		if err == nil && !held {
			err = errListsLost
		}
		leased = a.clock()
		return err
	})
	if err == nil {
		a.logger.Info("lists: every session was looked at", "sessions", found.Sessions, "added", found.Added, "removed", found.Removed, "busy", found.Busy)
	}
	return found, err
}

// listsSummary is one line about a repair, without a newline.
func listsSummary(found store.ListRepair, err error) string {
	text := fmt.Sprintf("%d sessions looked at; %d entries added, %d removed", found.Sessions, found.Added, found.Removed)
	if found.Busy > 0 {
		text += fmt.Sprintf("; %d sessions were too busy", found.Busy)
	}
	if err != nil {
		text += ". Stopped early: " + err.Error()
	}
	return text
}

// listsFailure is what makes the command fail; that another replica is at it does not.
func listsFailure(err error) error {
	if errors.Is(err, errListsElsewhere) || errors.Is(err, errListsLost) {
		return nil
	}
	return err
}
