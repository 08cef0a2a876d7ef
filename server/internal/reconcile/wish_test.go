package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// thinOf returns the thin event of an event, without the id of the snapshot event.
func thinOf(e verification.Event) verification.Event {
	return verification.Event{ID: "thin_" + e.ID, Type: verification.ThinPrefix + e.Type, Source: verification.SourceWebhook, Second: e.Second,
		Object: verification.Object{ID: e.Object.ID, Account: e.Object.Account}, Thin: true}
}

// observed records the summaries of a Reconciler.
type observed struct {
	mu   sync.Mutex
	all  []Summary
	errs []error
}

func (o *observed) note(s Summary, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all, o.errs = append(o.all, s), append(o.errs, err)
}

func (o *observed) last(t *testing.T) Summary {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) == 0 {
		t.Fatal("no run was observed")
	}
	return o.all[len(o.all)-1]
}

// TestG16_AWishBringsTheSnapshotEvents: reads for thin events show only the last failure. The wished run counts all, is one run for all
// wishes, and finds nothing missed.
func TestG16_AWishBringsTheSnapshotEvents(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	var seen observed
	r := stripe.replica(kept, func(c *Config, _ *stripeapi.Config) { c.Observe = seen.note })
	r.run() // each account has a cursor from here on
	stripe.live(8, "")
	stripe.live(8, "acct_1")
	events := stripe.events()
	for _, event := range events {
		r.webhook(thinOf(event))
	}
	stripe.tick(30)
	if err := r.serveWishes(t.Context()); err != nil {
		t.Fatal(err)
	}
	stripe.check(kept)
	got := seen.last(t)
	if !got.Wished || got.Announced != len(events) || got.Missed.Sum() != 0 || got.Recent != 0 || got.Unlisted != 0 || got.Accounts != 2 {
		t.Errorf("summary %+v; want %d announced events of 2 accounts, and none missed", got, len(events))
	}
	runs := len(seen.all)
	if err := r.serveWishes(t.Context()); err != nil || len(seen.all) != runs {
		t.Errorf("error %v, %d more runs without a wish", err, len(seen.all)-runs)
	}
	if summary := r.run(); summary.Missed.Sum() != 0 || summary.Announced != 0 {
		t.Errorf("the next run: %+v; want nothing new", summary)
	}
}

// TestG16_AnyReplicaServesAWish: the wish is in the store before the event is.
func TestG16_AnyReplicaServesAWish(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	first, second := stripe.replica(kept, nil), stripe.replica(kept, nil)
	second.run()
	stripe.live(3, "acct_1")
	for _, event := range stripe.events() {
		first.webhook(thinOf(event))
	}
	if err := second.serveWishes(t.Context()); err != nil {
		t.Fatal(err)
	}
	stripe.check(kept)
	for _, replica := range []*replica{first, second} {
		var seen observed
		replica.config.Observe = seen.note
		if err := replica.serveWishes(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, summary := range seen.all {
			if summary.Pages > 0 {
				t.Errorf("a wish is served twice: %+v", summary)
			}
		}
	}
}

// TestG16_ARegularRunServesWishesToo: its pages are read once.
func TestG16_ARegularRunServesWishesToo(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	r := stripe.replica(kept, nil)
	stripe.live(3, "acct_1")
	for _, event := range stripe.events() {
		r.webhook(thinOf(event))
	}
	r.run()
	stripe.check(kept)
	var seen observed
	r.config.Observe = seen.note
	if err := r.serveWishes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := seen.last(t); got.Pages != 0 || got.Accounts != 0 {
		t.Errorf("the wish is served twice: %+v", got)
	}
}

// lists is a Stripe that shows the pages of a function.
type lists func(account string, query verification.EventQuery) (verification.EventPage, error)

func (l lists) Events(_ context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	return l(account, query)
}

var announcedEvent = verification.Event{ID: "evt_1", Type: verification.EventVerified, Second: 1_790_000_000,
	Object: verification.Object{ID: "vs_1", Account: "acct_1", Type: "document", Status: verification.StatusVerified}}

func TestG16_AnEventThatStripeDoesNotListIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		after    int64 // seconds from the thin event to the run
		listed   bool
		unlisted int
	}{
		"not listed":            {10, false, 1},
		"listed":                {10, true, 0},
		"too early to tell":     {9, false, 0},
		"a run after an outage": {4000, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			stripe, kept := newStripe(t), newFakeStore()
			var seen observed
			r := stripe.replica(kept, func(c *Config, _ *stripeapi.Config) {
				c.Observe = seen.note
				c.Stripe = lists(func(account string, _ verification.EventQuery) (page verification.EventPage, _ error) {
					if test.listed && account == "acct_1" {
						page.Events = []verification.Event{announcedEvent}
					}
					return page, nil
				})
			})
			thin := thinOf(announcedEvent)
			kept.sessions["vs_1"], _ = verification.ApplyThin(verification.Session{}, thin, verification.Read{Object: announcedEvent.Object, AsOf: 1_790_000_000})
			if err := r.Wish(t.Context(), thin); err != nil {
				t.Fatal(err)
			}
			stripe.tick(test.after)
			if err := r.serveWishes(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := seen.last(t).Unlisted; got != test.unlisted {
				t.Errorf("%d thin events without a snapshot event, want %d", got, test.unlisted)
			}
			if log := r.logs.String(); strings.Contains(log, "does not list the snapshot event") != (test.unlisted > 0) || test.unlisted > 0 && !strings.Contains(log, "thin_evt_1") {
				t.Errorf("log:\n%s", log)
			}
			stripe.tick(20)
			want := 0
			if test.unlisted == 0 && !test.listed {
				want = 1 // it was too early to tell
			}
			if again := r.run(); again.Unlisted != want {
				t.Errorf("the next run: %d thin events without a snapshot event, want %d", again.Unlisted, want)
			}
		})
	}
}

func TestG16_AWishDuringARunIsNotLost(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	kept.sessions["vs_1"] = verification.Session{ID: "vs_1", Account: "acct_1", Revision: 1, State: verification.State{Status: verification.StatusVerified}}
	pages := 0
	var r *replica
	r = stripe.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Stripe = lists(func(account string, query verification.EventQuery) (verification.EventPage, error) {
			if pages++; pages == 1 {
				if err := r.Wish(t.Context(), thinOf(announcedEvent)); err != nil {
					t.Error(err)
				}
			}
			return verification.EventPage{}, nil
		})
	})
	for n, want := range []int{1, 2, 2} {
		if n == 0 {
			if err := r.Wish(t.Context(), thinOf(announcedEvent)); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.serveWishes(t.Context()); err != nil || pages != want {
			t.Errorf("run %d: error %v, %d pages; want %d", n, err, pages, want)
		}
	}
}

// TestG16_AWishIsServedOnceStripeAnswers: a failure leaves it open. A refusal of the account does not, since it would come again each time.
func TestG16_AWishIsServedOnceStripeAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		open bool
	}{
		"away":      {verification.ErrStripeUnavailable, true},
		"forbidden": {verification.ErrStripeUnauthorized, false},
		"refused":   {&verification.StripeRefusedError{Code: "x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			stripe, kept := newStripe(t), newFakeStore()
			kept.sessions["vs_1"] = verification.Session{ID: "vs_1", Account: "acct_1", Revision: 1, State: verification.State{Status: verification.StatusVerified}}
			answer, pages := test.err, 0
			r := stripe.replica(kept, func(c *Config, _ *stripeapi.Config) {
				c.Stripe = lists(func(account string, query verification.EventQuery) (verification.EventPage, error) {
					if account != "acct_1" {
						t.Errorf("the events of %q are read for a wish of acct_1", account)
					}
					pages++
					return verification.EventPage{}, answer
				})
			})
			if err := r.Wish(t.Context(), thinOf(announcedEvent)); err != nil {
				t.Fatal(err)
			}
			if err := r.serveWishes(t.Context()); (err != nil) != test.open {
				t.Errorf("error %v, want one: %v", err, test.open)
			}
			answer = nil
			before := pages
			if err := r.serveWishes(t.Context()); err != nil || (pages > before) != test.open {
				t.Errorf("error %v, %d more pages; the wish is open: %v", err, pages-before, test.open)
			}
		})
	}
	t.Run("another replica has the lease", func(t *testing.T) {
		stripe, kept := newStripe(t), newFakeStore()
		kept.holder, kept.until = "another", time.Now().Add(time.Hour)
		r := stripe.replica(kept, nil)
		if err := r.Wish(t.Context(), thinOf(announcedEvent)); err != nil {
			t.Fatal(err)
		}
		if err := r.serveWishes(t.Context()); !errors.Is(err, errLeaseElsewhere) {
			t.Errorf("error %v, want %v", err, errLeaseElsewhere)
		}
		kept.holder = ""
		if err := r.serveWishes(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestG16_AWishThatIsNotStoredFails(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	lost := errors.New("the store is away")
	kept.fail = func(call, _ string) error {
		if call == "setmark" {
			return lost
		}
		return nil
	}
	if err := stripe.replica(kept, nil).Wish(t.Context(), thinOf(announcedEvent)); !errors.Is(err, lost) {
		t.Errorf("error %v, want the store's", err)
	}
}

// TestG16_OnlyWishedPagesArePreferred: wished runs do not count in the budget, also at the first catch-up of an account. Regular
// runs do.
func TestG16_OnlyWishedPagesArePreferred(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	kept.sessions["vs_1"] = verification.Session{ID: "vs_1", Account: "acct_1", Revision: 1, State: verification.State{Status: verification.StatusVerified}}
	var wished []bool
	r := stripe.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Stripe = lists(func(account string, query verification.EventQuery) (verification.EventPage, error) {
			if account == "acct_1" {
				wished = append(wished, query.Wished)
			}
			return verification.EventPage{}, nil
		})
	})
	for n, want := range []bool{true, true, false} {
		if n == 1 {
			kept.cursors["acct_1"] = 1_790_000_000
		}
		if n < 2 {
			if err := r.Wish(t.Context(), thinOf(announcedEvent)); err != nil {
				t.Fatal(err)
			}
			if err := r.serveWishes(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			r.run()
		}
		if len(wished) != n+1 || wished[n] != want {
			t.Errorf("run %d: wished %v, want %v at the end", n, wished, want)
		}
	}
}

// TestG16_OneAccountBlocksNoOtherWish: the wish of an account whose events cannot be read stays open, and the others are served.
// Here the platform fails, which is always the first.
func TestG16_OneAccountBlocksNoOtherWish(t *testing.T) {
	for name, failure := range map[string]error{"no answer": verification.ErrStripeUnavailable, "over budget": verification.ErrStripeBudget} {
		t.Run(name, func(t *testing.T) {
			stripe, kept := newStripe(t), newFakeStore()
			kept.sessions["vs_1"] = verification.Session{ID: "vs_1", Account: "acct_1", Revision: 1, State: verification.State{Status: verification.StatusVerified}}
			answer, pages := failure, map[string]int{}
			r := stripe.replica(kept, func(c *Config, _ *stripeapi.Config) {
				c.Stripe = lists(func(account string, _ verification.EventQuery) (verification.EventPage, error) {
					pages[account]++
					if account == "" {
						return verification.EventPage{}, answer
					}
					return verification.EventPage{}, nil
				})
			})
			own := announcedEvent
			own.Object.Account = ""
			for _, event := range []verification.Event{own, announcedEvent} {
				if err := r.Wish(t.Context(), thinOf(event)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := r.serveWishes(t.Context()); !errors.Is(err, failure) {
					t.Errorf("error %v, want %v", err, failure)
				}
				if pages["acct_1"] != 1 {
					t.Errorf("%d pages of acct_1, want 1", pages["acct_1"])
				}
			}
			answer = nil
			before := pages[""]
			if err := r.serveWishes(t.Context()); err != nil || pages[""] != before+1 || pages["acct_1"] != 1 {
				t.Errorf("error %v, %d more pages of the platform and %d of acct_1; want 1 more and 1", err, pages[""]-before, pages["acct_1"])
			}
		})
	}
}

// TestG16_WishesStopWhenStripeIsAway: a run does not ask for every account then.
func TestG16_WishesStopWhenStripeIsAway(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	asked := map[string]bool{}
	r := stripe.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Stripe = lists(func(account string, _ verification.EventQuery) (verification.EventPage, error) {
			asked[account] = true
			return verification.EventPage{}, verification.ErrStripeUnavailable
		})
	})
	for n := range 2 * maxUnanswered {
		event := announcedEvent
		event.Object.Account = fmt.Sprint("acct_", n)
		if err := r.Wish(t.Context(), thinOf(event)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.serveWishes(t.Context()); !errors.Is(err, verification.ErrStripeUnavailable) || len(asked) != maxUnanswered {
		t.Errorf("error %v, %d accounts were asked for; want %d", err, len(asked), maxUnanswered)
	}
}

// TestG16_WishesAreServedWithoutBudget: also at the first catch-up of an account, if the reads of the day are used up.
func TestG16_WishesAreServedWithoutBudget(t *testing.T) {
	stripe, kept := newStripe(t), newFakeStore()
	r := stripe.replica(kept, func(_ *Config, api *stripeapi.Config) { api.ReadsPerDay = 1 })
	stripe.live(8, "")
	stripe.live(8, "acct_1")
	if _, err := r.client.Events(t.Context(), "", verification.EventQuery{}); err != nil && !errors.Is(err, verification.ErrStripeBudget) {
		t.Fatal(err)
	}
	if summary, err := r.Run(t.Context()); err != nil || !errors.Is(summary.Stopped, verification.ErrStripeBudget) {
		t.Fatalf("error %v, %v; want that the budget is used up", err, summary)
	}
	for _, event := range stripe.events() {
		r.webhook(thinOf(event))
	}
	stripe.tick(30)
	if err := r.serveWishes(t.Context()); err != nil {
		t.Fatal(err)
	}
	stripe.check(kept)
}

// TestG16_TheLoopServesAWishWithinAMinute: whatever its interval is.
func TestG16_TheLoopServesAWishWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := newFakeStore()
		kept.sessions["vs_1"] = verification.Session{ID: "vs_1", Account: "acct_1", Revision: 1, State: verification.State{Status: verification.StatusVerified}}
		var mu sync.Mutex
		var at []time.Time
		r, err := New(Config{Store: kept, Ingest: &ingest.Ingest{}, Interval: 24 * time.Hour, Logger: slog.New(slog.DiscardHandler),
			Stripe: lists(func(account string, _ verification.EventQuery) (verification.EventPage, error) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Now())
				return verification.EventPage{}, nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Loop(ctx) }()
		time.Sleep(time.Hour)
		mu.Lock()
		first := len(at)
		mu.Unlock()
		wished := time.Now()
		for range 10 {
			if err := r.Wish(ctx, thinOf(announcedEvent)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		cancel()
		<-done
		if first != 2 || len(at) != first+1 || at[first].Sub(wished) > time.Minute {
			t.Errorf("%d pages before the wishes and %d after them, want 2 and 1 within a minute: %v, wished at %v", first, len(at)-first, at, wished)
		}
	})
}
