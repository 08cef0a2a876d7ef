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
	// listsAgain is the time after the first repair at which the lists are repaired once more: until then, replicas with the
	// previous settings can have written.
	listsAgain = time.Hour
)

// lists is the job that repairs the lists: at once if they do not exist yet or if the settings on which they depend have changed,
// and once a day. The store itself records the completion, with these settings.
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

// listsDue reports whether a repair is due. last and first are the Unix seconds of the last and the first repair, or 0.
func listsDue(now time.Time, last, first int64) bool {
	again := time.Unix(first, 0).Add(listsAgain)
	return dueAgain(now, last) || time.Unix(last, 0).Before(again) && !now.Before(again)
}

// RepairLists repairs the lists once, also if no repair is due. It returns ErrElsewhere if another replica is doing it, ErrLost if
// another replica took over, or the store's error.
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
		j.config.Logger.Info("lists: all sessions were checked", "sessions", found.Sessions, "added", found.Added, "removed", found.Removed, "busy", found.Busy)
	}
	return found, err
}

// ListsSummary returns one line about a repair, without a newline.
func ListsSummary(found store.ListRepair, err error) string {
	text := fmt.Sprintf("%d sessions checked; %d entries added, %d removed", found.Sessions, found.Added, found.Removed)
	if found.Busy > 0 {
		text += fmt.Sprintf("; %d sessions were skipped, because they changed too often", found.Busy)
	}
	if err != nil {
		text += ". Stopped early: " + err.Error()
	}
	return text
}

// ListsFailure returns the error for which the command fails. If another replica does the work, it says what to do: that repair
// can have begun before the writes for which the command was run.
func ListsFailure(err error) error {
	if errors.Is(err, ErrElsewhere) || errors.Is(err, ErrLost) {
		return fmt.Errorf("the lists are not repaired, because %w: run server reconcile again when that replica has ended", err)
	}
	return err
}
