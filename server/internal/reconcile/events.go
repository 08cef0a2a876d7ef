package reconcile

import (
	"context"
	"errors"
	"fmt"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// batchPages is how many pages of events are held in memory at a time, to apply them oldest first.
	batchPages = 10
	// maxCuts is how many times a crowded window is cut by one batch. After that it is halved. A cut leaves an upper
	// part that surely fits into a batch. Halving reaches the oldest events sooner, and without it a small budget would
	// never reach them.
	maxCuts = 8
	// stripeKeeps is a little longer than Stripe keeps events (30 days), in seconds.
	stripeKeeps = 31 * 24 * 60 * 60
)

// catchUpWith applies an account's events and moves its cursor. All times are Stripe's: the cursor is the `created` of a
// listed event, and the upper bounds come from the list too. So this machine's clock can be wrong by any amount.
func (u *run) catchUpWith(ctx context.Context, s state) error {
	began := u.config.Clock()
	cursor, err := u.config.Store.Cursor(ctx, s.account)
	if errors.Is(err, store.ErrCorrupt) { // it must not block the account forever
		u.config.Logger.Error("catch-up: a cursor cannot be read; reading all events of the account again", "account", s.account, "error", err)
		cursor, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("reading the cursor: %w", err)
	}
	w := &walk{run: u, state: s, first: cursor == 0}
	if w.isFull() {
		cursor = s.fullCursor()
	}
	if cursor > 0 {
		w.from = max(1, cursor-int64(u.config.Overlap.Seconds()))
	}
	if s.left > 0 && !u.config.Clock().Before(u.holdOffs[s.account].until) {
		w.from = min(w.from, s.left)
	}
	begun := w.from
	if err := w.events(ctx); err != nil {
		return err
	}
	if err := w.noteUnlisted(ctx, s.account, began); err != nil {
		return err
	}
	if w.isFull() {
		if err := u.note(ctx, markRestored+s.account, s.loss); err != nil {
			return err
		}
	}
	return w.noteLeft(ctx, begun)
}

// walk reads the events of one account from its first to its last.
type walk struct {
	*run
	state
	first bool  // the account was never caught up: its missing events are no drift
	lost  bool  // the walk looks for the events of lost sessions, without a lease: it moves no cursor and is never full
	from  int64 // all events that were created before this second are applied
	// skipped is the second of the oldest event that could not be applied. 0 means that there is none.
	skipped int64
}

// isFull reports whether the account needs a full run.
func (w *walk) isFull() bool { return !w.lost && w.restored != w.loss }

// batch holds the newest events of a window, at most batchPages pages.
type batch struct {
	events         []verification.Event // the newest first
	malformed      []string
	oldest, newest int64
	asOf           int64
	crowded        bool // the window holds more events
}

// events applies all events from w.from on, the oldest first. Stripe lists the newest first. So a window with too many
// events for one batch is cut until its oldest part fits. The upper bounds of the younger parts wait on a stack.
func (w *walk) events(ctx context.Context) error {
	bounds, cuts := []int64{0}, 0 // 0 means no bound
	for len(bounds) > 0 {
		top := len(bounds) - 1
		b, err := w.collect(ctx, bounds[top])
		if err != nil {
			return err
		}
		if bounds[top] == 0 && b.crowded {
			bounds[top] = b.newest + 1 // leave younger events to the next run, or this one might never end
		}
		before := bounds[top]
		if b.crowded {
			if bound, ok := w.cut(before, b, cuts >= maxCuts); ok {
				bounds, cuts = append(bounds, bound), cuts+1
				continue
			}
			err = w.stream(ctx, before)
		} else {
			err = w.apply(ctx, b)
		}
		if err != nil {
			return err
		}
		done := before - 1
		if before == 0 {
			done = b.newest
		}
		if err := w.advance(ctx, done); err != nil {
			return err
		}
		bounds, cuts, w.from = bounds[:top], 0, before
	}
	return nil
}

// cut returns a lower upper bound for a crowded window. ok is false if the window is a single second.
func (w *walk) cut(before int64, b batch, halve bool) (bound int64, ok bool) {
	bound = b.oldest + 1 // the events from here on are all in b, so they fit into a batch
	if bound >= before {
		bound = b.oldest
	}
	floor := max(w.from, before-stripeKeeps)
	if half := floor + (bound-floor)/2; halve && half > floor {
		bound = half
	}
	return bound, bound > floor
}

// collect reads at most batchPages pages of the window [w.from, before).
func (w *walk) collect(ctx context.Context, before int64) (batch, error) {
	var b batch
	err := w.listed(func() error {
		b = batch{}
		query := verification.EventQuery{From: w.from, Before: before}
		for n := range w.batchPages {
			page, err := w.page(ctx, query)
			if err != nil {
				return err
			}
			if n == 0 {
				b.asOf = page.AsOf
			}
			b.events = append(b.events, page.Events...)
			b.malformed = append(b.malformed, page.Malformed...)
			b.newest = max(b.newest, page.Newest)
			if page.Oldest > 0 && (b.oldest == 0 || page.Oldest < b.oldest) {
				b.oldest = page.Oldest
			}
			if !page.More {
				return nil
			}
			query.After = page.Last
		}
		b.crowded = true
		return nil
	})
	return b, err
}

// stream applies a window page by page, the newest first. It is for a single second with more events than a batch holds.
// The rules of order lead to the same result.
func (w *walk) stream(ctx context.Context, before int64) error {
	return w.listed(func() error {
		for query := (verification.EventQuery{From: w.from, Before: before}); ; {
			page, err := w.page(ctx, query)
			if err != nil {
				return err
			}
			if err := w.apply(ctx, batch{events: page.Events, malformed: page.Malformed, asOf: page.AsOf}); err != nil || !page.More {
				return err
			}
			query.After = page.Last
		}
	})
}

// errDropped: Stripe no longer has the event after which a page was requested, because the event became too old. It is not
// a refusal of the account.
var errDropped = errors.New("Stripe no longer has the event after which the list should continue")

// listed calls read, which reads a list. It calls read again if Stripe drops the event at which the list should continue.
func (w *walk) listed(read func() error) error {
	var err error
	for range tries {
		if err = read(); !errors.Is(err, errDropped) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, err)
}

// page reads one page of the list.
func (w *walk) page(ctx context.Context, query verification.EventQuery) (verification.EventPage, error) {
	var page verification.EventPage
	query.Wished = w.summary.Wished
	err := w.withRetries(ctx, func(ctx context.Context) (err error) {
		page, err = w.config.Stripe.Events(ctx, w.account, query)
		return err
	})
	if query.After != "" && errors.Is(err, verification.ErrStripeUnknown) {
		return verification.EventPage{}, errDropped
	}
	if err != nil {
		return verification.EventPage{}, err
	}
	w.summary.Pages++
	if page.More && (page.Last == "" || page.Last == query.After) {
		return verification.EventPage{}, fmt.Errorf("%w: its list of events does not continue", verification.ErrStripeUnavailable)
	}
	return page, nil
}
