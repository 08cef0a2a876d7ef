package importing

import (
	"context"
	"errors"
	"fmt"

	"example.com/verification-status/server/internal/verification"
)

const (
	pageSize = 100 // sessions, as Stripe lists them
	// A window with more than windowHolds sessions is listed again in smaller parts. A window should hold a sixth of that:
	// only its last page is not full, so few reads are wasted, and the next window can be six times denser.
	windowHolds = 30 * pageSize
	aims        = 6
	// maxGrowth is how much wider a window can be than the one before.
	maxGrowth = 4
	day       = 24 * 60 * 60
)

// errDropped: Stripe no longer has the session after which the list should continue.
var errDropped = errors.New("Stripe no longer has the session after which the list should continue")

// walk imports the sessions of one account, the oldest first. All times are Stripe's.
type walk struct {
	*run
	account *account
	from    int64 // all sessions that were created before this second are imported
	width   int64 // of the next window, in seconds; 0 if nothing is known

	// For the estimate of what is left: where the windows began and will end, how many sessions are before w.from, and how
	// many of the window that begins there are applied.
	began, end    int64
	done, applied int
}

// window holds the sessions of a window, the newest first.
type window struct {
	sessions  []verification.Listed
	malformed []string
	oldest    int64
	crowded   bool // it holds more sessions; they are not listed
}

// sessions imports everything from w.from on. The sessions that are created meanwhile come last.
func (w *walk) sessions(ctx context.Context) error {
	fresh := w.from == w.config.Since
	for {
		page, err := w.page(ctx, verification.SessionQuery{From: w.from})
		if err != nil {
			return err
		}
		if !page.More {
			if err := w.apply(ctx, windowOf(page)); err != nil {
				return err
			}
			w.end = max(w.from, page.AsOf)
			return w.advance(ctx, w.end)
		}
		if w.width == 0 {
			w.width = max(1, (page.Newest-page.Oldest+1)*w.holds/aims/pageSize)
		}
		if fresh {
			begin, err := w.begin(ctx, page.Oldest)
			if err != nil {
				return err
			}
			if err := w.advance(ctx, begin); err != nil {
				return err
			}
			fresh, w.began = false, begin
		}
		if err := w.windows(ctx, max(page.AsOf, page.Newest+1)); err != nil {
			return err
		}
	}
}

// begin returns a second before which no session was created, at most a day before the first one. Otherwise each of the
// years without sessions would cost reads. A session was created at the second high.
func (w *walk) begin(ctx context.Context, high int64) (int64, error) {
	low := w.from
	for high-low > day {
		middle := low + (high-low)/2
		page, err := w.page(ctx, verification.SessionQuery{From: low, Before: middle})
		switch {
		case err != nil:
			return 0, err
		case page.Last == "":
			low = middle
		case page.Oldest == 0: // none of them says when it was created
			return low, nil
		case !page.More:
			return page.Oldest, nil
		default:
			high = page.Oldest
		}
	}
	return low, nil
}

// windows imports the sessions that were created before the second end.
func (w *walk) windows(ctx context.Context, end int64) error {
	w.end = end
	if w.began == 0 {
		w.began = w.from
	}
	crowded := int64(0) // the end of the newest window that held too many sessions
	for w.from < end {
		before := min(end, w.from+w.width)
		listed, err := w.collect(ctx, before)
		if err != nil {
			return err
		}
		width, count := before-w.from, int64(len(listed.sessions))
		if listed.crowded {
			// As many sessions as wanted, if the window is as dense everywhere as at its end.
			dense := (before - listed.oldest) * w.holds / aims / max(1, count)
			w.width, crowded = max(1, min(width/2, dense)), before
			if err := w.moved(ctx, w); err != nil { // so that a run with few reads helps the next one
				return err
			}
			continue
		}
		if err := w.apply(ctx, listed); err != nil {
			return err
		}
		if w.width = min(width*w.holds/aims/max(1, count), width*maxGrowth); count == 0 && crowded > before {
			w.width = (crowded - before) / 2 // the sessions are in one half of the rest, or in the other one
		}
		w.width = max(1, w.width)
		if err := w.advance(ctx, before); err != nil {
			return err
		}
	}
	return nil
}

// collect lists the window [w.from, before). It lists it again if Stripe drops the session at which the list should continue.
func (w *walk) collect(ctx context.Context, before int64) (listed window, err error) {
	for range tries {
		listed, err = w.list(ctx, before)
		if !errors.Is(err, errDropped) {
			return listed, err
		}
	}
	return window{}, fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, err)
}

func (w *walk) list(ctx context.Context, before int64) (window, error) {
	var all window
	for query := (verification.SessionQuery{From: w.from, Before: before}); ; {
		page, err := w.page(ctx, query)
		if err != nil {
			return window{}, err
		}
		all.add(windowOf(page))
		if !page.More {
			return all, nil
		}
		// The sessions of one second cannot be divided.
		if width := before - w.from; width > 1 && w.isCrowded(all, before, width) {
			all.crowded = true
			return all, nil
		}
		query.After = page.Last
	}
}

// isCrowded reports whether a window holds too many sessions. It is an estimate: to list thirty pages only to drop them would
// waste reads.
func (w *walk) isCrowded(some window, before, width int64) bool {
	count := int64(len(some.sessions))
	estimate := int64(0)
	if some.oldest > 0 {
		estimate = count * width / max(1, before-some.oldest)
	}
	return count >= w.holds || estimate > 2*w.holds
}

func windowOf(page verification.SessionPage) window {
	of := window{malformed: page.Malformed, oldest: page.Oldest}
	for _, object := range page.Objects {
		of.sessions = append(of.sessions, verification.Listed{Object: object, AsOf: page.AsOf})
	}
	return of
}

// add appends the next page.
func (w *window) add(page window) {
	w.sessions = append(w.sessions, page.sessions...)
	w.malformed = append(w.malformed, page.malformed...)
	if page.oldest > 0 {
		w.oldest = page.oldest
	}
}

// page reads one page of the list.
func (w *walk) page(ctx context.Context, query verification.SessionQuery) (verification.SessionPage, error) {
	if err := w.keep(ctx); err != nil {
		return verification.SessionPage{}, err
	}
	var page verification.SessionPage
	var answer error // of Stripe
	err := w.withRetries(ctx, func(ctx context.Context) (err error) {
		if err := w.read(); err != nil {
			return err
		}
		page, answer = w.config.Stripe.Sessions(ctx, w.account.name, query)
		return answer
	})
	switch {
	case err == nil && page.More && page.Last == query.After:
		return page, fmt.Errorf("%w: its list of sessions does not continue", verification.ErrStripeUnavailable)
	case err == nil:
		return page, nil
	case ctx.Err() != nil, !errors.Is(err, answer), errors.Is(err, verification.ErrStripeUnavailable), errors.Is(err, verification.ErrStripeBudget):
		return page, err
	case errors.Is(err, verification.ErrStripeUnauthorized) && w.account.name == "":
		return page, err // no account can be read with this key
	case errors.Is(err, verification.ErrStripeUnknown) && query.After != "":
		return page, errDropped
	case errors.Is(err, verification.ErrStripeUnknown):
		return page, fmt.Errorf("%w: %w", errRefused, errList)
	}
	return page, fmt.Errorf("%w: %w", errRefused, err)
}
