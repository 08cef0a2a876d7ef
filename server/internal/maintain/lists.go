package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/verification-status/server/internal/store"
)

const (
	listsLease = "lists"
	// listsAgain is when the lists are put right once more after the first time: until then replicas
	// with the settings of before can have written.
	listsAgain = time.Hour
)

// lists puts the lists right: at once if the settings that they depend on have changed or they were
// never there, and once a day. The store notes the completion itself, for these settings.
func (j *Jobs) lists() job {
	return job{
		name: "lists", lease: listsLease,
		due: func(ctx context.Context) (bool, error) {
			last, first, err := j.config.Store.ListsRepaired(ctx)
			return err == nil && listsDue(j.config.Clock(), last, first), err
		},
		do: func(ctx context.Context, keep Keep) error {
			_, err := j.repairLists(ctx, keep)
			return err
		},
	}
}

// listsDue says whether the lists are to be put right, given when that was done, in Unix seconds.
func listsDue(now time.Time, last, first int64) bool {
	again := time.Unix(first, 0).Add(listsAgain)
	return dueAgain(now, last) || time.Unix(last, 0).Before(again) && !now.Before(again)
}

// RepairLists puts the lists right once, whether or not that is due. It returns ErrElsewhere if
// another replica does it, ErrLost if another replica took over, or the store's error.
func (j *Jobs) RepairLists(ctx context.Context) (found store.ListRepair, err error) {
	err = j.leased(listsLease).Do(ctx, func(ctx context.Context, keep Keep) (err error) {
		found, err = j.repairLists(ctx, keep)
		return err
	})
	return found, err
}

func (j *Jobs) repairLists(ctx context.Context, keep Keep) (store.ListRepair, error) {
	found, err := j.config.Store.RepairLists(ctx, keep)
	if err == nil {
		j.config.Logger.Info("lists: every session was looked at", "sessions", found.Sessions, "added", found.Added, "removed", found.Removed, "busy", found.Busy)
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

// ListsFailure returns the error that makes the command fail: none if another replica does the work.
func ListsFailure(err error) error {
	if errors.Is(err, ErrElsewhere) || errors.Is(err, ErrLost) {
		return nil
	}
	return err
}
