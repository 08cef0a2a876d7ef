package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestSessionsOfAccounts: whatever names the account of an event, its session is kept with this account, and a retry reaches
// it at Stripe.
func TestSessionsOfAccounts(t *testing.T) {
	t.Parallel()
	const org, own, ownSecret = "sk_org_test_1", "sk_test_own", "whsec_of_an_account"
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(rig.APIKey+"\nacct_1 "+own+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings []string
		endpoint stripesim.Endpoint
		want     string // how each request names its account
	}{
		"a connected account":               {nil, stripesim.Endpoint{}, "account"},
		"an organization and its key":       {[]string{"STRIPE_API_KEY=" + org, "STRIPE_ACCOUNTS=acct_1"}, stripesim.Endpoint{Organization: "org_1", PathContext: true}, "context"},
		"an organization, by another key":   {nil, stripesim.Endpoint{Organization: "org_1"}, "context"},
		"thin events of an organization":    {[]string{"STRIPE_API_KEY=" + org}, stripesim.Endpoint{Organization: "org_1", Style: stripesim.Thin}, "context"},
		"an account with a key of its own":  {[]string{"STRIPE_API_KEY=", "STRIPE_API_KEY_FILE=" + keys}, stripesim.Endpoint{}, "key"},
		"an account with an endpoint alone": {[]string{"STRIPE_API_KEY=", "STRIPE_API_KEY_FILE=" + keys, "STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret + ",acct_1 " + ownSecret}, stripesim.Endpoint{Account: "acct_1", Secrets: []string{ownSecret}}, "key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stripe, redis := rig.StartFakeStripe(t, func(c *stripesim.Config) {
				c.Keys = []stripesim.Key{{Value: org}, {Value: own, Account: "acct_1"}}
			}), redistest.Start(t)
			var mu sync.Mutex
			named := map[string]int{}
			stripe.AnswerWith(func(_ http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v1/") {
					return false
				}
				how := "nothing"
				switch {
				case r.Header.Get("Stripe-Account") == "acct_1":
					how = "account"
				case r.Header.Get("Stripe-Context") == "acct_1":
					how = "context"
				case r.Header.Get("Authorization") == "Bearer "+own:
					how = "key"
				}
				mu.Lock()
				defer mu.Unlock()
				named[how]++
				return false
			})
			p := rig.Serve(t, stripe.Settings(redis.Addr, test.settings...))
			to := test.endpoint
			to.URL = p.Webhook
			if to.Secrets == nil {
				to.Secrets = []string{rig.WebhookSecret}
			}
			if err := stripe.SetEndpoints(to); err != nil {
				t.Fatal(err)
			}
			made, err := stripe.Create(stripesim.NewSession{Account: "acct_1"})
			if err != nil {
				t.Fatal(err)
			}
			stripe.AwaitDelivered()
			stripe.SubmitAndFinish(made.ID, "document_expired")
			client := rig.ClientOf(t, p)
			if v := rig.GetStatus(t, client, made.ID).GetVerification(); v.GetAccount() != "acct_1" || v.GetRetry().GetFailedAttempts() != 1 {
				t.Errorf("account %q, %d failed attempts; want acct_1 and 1", v.GetAccount(), v.GetRetry().GetFailedAttempts())
			}
			if retried := rig.MustRetry(t, client, &verificationv1.RetryVerificationRequest{SessionId: made.ID}); retried.GetUrl() == "" {
				t.Error("the retry gave no link")
			}
			mu.Lock()
			defer mu.Unlock()
			for how, times := range named {
				if how != test.want && how != "nothing" || how == "nothing" && strings.HasPrefix(test.endpoint.Organization, "org") && strings.Contains(strings.Join(test.settings, ""), org) {
					t.Errorf("%d requests named the account by %s; want %s: %v", times, how, test.want, named)
				}
			}
			if named[test.want] == 0 {
				t.Errorf("no request named the account by %s: %v", test.want, named)
			}
		})
	}
}

// TestAnAccountThatRevokesItsAccess: from the event on nothing is requested for it, on all replicas, and the other accounts
// are served.
func TestAnAccountThatRevokesItsAccess(t *testing.T) {
	t.Parallel()
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	p, other := rig.Serve(t, stripe.Settings(redis.Addr)), rig.Serve(t, stripe.Settings(redis.Addr))
	for _, process := range []*rig.Process{p, other} { // a replica that has asked about an account learns of an event within 15 s
		process.Await("the first catch-up is over", func() bool { return strings.Contains(process.Stderr.String(), "catch-up: done") })
	}
	if err := stripe.SetEndpoints(stripesim.Endpoint{URL: p.Webhook, Secrets: []string{rig.WebhookSecret}, EnabledEvents: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, account := range []string{"acct_gone", "acct_stays"} {
		made, err := stripe.Create(stripesim.NewSession{Account: account})
		if err != nil {
			t.Fatal(err)
		}
		stripe.AwaitDelivered()
		stripe.SubmitAndFinish(made.ID, "document_expired")
		ids[account] = made.ID
	}
	stripe.Do(stripe.Deauthorize, "acct_gone")
	var mu sync.Mutex
	requests := 0
	stripe.AnswerWith(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Stripe-Account") == "acct_gone" {
			requests++
		}
		return false
	})
	for name, process := range map[string]*rig.Process{"the replica with the event": p, "another replica": other} {
		client := rig.ClientOf(t, process)
		_, err := rig.Retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: ids["acct_gone"]})
		if info := rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED); info.GetMetadata()["stripe_code"] != "account_invalid" {
			t.Errorf("%s: %v; want the stripe_code account_invalid", name, info)
		}
		rig.MustRetry(t, client, &verificationv1.RetryVerificationRequest{SessionId: ids["acct_stays"]})
	}
	mu.Lock()
	defer mu.Unlock()
	if requests != 0 {
		t.Errorf("%d requests for the account after its event; want 0", requests)
	}
}
