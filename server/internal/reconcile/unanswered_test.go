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

// silentFor gives no answer for some accounts.
type silentFor struct {
	Stripe
	accounts map[string]bool
}

func (s silentFor) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	if s.accounts[account] {
		return verification.EventPage{}, verification.ErrStripeUnavailable
	}
	return s.Stripe.Events(ctx, account, query)
}

// TestAccountsWithoutAnAnswerKeepNoOtherAway: however many accounts get no answer of Stripe, the others are caught
// up, and a silent account is caught up when Stripe answers again. If no account gets an answer, the run ends soon.
func TestAccountsWithoutAnAnswerKeepNoOtherAway(t *testing.T) {
	t.Parallel()
	s, kept := newStripe(t), newFakeStore()
	silent, accounts := map[string]bool{}, []string{}
	for n := range 8 {
		accounts = append(accounts, fmt.Sprint("acct_", n))
		silent[accounts[n]] = n < 6
		s.live(1, accounts[n])
	}
	processing(s, s.replica(kept, quiet), 1, "")
	s.tick(3600)
	r := s.replica(kept, named(accounts...))
	r.config.Stripe = silentFor{r.config.Stripe, silent}
	// The first run may meet three of them in a row, and takes Stripe for away.
	for range 20 {
		if _, err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.tick(1000)
	}
	for n, account := range accounts {
		if moved := kept.cursor(account) != 0; moved != (n >= 6) {
			t.Errorf("%s: cursor %d", account, kept.cursor(account))
		}
	}
	silent["acct_0"] = false
	for range 100 { // the order of those that are behind is random: seldom more than 20 runs
		if kept.cursor("acct_0") != 0 {
			break
		}
		if _, err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.tick(1000)
	}
	if kept.cursor("acct_0") == 0 {
		t.Error("an account that Stripe answers for again was not caught up")
	}
	asked := &asking{Stripe: silentFor{r.config.Stripe, map[string]bool{"": true, "acct_0": true, "acct_6": true, "acct_7": true}}}
	r.config.Stripe = asked
	summary, err := r.Run(t.Context())
	if err != nil || !errors.Is(summary.Stopped, verification.ErrStripeUnavailable) || len(asked.accounts) != maxUnanswered*tries || len(summary.Behind) != 9 {
		t.Errorf("%d requests, %v, %v", len(asked.accounts), err, summary)
	}
}

// TestG3_EventsThatCouldNotBeAppliedAreAppliedLater: an event is applied, by any process, as soon as its record can
// be read and written again. Until then the account is behind, and the other events are applied.
func TestG3_EventsThatCouldNotBeAppliedAreAppliedLater(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{"unreadable": store.ErrCorrupt, "always overtaken": store.ErrConflict} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restart ", restart), func(t *testing.T) {
				s, kept := newStripe(t), newFakeStore()
				ids := s.live(8, "acct_1")
				s.tick(10_000)
				late := s.live(1, "acct_1")
				s.tick(1000)
				r := s.replica(kept, named("acct_1"))
				kept.fail = func(call, name string) error {
					if call == "update" && name == ids[2] {
						return cause
					}
					return nil
				}
				for range 3 {
					wantBehind(t, r.run(), "acct_1")
					s.tick(60)
				}
				if missing := kept.missing(append(ids[3:], late...)...); len(missing) > 0 {
					t.Errorf("missing are %v", missing)
				}
				asked := &asking{Stripe: r.config.Stripe}
				r.config.Stripe = asked
				for range 4 * 24 {
					r.run()
					s.tick(15 * 60)
				}
				// At most twice 96 runs, and a few that go back.
				if len(asked.accounts) > 2*4*24+20 {
					t.Errorf("%d requests in a day", len(asked.accounts))
				}
				kept.fail = func(string, string) error { return nil }
				if restart {
					r = s.replica(kept, named("acct_1"))
				} else {
					s.tick(24 * 60 * 60)
				}
				wantBehind(t, r.run())
				s.check(kept)
				if marks, err := kept.Marks(t.Context(), markLeft+"acct_1"); err != nil || marks[0] != 0 {
					t.Errorf("%v, %v", marks, err)
				}
			})
		}
	}
}

// dropping is a list that drops the last event of a page before the next page is requested, as if it became too old.
type dropping struct {
	Stripe
	drops int
}

func (d *dropping) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	if query.After != "" && d.drops > 0 {
		d.drops--
		return verification.EventPage{}, verification.ErrStripeUnknown
	}
	return d.Stripe.Events(ctx, account, query)
}

// TestG3_ADroppedCursorInTheList: it is not a refusal. The list is read from its beginning again.
func TestG3_ADroppedCursorInTheList(t *testing.T) {
	for _, drops := range []int{1, tries - 1, tries, 1000} {
		s, kept := newStripe(t), newFakeStore()
		s.live(100, "")
		s.tick(1000)
		r := s.replica(kept, nil)
		r.config.Stripe = &dropping{r.config.Stripe, drops}
		summary, err := r.Run(t.Context())
		if drops < tries {
			if err != nil || summary.Stopped != nil {
				t.Errorf("%d drops: %v, %v", drops, err, summary)
			}
			s.check(kept)
		} else if err != nil || !errors.Is(summary.Stopped, verification.ErrStripeUnavailable) || kept.cursor("") != 0 {
			t.Errorf("%d drops: %v, %v", drops, err, summary)
		}
	}
}

func TestACursorThatCannotBeReadIsReplaced(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(8, "")
	s.tick(1000)
	r := s.replica(kept, nil)
	kept.fail = func(call, _ string) error {
		if call == "cursor" {
			return fmt.Errorf("%w: planted", store.ErrCorrupt)
		}
		return nil
	}
	wantBehind(t, r.run())
	s.check(kept)
}

// unread is an ingest that cannot read some sessions.
type unread struct {
	Ingest
	fail map[string]error
}

func (u unread) Reread(ctx context.Context, current verification.Session) (verification.Session, error) {
	if err := u.fail[current.ID]; err != nil {
		return current, err
	}
	return u.Ingest.Reread(ctx, current)
}

// TestADueSessionWithoutAnAnswerKeepsNoOtherAway: the other due sessions are read.
func TestADueSessionWithoutAnAnswerKeepsNoOtherAway(t *testing.T) {
	for _, cause := range []error{verification.ErrStripeUnavailable, store.ErrConflict} {
		s, kept := newStripe(t), newFakeStore()
		r := s.replica(kept, quiet)
		ids := processing(s, r, 6, "")
		for _, id := range ids {
			s.must(s.FinishProcessing(id))
		}
		s.tick(3600)
		r.config.Ingest = unread{r.config.Ingest, map[string]error{ids[0]: cause}}
		summary := r.run()
		if summary.Changed != 5 || summary.Unanswered != 1 || summary.Complete() || !strings.Contains(summary.String(), "1 without an answer") {
			t.Errorf("%v: %v", cause, summary)
		}
		if summary := r.run(); summary.Unanswered != 0 || summary.Due != 1 {
			t.Errorf("%v: it does not rest: %v", cause, summary)
		}
		r.config.Ingest = r.ingest
		s.tick(3600)
		if summary := r.run(); summary.Changed != 1 {
			t.Errorf("%v: %v", cause, summary)
		}
		s.check(kept)
	}
}

// TestG3_LostSessionsThatCannotBeRead: if Stripe refuses a lost session, its events restore it. A session without an
// answer stays in the queue and blocks neither another session nor the run.
func TestG3_LostSessionsThatCannotBeRead(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	ids := s.live(6, "acct_1")
	s.tick(100_000)
	r := s.replica(kept, named("acct_1"))
	r.webhook(s.events()...)
	r.run()
	kept.lose(ids...)
	r.config.Ingest = unread{r.config.Ingest, map[string]error{
		ids[0]: verification.ErrStripeUnavailable, ids[1]: verification.ErrStripeUnauthorized, ids[2]: &verification.StripeRefusedError{Code: "x"},
	}}
	r.Lost(ids...)
	fresh := s.live(1, "acct_1")
	s.tick(1000)
	summary, err := r.pass(t.Context())
	if err != nil || !errors.Is(summary.Stopped, verification.ErrStripeUnavailable) || len(r.lost.ids) != 1 {
		t.Errorf("%d are queued, %v, %v", len(r.lost.ids), err, summary)
	}
	if missing := kept.missing(append(ids, fresh...)...); len(missing) > 0 {
		t.Errorf("missing are %v", missing)
	}
	r.config.Ingest = r.ingest
	if summary, err := r.pass(t.Context()); err != nil || !summary.Complete() || len(r.lost.ids) != 0 {
		t.Errorf("%d are queued, %v, %v", len(r.lost.ids), err, summary)
	}
	s.check(kept)
}

// TestABudgetThatIsSpentInTheMiddle: only the accounts that the run did not reach are behind.
func TestABudgetThatIsSpentInTheMiddle(t *testing.T) {
	t.Parallel()
	s, kept := newStripe(t), newFakeStore()
	s.live(2, "")
	s.live(600, "acct_1")
	s.live(2, "acct_2")
	s.tick(1000)
	day := s.now.Load()
	r := s.replica(kept, func(c *Config, api *stripeapi.Config) {
		c.Accounts = verification.NewAccounts([]string{"acct_1", "acct_2"})
		api.ReadsPerDay = 45
		api.Clock = func() time.Time { return time.Unix(day, 0) }
	})
	r.batchPages = batchPages
	summary, err := r.Run(t.Context())
	if err != nil || !errors.Is(summary.Stopped, verification.ErrStripeBudget) || len(summary.Behind) == 0 || kept.cursor("") == 0 {
		t.Errorf("%v, %v", err, summary)
	}
	for _, behind := range summary.Behind {
		if behind.Account == "" || !errors.Is(behind.Reason, verification.ErrStripeBudget) {
			t.Errorf("%+v", behind)
		}
	}
	for range 20 {
		if summary.Stopped == nil {
			break
		}
		day += 24 * 60 * 60
		if summary, err = r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantBehind(t, summary)
	s.check(kept)
}
