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

// named sets STRIPE_ACCOUNTS.
func named(accounts ...string) func(*Config, *stripeapi.Config) {
	return func(c *Config, _ *stripeapi.Config) { c.Accounts = verification.NewAccounts(accounts) }
}

// missing returns the sessions that are not stored.
func (m *fakeStore) missing(ids ...string) (missing []string) {
	for _, id := range ids {
		if !m.session(id).Exists() {
			missing = append(missing, id)
		}
	}
	return missing
}

// lose removes sessions, as a failover does. The names of accounts, the cursors and the marks stay.
func (m *fakeStore) lose(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.sessions, id)
	}
}

// loseAll empties the store, as FLUSHALL does.
func (m *fakeStore) loseAll() {
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
	if summary.Complete() != (len(want) == 0 && summary.Stopped == nil) || (summary.Err() == nil) != summary.Complete() {
		t.Errorf("complete: %v, error %v\n%v", summary.Complete(), summary.Err(), summary)
	}
}

// TestG3_NamedAccountsAreCaughtUpFromTheFirstStart: the accounts in the settings are caught up before any of their
// sessions is known: at the first start, and after the store has lost everything.
func TestG3_NamedAccountsAreCaughtUpFromTheFirstStart(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
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

// TestG3_KnownAccountsAreCaughtUpAfterATotalLoss: without STRIPE_ACCOUNTS the accounts with a known session are
// caught up, even if the store loses their names while the process runs.
func TestG3_KnownAccountsAreCaughtUpAfterATotalLoss(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
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

// failing is a Stripe whose list fails for one account from its n-th page on.
type failing struct {
	Stripe
	account string
	page    int // 0: the first
	err     error
	asked   *int
}

func (f failing) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	if account != f.account {
		return f.Stripe.Events(ctx, account, query)
	}
	*f.asked++
	if *f.asked > f.page {
		return verification.EventPage{}, f.err
	}
	return f.Stripe.Events(ctx, account, query)
}

// TestG3_AFullRunIsOwedToEachAccountUntilItIsDone: after a loss each account needs a full run. If a full run did not
// reach the end of an account, the account still needs it, whatever the reason was and whichever replica runs next.
// The other accounts are not read from the beginning again.
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
		"its list stands": fmt.Errorf("%w: its list of events does not continue", verification.ErrStripeUnavailable),
	}
	for name, fault := range faults {
		for _, account := range []string{"", "acct_1"} {
			for page := range 2 {
				t.Run(fmt.Sprintf("%s of %q on page %d", name, account, page+1), func(t *testing.T) {
					s, kept := newStripe(t), newFakeStore()
					sessions := map[string][]string{}
					for _, of := range []string{"", "acct_1", "acct_2"} {
						count := 8
						if of == account {
							count = 30 // two pages of events
						}
						sessions[of] = s.live(count, of)
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
					stripe := r.config.Stripe
					r.config.Stripe = failing{stripe, account, page, fault, new(int)}
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
					r.config.Stripe = stripe
					if third := r.run(); third.Events > 20 {
						t.Errorf("the full run is done, and still: %v", third)
					}
				})
			}
		}
	}
}

// TestG3_AFullRunIsOwedAfterARunThatEnded: the request for a full run survives everything that ends the run for all
// accounts.
func TestG3_AFullRunIsOwedAfterARunThatEnded(t *testing.T) {
	for name, end := range map[string]func(kept *fakeStore, cancel func()){
		"its context ends":              func(_ *fakeStore, cancel func()) { cancel() },
		"the lease is lost":             func(kept *fakeStore, _ func()) { kept.holder, kept.until = "another", kept.clock().Add(leaseFor) },
		"the store becomes unavailable": func(kept *fakeStore, _ func()) { kept.fail = func(string, string) error { return errStore } },
		"the process restarts":          func(_ *fakeStore, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
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

// TestG3_AFullRunIsOwedEachTimeTheStoreIsEmptied: an empty store does not know which losses had their full run. Each
// time it is emptied, between two runs or during one, another full run is necessary, even in a process that has done
// one.
func TestG3_AFullRunIsOwedEachTimeTheStoreIsEmptied(t *testing.T) {
	for name, inRun := range map[string]bool{"between two runs": false, "in the middle of a run": true} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
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

// TestG3_ALossIsNotedWhenTheStoreIsBack: if the store could not take a loss, it is stored later.
func TestG3_ALossIsNotedWhenTheStoreIsBack(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
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

// TestG3_AnAccountThatIsNamedAgain: an account that left the settings before a loss and is in them again gets its
// full run.
func TestG3_AnAccountThatIsNamedAgain(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
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

// TestG3_AccountsBehindAndSinceWhen: all replicas and runs agree since when an account is behind. It ends when the
// account is caught up.
func TestG3_AccountsBehindAndSinceWhen(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	kept.clock = func() time.Time { return time.Unix(s.now.Load(), 0) }
	s.live(2, "")
	s.live(2, "acct_1")
	s.tick(1000)
	var observed Summary
	r := s.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Accounts = verification.NewAccounts([]string{"acct_1", "acct_2"})
		c.Observe = func(summary Summary, _ error) { observed = summary }
	})
	stripe := r.config.Stripe
	r.config.Stripe = refusing{stripe, "acct_1", &verification.StripeRefusedError{Code: "testing"}}
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
	r.config.Stripe = stripe
	if summary, err = r.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantBehind(t, summary)
	wantBehind(t, observed)
	if !strings.HasPrefix(summary.String(), "catch-up complete") || !strings.Contains(r.logs.String(), "catch-up: done") {
		t.Errorf("%v", summary)
	}
}
