package rpc

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

func ofAccount(account string) func(*verification.Object) {
	return func(o *verification.Object) { o.Account = account }
}

func statusIn(account, id string) *verificationv1.GetStatusRequest {
	request := statusByID(id)
	request.Account = account
	return request
}

func retryIn(account, id string) *verificationv1.RetryVerificationRequest {
	return &verificationv1.RetryVerificationRequest{SessionId: id, Account: account}
}

// reasonOf returns the reason of an error's ErrorInfo, and "OK" without an error.
func reasonOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "OK"
	}
	return strings.TrimPrefix(detailsOf(t, err).info.GetReason(), "ERROR_REASON_")
}

// A session that has had no webhook is found at Stripe only by the account that it is in.
func TestAnUnknownSessionIsReadInItsAccount(t *testing.T) {
	for _, how := range []string{"status", "history", "retry"} {
		t.Run(how, func(t *testing.T) {
			_, stripe, r := retryBench(t)
			stripe.set(object("vs_1", "requires_input", ofAccount("acct_1")))
			ask := func(account string) error {
				if how == "retry" {
					_, err := r.RetryVerification(t.Context(), retryIn(account, "vs_1"))
					return err
				}
				request := statusIn(account, "vs_1")
				request.IncludeHistory = how == "history"
				_, err := r.GetStatus(t.Context(), request)
				return err
			}
			// A miss in one account is no miss in another.
			for _, step := range []struct{ account, want string }{
				{"", "SESSION_NOT_FOUND"}, {"acct_2", "SESSION_NOT_FOUND"}, {"acct_1", "OK"}, {"acct_2", "SESSION_NOT_FOUND"}, {"", "OK"},
			} {
				if got := reasonOf(t, ask(step.account)); got != step.want {
					t.Errorf("in %q: %s, want %s", step.account, got, step.want)
				}
			}
			if got := r.record("vs_1").Account; got != "acct_1" {
				t.Errorf("the record is of account %q, want acct_1", got)
			}
		})
	}
}

// Each copy of a session is kept from callers that name another account: the one in the cache and the one in the store.
func TestAKnownSessionOfAnotherAccountIsNotFound(t *testing.T) {
	_, stripe, r := retryBench(t)
	for id, account := range map[string]string{"vs_1": "acct_1", "vs_platform": ""} {
		r.failAt(stripe, id, 1, 1, ofAccount(account))
		eventually(t, id+" is cached", func() bool {
			r.status(id)
			return r.service.config.Live.Peek(id, 0) != nil
		})
	}
	for _, test := range []struct {
		account, id, want string
	}{
		{"acct_1", "vs_1", "OK"}, {"", "vs_1", "OK"}, {"acct_2", "vs_1", "SESSION_NOT_FOUND"}, {"acct_", "vs_1", "INVALID_REQUEST"},
		{"", "vs_platform", "OK"}, {"acct_1", "vs_platform", "SESSION_NOT_FOUND"},
	} {
		for _, change := range []func(*verificationv1.GetStatusRequest){
			func(*verificationv1.GetStatusRequest) {},
			func(r *verificationv1.GetStatusRequest) { r.MinRevision = 1 },
			func(r *verificationv1.GetStatusRequest) { r.IncludeHistory = true },
		} {
			request := statusIn(test.account, test.id)
			change(request)
			if response, err := r.GetStatus(t.Context(), request); reasonOf(t, err) != test.want || err != nil && response != nil {
				t.Errorf("%v: %v, %v; want %s", request, response, err, test.want)
			}
		}
		gets, _, _ := stripe.counts()
		_, err := r.RetryVerification(t.Context(), retryIn(test.account, test.id))
		if got := reasonOf(t, err); got != test.want {
			t.Errorf("retry of %s in %q: %s, want %s", test.id, test.account, got, test.want)
		}
		if now, _, _ := stripe.counts(); (now > gets) != (test.want == "OK") {
			t.Errorf("retry of %s in %q: %d GETs", test.id, test.account, now-gets)
		}
	}
	// Another account's revision is neither waited for nor called lost.
	request := statusIn("acct_2", "vs_1")
	request.MinRevision = 99
	_, err := r.GetStatus(t.Context(), request)
	wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}

// A later event adds the account of a session that a replica of the version before has stored without it. That makes no
// revision, so a cached session can lack it.
func TestAnAccountThatIsAddedIsFound(t *testing.T) {
	b, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	eventually(t, "vs_1 is cached", func() bool {
		r.status("vs_1")
		return r.service.config.Live.Peek("vs_1", 0) != nil
	})
	another := b.replica(t)
	another.apply(eventOf(2, 1, object("vs_1", "requires_input", failure("document_expired", 1), ofAccount("acct_1"))))
	for _, r := range []*replica{r, another} {
		if _, err := r.GetStatus(t.Context(), statusIn("acct_1", "vs_1")); err != nil {
			t.Error(err)
		}
		_, err := r.GetStatus(t.Context(), statusIn("acct_2", "vs_1"))
		if got := reasonOf(t, err); got != "SESSION_NOT_FOUND" {
			t.Errorf("in acct_2: %s", got)
		}
	}
}

// A caller can name the platform's own account, if the server knows it. Its sessions have no account here.
func TestThePlatformCanBeNamed(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe()
	b.stripe = stripe
	r := b.replica(t, func(c *Config) { c.Platform = func() string { return "acct_platform" } })
	r.failAt(stripe, "vs_platform", 1, 1)
	r.failAt(stripe, "vs_1", 1, 1, ofAccount("acct_1"))
	stripe.set(object("vs_unknown", "requires_input"))
	for _, test := range []struct{ account, id, want string }{
		{"acct_platform", "vs_platform", "OK"}, {"acct_1", "vs_platform", "SESSION_NOT_FOUND"},
		{"acct_platform", "vs_1", "SESSION_NOT_FOUND"}, {"acct_1", "vs_1", "OK"},
		{"acct_1", "vs_unknown", "SESSION_NOT_FOUND"}, {"acct_platform", "vs_unknown", "OK"},
	} {
		_, err := r.GetStatus(t.Context(), statusIn(test.account, test.id))
		if got := reasonOf(t, err); got != test.want {
			t.Errorf("status of %s in %q: %s, want %s", test.id, test.account, got, test.want)
		}
		_, err = r.GetStatus(t.Context(), statusIn(test.account, test.id)) // perhaps from the cache
		if got := reasonOf(t, err); got != test.want {
			t.Errorf("status of %s in %q again: %s, want %s", test.id, test.account, got, test.want)
		}
		_, err = r.RetryVerification(t.Context(), retryIn(test.account, test.id))
		if got := reasonOf(t, err); got != test.want {
			t.Errorf("retry of %s in %q: %s, want %s", test.id, test.account, got, test.want)
		}
	}
	if got := r.record("vs_unknown").Account; got != "" {
		t.Errorf("the record is of account %q, want the platform", got)
	}
}

func TestWhichAccountsAreTaken(t *testing.T) {
	for account, good := range map[string]bool{
		"": true, "acct_1": true, "acct_1Abc_9": true, "acct_" + strings.Repeat("x", 250): true,
		"acct_": false, "acct_" + strings.Repeat("x", 251): false, "vs_1": false, "ACCT_1": false, "acct_1 ": false, "acct_1\n": false, "acct_1/acct_2": false, "acct_ä": false,
	} {
		if got := checkAccount(account); (got == nil) != good || !good && blamed(got) != "account" {
			t.Errorf("%q: %v", account, got)
		}
	}
	_, _, r := retryBench(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("person"), ofAccount("acct_1"))))
	byReference := statusByReference("person")
	byReference.Account = "acct_1" // the right one
	_, status := r.GetStatus(t.Context(), byReference)
	_, bad := r.GetStatus(t.Context(), statusIn("x", "vs_1"))
	_, retry := r.RetryVerification(t.Context(), retryIn("x", "vs_1"))
	for name, err := range map[string]error{"with a reference": status, "a bad one": bad, "a bad one for a retry": retry} {
		if d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST); d.field() != "account" {
			t.Errorf("%s: blames %q, want account", name, d.field())
		}
	}
}

// STRIPE_ACCOUNTS holds for the accounts that callers name. Nothing is sent to Stripe for another one.
func TestAnAccountThatIsNotAcceptedIsRefused(t *testing.T) {
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Stripe-Account")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"resource_missing"}}`))
	}))
	b := newBackend(t)
	api, err := stripeapi.New(stripeapi.Config{
		Key: func() verification.Secret { return "sk_test_1" }, Base: server.URL, RatePerSecond: 10_000, Logger: b.logger,
		Accounts: verification.NewAccounts([]string{"acct_1"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close(); server.Close() })
	b.stripe = api
	r := b.replica(t)
	for account, want := range map[string]string{"acct_2": "STRIPE_NOT_CONFIGURED", "acct_1": "SESSION_NOT_FOUND", "": "SESSION_NOT_FOUND"} {
		_, err := r.GetStatus(t.Context(), statusIn(account, "vs_1"))
		if got := reasonOf(t, err); got != want {
			t.Errorf("status in %q: %s, want %s", account, got, want)
		}
		_, err = r.RetryVerification(t.Context(), retryIn(account, "vs_1"))
		if got := reasonOf(t, err); got != want {
			t.Errorf("retry in %q: %s, want %s", account, got, want)
		}
	}
	close(asked)
	var accounts []string
	for account := range asked {
		accounts = append(accounts, account)
	}
	if slices.Sort(accounts); !slices.Equal(accounts, []string{"", "acct_1"}) {
		t.Errorf("Stripe was asked in %q, want in the platform and in acct_1, once each", accounts)
	}
}

// The store can lose the successor of a session. It is in the account of the session, whether a caller names that or not.
func TestALostSuccessorIsReadInTheAccountOfItsPredecessor(t *testing.T) {
	redis := redistest.Imitate(t)
	b := newBackendAt(redis.Addr(), "")
	stripe, r := b.retries(t)
	r.closed(stripe, "vs_1", ofAccount("acct_1"))
	for _, account := range []string{"", "acct_1"} {
		request := replaceRequest("vs_1")
		request.Account = account
		if v := r.retry(request).GetVerification(); v.GetSessionId() != "vs_1r" || v.GetAccount() != "acct_1" {
			t.Errorf("in %q: %v, want vs_1r of acct_1", account, v)
		}
		for _, key := range redis.Keys() {
			if strings.Contains(key, "vs_1r") {
				redis.Del(key)
			}
		}
	}
	if _, _, creates := stripe.counts(); creates != 1 {
		t.Errorf("%d sessions were created, want 1", creates)
	}
}
