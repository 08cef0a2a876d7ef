package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// named is the setting STRIPE_ACCOUNTS.
func named(accounts ...string) func(*Config, *stripeapi.Config) {
	return func(c *Config, _ *stripeapi.Config) { c.Accounts = verification.NewAccounts(accounts) }
}

// missing returns those of the sessions that are not kept.
func (m *memory) missing(ids ...string) (missing []string) {
	for _, id := range ids {
		if !m.session(id).Exists() {
			missing = append(missing, id)
		}
	}
	return missing
}

// lose takes sessions away, as a failover does: the names of accounts, the cursors and the marks stay.
func (m *memory) lose(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.sessions, id)
	}
}

// loseAll empties the store, as FLUSHALL does.
func (m *memory) loseAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.sessions)
	clear(m.cursors)
	clear(m.marks)
	m.holder = ""
}

func wantBehind(t *testing.T, summary Summary, want ...string) {
	t.Helper()
	var got []string
	for _, behind := range summary.Behind {
		got = append(got, behind.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("behind are %v; want %v\n%v", got, want, summary)
	}
	if summary.Complete() != (len(want) == 0 && summary.Stopped == nil) || (summary.Err() == nil) != (len(want) == 0) {
		t.Errorf("complete: %v, error %v\n%v", summary.Complete(), summary.Err(), summary)
	}
}

// The accounts that the settings name are caught up before anything of theirs is known: at the first
// start, and after the store has lost everything.
func TestG3_NamedAccountsAreCaughtUpFromTheFirstStart(t *testing.T) {
	s, kept := newStripe(t), newMemory()
	own, one, two, other := s.live(4, ""), s.live(4, "acct_1"), s.live(4, "acct_2"), s.live(4, "acct_3")
	s.tick(1000)
	wanted := append(append(own, one...), two...)
	r := s.replica(kept, named("acct_1", "acct_2"))
	for n := range 3 {
		summary := r.run()
		wantBehind(t, summary)
		if missing := kept.missing(wanted...); len(missing) > 0 || len(kept.missing(other...)) != len(other) || summary.Accounts != 3 {
			t.Errorf("run %d: missing are %v\n%v", n, missing, summary)
		}
		s.tick(1000)
		kept.loseAll()
		r.LostAll()
		if n == 1 {
			r = s.replica(kept, named("acct_1", "acct_2"))
		}
	}
	// The store names the session, and nobody knows whose it was.
	r.Lost(two[0])
	if err := r.rereadLost(t.Context()); err != nil || len(kept.missing(two[0])) > 0 {
		t.Errorf("a session that is known to be lost was not read again: %v", err)
	}
	if _, err := r.Session(t.Context(), one[0]); err != nil {
		t.Errorf("one session by its id: %v", err)
	}
}

// Without STRIPE_ACCOUNTS the accounts of which a session is known are caught up, also after the store
// has lost their names while the process runs.
func TestG3_KnownAccountsAreCaughtUpAfterATotalLoss(t *testing.T) {
	s, kept := newStripe(t), newMemory()
	s.live(4, "")
	one := s.live(4, "acct_1")
	s.tick(1000)
	r, idle := s.replica(kept, nil), s.replica(kept, nil)
	r.webhook(s.events()...)
	r.run()
	if held, err := kept.Lease(t.Context(), leaseName, "another", leaseFor); err != nil || !held {
		t.Fatal(held, err)
	}
	if summary, err := idle.Run(t.Context()); err != nil || !errors.Is(summary.Stopped, errLeaseElsewhere) {
		t.Errorf("%v, %v", summary, err)
	}
	for name, r := range map[string]*replica{"the replica that ran": r, "the replica that looked on": idle} {
		kept.loseAll()
		r.LostAll()
		r.run()
		if missing := kept.missing(one...); len(missing) > 0 {
			t.Errorf("%s: missing are %v", name, missing)
		}
	}
	s.check(kept)
}

// failing is a Stripe whose list fails for one account, from its n-th page on.
type failing struct {
	Stripe
	account string
	page    int // 0: the first
	err     error
	asked   *int
}

func (f failing) Events(ctx context.Context, account string, query EventQuery) (EventPage, error) {
	if account != f.account {
		return f.Stripe.Events(ctx, account, query)
	}
	*f.asked++
	if *f.asked > f.page {
		return EventPage{}, f.err
	}
	return f.Stripe.Events(ctx, account, query)
}

// After a loss every account is owed a run from the beginning of its list. An account with which that
// run came to no end is owed it still, whatever was in the way and whichever replica runs next; the
// others are not read from the beginning again.
func TestG3_AFullRunIsOwedToEachAccountUntilItIsDone(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/reconcile")
	}
	faults := map[string]error{
		"refused":         &verification.StripeRefusedError{Code: "x"},
		"no permission":   verification.ErrStripeUnauthorized,
		"unknown":         verification.ErrStripeUnknown,
		"unavailable":     verification.ErrStripeUnavailable,
		"the budget":      verification.ErrStripeBudget,
		"its list stands": fmt.Errorf("%w: its list of events does not go on", verification.ErrStripeUnavailable),
	}
	for name, fault := range faults {
		for _, account := range []string{"", "acct_1"} {
			for page := range 2 {
				t.Run(fmt.Sprintf("%s of %q on page %d", name, account, page+1), func(t *testing.T) {
					s, kept := newStripe(t), newMemory()
					sessions := map[string][]string{}
					for _, of := range []string{"", "acct_1", "acct_2"} {
						sessions[of] = s.live(30, of) // two pages
					}
					s.tick(100_000)
					for of := range sessions {
						s.live(1, of)
					}
					s.tick(1000)
					r := s.replica(kept, nil)
					r.webhook(s.events()...)
					r.run()
					for _, ids := range sessions {
						kept.lose(ids...)
					}
					r.LostAll()
					stripe := r.Stripe
					r.Stripe = failing{stripe, account, page, fault, new(int)}
					summary, err := r.Run(t.Context())
					if account == "" && refused(fault) {
						if !errors.Is(err, fault) {
							t.Errorf("error %v; want %v", err, fault)
						}
					} else if err != nil {
						t.Errorf("error %v", err)
					}
					if errors.Is(fault, verification.ErrStripeBudget) {
						if !errors.Is(summary.Stopped, fault) || len(summary.Behind) == 0 {
							t.Errorf("%v", summary)
						}
					} else {
						wantBehind(t, summary, Behind{Account: account}.Name())
						for of, ids := range sessions {
							if missing := kept.missing(ids...); of != account && len(missing) > 0 {
								t.Errorf("%d of %q are missing, which was not in the way", len(missing), of)
							}
						}
					}
					// The next run is another process's, hours later.
					s.tick(10_000)
					next := s.replica(kept, nil)
					summary = next.run()
					wantBehind(t, summary)
					for of, ids := range sessions {
						if missing := kept.missing(ids...); len(missing) > 0 {
							t.Errorf("%d of %q were never replayed", len(missing), of)
						}
					}
					s.check(kept)
					s.tick(10_000)
					r.Stripe = stripe
					if third := r.run(); third.Events > 20 {
						t.Errorf("the wish is fulfilled, yet: %v", third)
					}
				})
			}
		}
	}
}

// A wish stays open over whatever ends the run for all accounts.
func TestG3_AFullRunIsOwedAfterARunThatEnded(t *testing.T) {
	for name, end := range map[string]func(kept *memory, cancel func()){
		"its context ends":     func(_ *memory, cancel func()) { cancel() },
		"the lease is lost":    func(kept *memory, _ func()) { kept.holder, kept.until = "another", kept.clock().Add(leaseFor) },
		"the store goes away":  func(kept *memory, _ func()) { kept.fail = func(string, string) error { return errStore } },
		"the process restarts": func(_ *memory, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newMemory()
			kept.clock = func() time.Time { return time.Unix(s.now.Load(), 0) }
			ids := append(s.live(60, ""), s.live(20, "acct_1")...)
			s.tick(100_000)
			r := s.replica(kept, func(c *Config, _ *stripeapi.Config) {
				c.Clock = func() time.Time { return time.Unix(s.now.Add(1), 0) } // each look takes a second
			})
			r.webhook(s.events()...)
			r.run()
			kept.lose(ids[:len(ids)-1]...) // the account stays known
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			commits := 0
			kept.fail = func(call, _ string) error {
				if call == "update" {
					if commits++; commits == 200 {
						kept.mu.Lock()
						defer kept.mu.Unlock()
						end(kept, cancel)
					}
				}
				return nil
			}
			r.LostAll()
			summary, err := r.Run(ctx)
			if err == nil && (summary.Stopped == nil || summary.Complete()) {
				t.Errorf("it says complete: %v", summary)
			}
			kept.fail = func(string, string) error { return nil }
			kept.mu.Lock()
			kept.holder = ""
			kept.mu.Unlock()
			s.tick(1000)
			if name == "the process restarts" {
				r = s.replica(kept, nil)
			}
			wantBehind(t, r.run())
			s.check(kept)
		})
	}
}

// A store that is emptied forgets which losses were made good. Each time it is emptied, between two runs or
// in the middle of one, a run over the whole list is owed once more, also by a process that has done one.
func TestG3_AFullRunIsOwedEachTimeTheStoreIsEmptied(t *testing.T) {
	for name, inRun := range map[string]bool{"between two runs": false, "in the middle of a run": true} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newMemory()
			var ids []string
			for range 2 {
				ids = append(ids, append(s.live(8, ""), s.live(8, "acct_1")...)...)
				s.tick(100_000)
			}
			r := s.replica(kept, nil)
			r.webhook(s.events()...)
			r.run() // it knows the account
			for n := range 4 {
				emptied := !inRun
				if emptied {
					kept.loseAll()
					r.LostAll()
				}
				kept.fail = func(call, account string) error {
					if call == "setcursor" && account == "acct_1" && !emptied {
						emptied = true
						kept.loseAll()
						r.LostAll()
					}
					return nil
				}
				r.run()
				if !emptied {
					t.Fatal("the store was not emptied")
				}
				if inRun {
					r.run()
				}
				if missing := kept.missing(ids...); len(missing) > 0 {
					t.Errorf("emptied %d times: missing are %v", n+1, missing)
				}
			}
			s.check(kept)
		})
	}
}

// A wish that the store could not take is noted when it is there again.
func TestG3_ALossIsNotedWhenTheStoreIsBack(t *testing.T) {
	s, kept := newStripe(t), newMemory()
	ids := s.live(8, "")
	s.tick(100_000)
	r := s.replica(kept, nil)
	r.webhook(s.events()...)
	r.run()
	kept.lose(ids...)
	r.LostAll()
	for _, call := range []string{"marks", "setmark"} {
		kept.fail = func(what, _ string) error {
			if what == call {
				return errStore
			}
			return nil
		}
		if _, err := r.Run(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: error %v", call, err)
		}
	}
	kept.fail = func(string, string) error { return nil }
	r.run()
	s.check(kept)
}

// An account that is not named any more, and named again after a loss, is owed what it lost meanwhile.
func TestG3_AnAccountThatIsNamedAgain(t *testing.T) {
	s, kept := newStripe(t), newMemory()
	one, two := s.live(8, "acct_1"), s.live(8, "acct_2")
	s.tick(100_000)
	first := s.replica(kept, named("acct_1", "acct_2"))
	first.run()
	without := s.replica(kept, named("acct_1"))
	kept.lose(append(one, two...)...)
	without.LostAll()
	meanwhile := s.live(2, "acct_2")
	s.tick(1000)
	wantBehind(t, without.run())
	if missing := kept.missing(one...); len(missing) > 0 || len(kept.missing(two...)) != len(two) {
		t.Errorf("missing are %v", missing)
	}
	again := s.replica(kept, named("acct_1", "acct_2"))
	wantBehind(t, again.run())
	if missing := kept.missing(append(two, meanwhile...)...); len(missing) > 0 {
		t.Errorf("missing are %v", missing)
	}
}

// Since when an account is behind is the same for all replicas and runs, and over when it is caught up.
func TestG3_WhoIsBehindAndSinceWhen(t *testing.T) {
	s, kept := newStripe(t), newMemory()
	kept.clock = func() time.Time { return time.Unix(s.now.Load(), 0) }
	s.live(2, "")
	s.live(2, "acct_1")
	s.tick(1000)
	var observed Summary
	r := s.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Accounts = verification.NewAccounts([]string{"acct_1", "acct_2"})
		c.Observe = func(summary Summary, _ error) { observed = summary }
	})
	stripe := r.Stripe
	r.Stripe = refusing{stripe, "acct_1", &verification.StripeRefusedError{Code: "testing"}}
	since := s.now.Load()
	for range 3 {
		summary, err := r.pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantBehind(t, summary, "acct_1")
		wantBehind(t, observed, "acct_1")
		text := summary.String()
		want := "behind:   acct_1 since " + time.Unix(since, 0).UTC().Format(time.RFC3339) + ": Stripe refused the call: testing"
		if !strings.HasPrefix(text, "catch-up ended, but not complete") || !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
		s.tick(1000)
	}
	if log := r.logs.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "summary.behind_accounts=acct_1") || strings.Contains(log, "catch-up: done") {
		t.Errorf("log:\n%s", log)
	}
	// A replica that does not run itself learns it from the store.
	if held, err := kept.Lease(t.Context(), leaseName, "another", leaseFor); err != nil || !held {
		t.Fatal(held, err)
	}
	idle := s.replica(kept, named("acct_1", "acct_2"))
	summary, err := idle.Run(t.Context())
	if err != nil || len(summary.Behind) != 1 || summary.Behind[0].Since.Unix() != since || !errors.Is(summary.Stopped, errLeaseElsewhere) {
		t.Errorf("%v, %v", summary, err)
	}
	s.tick(1000)
	r.Stripe = stripe
	if summary, err = r.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantBehind(t, summary)
	wantBehind(t, observed)
	if !strings.HasPrefix(summary.String(), "catch-up complete") || !strings.Contains(r.logs.String(), "catch-up: done") {
		t.Errorf("%v", summary)
	}
}
