package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// recentSeconds is the age up to which the webhook of an event is probably still on its way.
	recentSeconds = 60
	// namedSessions bounds the session ids in one log line about drift.
	namedSessions = 20
)

// errSkipped: the run reached the end of the list, but some events could not be applied.
var errSkipped = errors.New("some events could not be applied: the log names their sessions")

// holdOff says until when an account's skipped events are not tried again.
type holdOff struct {
	pause time.Duration
	until time.Time
}

// apply applies the events of a batch, the oldest first. If the record of an event cannot be read or written, apply counts
// and skips the event. A later run tries it again. Otherwise one broken record would block all later events in every run.
func (w *walk) apply(ctx context.Context, b batch) error {
	w.summary.noteMalformed(b.malformed)
	var drift []string
	addLater(b.events)
	for i := len(b.events) - 1; i >= 0; i-- {
		event := b.events[i]
		var outcome verification.Outcome
		err := w.withRetries(ctx, func(ctx context.Context) (err error) {
			outcome, err = w.config.Ingest.Apply(ctx, event)
			return err
		})
		switch {
		case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrConflict):
			w.summary.Unreadable++
			if w.skipped == 0 || event.Second < w.skipped {
				w.skipped = max(1, event.Second)
			}
			w.config.Logger.Error("catch-up: an event could not be applied to its record; a later run will try again", "event_id", event.ID, "session_id", event.Object.ID, "error", err)
		case err != nil:
			w.logDrift(drift)
			return fmt.Errorf("applying event %s: %w", event.ID, err)
		case outcome.Duplicate:
			w.summary.Known++
		case outcome.Announced:
			w.summary.Announced++
		case b.asOf > 0 && event.Second > b.asOf-recentSeconds:
			w.summary.Recent++
		default:
			w.summary.Missed.add(outcome.Effect)
			if w.first && event.Second < w.began {
				w.summary.Backlog++
			}
			drift = append(drift, event.Object.ID)
		}
		w.noteListed(event.Object.ID)
		w.summary.Events++
		w.logProgress(w.account, event.Second)
	}
	w.logDrift(drift)
	return nil
}

// addLater sets Event.Later of events of which the newest is the first.
func addLater(events []verification.Event) {
	newest := make(map[string]*verification.Event)
	for i := range events {
		event := &events[i]
		event.Later, newest[event.Object.ID] = newest[event.Object.ID], event
	}
}

// logDrift logs the events that no webhook had brought or that the store has lost. In the first run of an account they
// are expected.
func (w *walk) logDrift(sessions []string) {
	if len(sessions) == 0 {
		return
	}
	level := slog.LevelWarn
	if w.first {
		level = slog.LevelInfo
	}
	slices.Sort(sessions)
	distinct := slices.Compact(slices.Clone(sessions))
	w.config.Logger.Log(context.Background(), level, "catch-up: applied events that were missing", "account", w.account,
		"events", len(sessions), "sessions", len(distinct), "session_ids", distinct[:min(len(distinct), namedSessions)])
}

// advance stores that all events up to a second are applied.
func (w *walk) advance(ctx context.Context, second int64) error {
	if second <= 0 || w.lost {
		return nil
	}
	if err := w.config.Store.SetCursor(ctx, w.account, second); err != nil {
		return fmt.Errorf("moving the cursor: %w", err)
	}
	if w.isFull() {
		return w.fullAdvances(ctx, second)
	}
	return nil
}

// noteLeft stores the second of the oldest event that a walk skipped. begun is where the walk began. Later runs try the
// skipped events again, with growing pauses: each time they must list all events since then.
func (w *walk) noteLeft(ctx context.Context, begun int64) error {
	left := w.skipped
	if w.left > 0 && w.left < begun { // this walk did not try the events that were skipped before
		if left == 0 {
			return errSkipped
		}
		left = min(left, w.left)
	}
	if left != w.left {
		if err := w.note(ctx, markLeft+w.account, left); err != nil {
			return err
		}
	}
	if left == 0 {
		delete(w.holdOffs, w.account)
		return nil
	}
	pause := min(max(firstHoldOff, 2*w.holdOffs[w.account].pause), longHoldOff)
	w.holdOffs[w.account] = holdOff{pause, w.config.Clock().Add(pause)}
	return errSkipped
}
