package reconcile

import (
	"context"
	"errors"
	"fmt"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// batchPages is how many pages of events are held in memory, to be applied oldest first.
	batchPages = 10
	// maxCuts is how many batches a crowded window is cut by before it is halved instead: cutting
	// knows that the upper part fits a batch, halving comes to the oldest events soon, which a small
	// budget needs to get anywhere.
	maxCuts = 8
	// stripeKeeps is a little more than Stripe keeps events for, in seconds.
	stripeKeeps = 31 * 24 * 60 * 60
)

// catchUpWith catches up with an account's events and moves its cursor. All times are Stripe's: the cursor
// is the `created` of an event that was listed, and an upper bound is found in the list as well. So
// this machine's clock can be wrong by any amount.
func (u *run) catchUpWith(ctx context.Context, s state) error {
	cursor, err := u.config.Store.Cursor(ctx, s.account)
	if errors.Is(err, store.ErrCorrupt) { // it must not keep the account from being caught up for ever
		u.config.Logger.Error("catch-up: a cursor cannot be read; all of the account's events are read again", "account", s.account, "error", err)
		cursor, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("reading the cursor: %w", err)
	}
	w := &walk{run: u, state: s, first: cursor == 0}
	if w.full() {
		cursor = u.fullCursor(s.loss, s.account)
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
	if w.full() {
		if err := u.note(ctx, markRestored+s.account, s.loss); err != nil {
			return err
		}
	}
	return w.noteLeft(ctx, begun)
}

// walk goes through one account's events.
type walk struct {
	*run
	state
	first bool  // nothing was ever caught up: what is missing here is no drift
	from  int64 // what was created before this second is done
	// skipped is the second of the oldest event that could not be applied; 0: none.
	skipped int64
}

// full says whether a full run is owed to the account.
func (w *walk) full() bool { return w.restored != w.loss }

// batch is the newest events of a window, as many as may be held.
type batch struct {
	events         []verification.Event // the newest first
	malformed      []string
	oldest, newest int64
	asOf           int64
	crowded        bool // the window holds more
}

// events applies all events from w.from on, oldest first, as far as memory allows. Stripe lists the
// newest first; so a window that holds too many is cut, until its lowest part fits. The upper bounds
// of the parts above wait on a stack.
func (w *walk) events(ctx context.Context) error {
	bounds, cuts := []int64{0}, 0 // 0: open
	for len(bounds) > 0 {
		top := len(bounds) - 1
		b, err := w.collect(ctx, bounds[top])
		if err != nil {
			return err
		}
		if bounds[top] == 0 && b.crowded {
			bounds[top] = b.newest + 1 // what comes meanwhile is the next run's, lest this one never end
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

// cut finds a lower upper bound for a crowded window; not ok where it is one second.
func (w *walk) cut(before int64, b batch, halve bool) (bound int64, ok bool) {
	bound = b.oldest + 1 // from here on all has been seen, and fits a batch
	if bound >= before {
		bound = b.oldest
	}
	floor := max(w.from, before-stripeKeeps)
	if half := floor + (bound-floor)/2; halve && half > floor {
		bound = half
	}
	return bound, bound > floor
}

// collect reads the window [w.from, before), up to batchPages.
func (w *walk) collect(ctx context.Context, before int64) (batch, error) {
	var b batch
	err := w.listed(func() error {
		b = batch{}
		query := EventQuery{From: w.from, Before: before}
		for n := range batchPages {
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

// stream applies a window page by page, the newest first: so much can happen within a second that it
// fits no batch. The rules of order bring the same about.
func (w *walk) stream(ctx context.Context, before int64) error {
	return w.listed(func() error {
		for query := (EventQuery{From: w.from, Before: before}); ; {
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

// errDropped: Stripe no longer has the event after which a page was asked for, since it became too old
// meanwhile. That is no refusal of the account.
var errDropped = errors.New("Stripe no longer has the event after which the list was to go on")

// listed reads a list, and from its beginning again if Stripe drops the place in it.
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
func (w *walk) page(ctx context.Context, query EventQuery) (EventPage, error) {
	var page EventPage
	err := w.withRetries(ctx, func(ctx context.Context) (err error) {
		page, err = w.config.Stripe.Events(ctx, w.account, query)
		return err
	})
	if query.After != "" && errors.Is(err, verification.ErrStripeUnknown) {
		return EventPage{}, errDropped
	}
	if err != nil {
		return EventPage{}, err
	}
	w.summary.Pages++
	if page.More && (page.Last == "" || page.Last == query.After) {
		return EventPage{}, fmt.Errorf("%w: its list of events does not go on", verification.ErrStripeUnavailable)
	}
	return page, nil
}
