package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestConnectedAccounts(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	own, one, two := s.live(20, ""), s.live(20, "acct_1"), s.live(20, "acct_2")
	s.tick(1000)
	r := s.replica(kept, nil)
	// One event of each account is how it is known.
	for _, event := range s.events() {
		if event.Object.ID == one[5] || event.Object.ID == two[5] {
			r.webhook(event)
		}
	}
	summary := r.run()
	s.check(kept)
	if summary.Accounts != 3 || kept.cursor("acct_1") == 0 || kept.cursor("acct_2") == 0 || kept.session(own[0]).Account != "" {
		t.Errorf("%v", summary)
	}
}

// TestAccountsThatAreNotAccepted: nothing is read of an account that is not accepted, even if its sessions are
// stored: no events, no due session, no session by its id.
func TestAccountsThatAreNotAccepted(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	own, one, two := s.live(8, ""), s.live(8, "acct_1"), s.live(8, "acct_2")
	before := s.replica(kept, nil)
	for _, event := range s.events() {
		if id := event.Object.ID; id == own[0] || id == one[0] || id == two[0] {
			before.webhook(event)
		}
	}
	// One of each is left in processing, and so will be due.
	for account, id := range map[string]string{"": "vs_own", "acct_1": "vs_one", "acct_2": "vs_two"} {
		before.webhook(verification.Event{ID: "evt_" + id, Second: s.now.Load(), Object: verification.Object{
			ID: id, Account: account, Status: verification.StatusProcessing,
		}})
	}
	s.tick(3600)
	asked := &asking{}
	r := s.replica(kept, func(c *Config, _ *stripeapi.Config) { c.Accounts = verification.NewAccounts([]string{"acct_1"}) })
	asked.Stripe, r.config.Stripe = r.config.Stripe, asked
	summary := r.run()
	if summary.Accounts != 2 || summary.Due != 2 || strings.Contains(strings.Join(asked.accounts, " "), "acct_2") {
		t.Errorf("asked for %q\n%v", asked.accounts, summary)
	}
	if kept.cursor("acct_1") == 0 || kept.cursor("acct_2") != 0 {
		t.Errorf("cursors: %d, %d", kept.cursor("acct_1"), kept.cursor("acct_2"))
	}
	for _, id := range append(own, one...) {
		if !kept.session(id).Exists() {
			t.Errorf("%s was not caught up", id)
		}
	}
	for _, id := range two[1:] {
		if kept.session(id).Exists() {
			t.Errorf("%s was caught up", id)
		}
	}
	if _, err := r.Session(t.Context(), two[0]); !errors.Is(err, verification.ErrStripeExcluded) {
		t.Errorf("one by its id: %v", err)
	}
	if _, err := r.Session(t.Context(), two[1]); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("one by its id that is not known here: %v", err)
	}
	if _, err := r.Session(t.Context(), one[0]); err != nil {
		t.Errorf("one of an account that is accepted: %v", err)
	}
}

// asking records the accounts whose events are requested.
type asking struct {
	Stripe
	accounts []string
}

func (a *asking) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	a.accounts = append(a.accounts, account)
	return a.Stripe.Events(ctx, account, query)
}

type refusing struct {
	Stripe
	account string
	err     error
}

func (r refusing) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	if account == r.account {
		return verification.EventPage{}, r.err
	}
	return r.Stripe.Events(ctx, account, query)
}

// TestRefusals: an account that revoked its permission, or a key without the permission to list events, does not
// prevent the rest of the run.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		account string
		err     error
		want    error
	}{
		"a connected account":   {"acct_1", verification.ErrStripeUnauthorized, nil},
		"the platform's key":    {"", verification.ErrStripeUnauthorized, verification.ErrStripeUnauthorized},
		"a cursor that is gone": {"acct_1", verification.ErrStripeUnknown, nil},
		"a refusal":             {"acct_1", &verification.StripeRefusedError{Code: "x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			sessions := map[string]string{"": s.live(1, "")[0], "acct_1": s.live(1, "acct_1")[0], "acct_2": s.live(1, "acct_2")[0]}
			r := s.replica(kept, nil)
			r.config.Stripe = refusing{r.config.Stripe, test.account, test.err}
			for _, event := range s.events() {
				if event.Type == verification.EventProcessing { // never ended, as far as is known here
					r.webhook(event)
				}
			}
			s.tick(3600)
			summary, err := r.Run(t.Context())
			if !errors.Is(err, test.want) || summary.Refused != 1 || summary.Accounts != 2 {
				t.Errorf("error %v, %v", err, summary)
			}
			if kept.cursor(test.account) != 0 {
				t.Error("the cursor has moved")
			}
			for account, id := range sessions {
				if got := kept.session(id).Status; got != "verified" { // by events, or else by a read
					t.Errorf("%q: %s", account, got)
				}
			}
		})
	}
}
