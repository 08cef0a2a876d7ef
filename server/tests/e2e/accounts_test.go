package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

const (
	orgKey     = "sk_org_test_0123456789"
	sandboxKey = "sk_test_sandbox0123456789"
	limitedKey = "rk_test_limited0123456789"
)

// startStripeWithKeys is a Stripe with a key of an organization, one of a sandbox, and one that cannot read sessions.
func startStripeWithKeys(t *testing.T) *rig.FakeStripe {
	return rig.StartFakeStripe(t, func(c *stripesim.Config) {
		c.Keys = []stripesim.Key{
			{Value: orgKey}, {Value: sandboxKey, Account: "acct_sandbox"}, {Value: limitedKey, Lacks: []string{stripesim.PermissionReadSessions}},
		}
	})
}

// sendTo sends an endpoint's events to a server.
func sendTo(t *testing.T, stripe *rig.FakeStripe, p *rig.Process, to stripesim.Endpoint) {
	t.Helper()
	to.URL, to.Secrets = p.Webhook, []string{rig.WebhookSecret}
	if err := stripe.SetEndpoints(to); err != nil {
		t.Fatal(err)
	}
}

// failedSession makes a session of an account whose first submission failed.
func failedSession(t *testing.T, stripe *rig.FakeStripe, account string) string {
	t.Helper()
	session, err := stripe.Create(stripesim.NewSession{Account: account})
	if err != nil {
		t.Fatal(err)
	}
	stripe.AwaitDelivered()
	stripe.SubmitAndFinish(session.ID, "document_expired")
	return session.ID
}

// TestAnOrganizationsEventsAndKey: the account is in the context alone, and each request names it there.
func TestAnOrganizationsEventsAndKey(t *testing.T) {
	t.Parallel()
	for _, path := range []bool{false, true} {
		stripe := startStripeWithKeys(t)
		p := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr, "STRIPE_API_KEY="+orgKey, "STRIPE_ACCOUNTS=acct_1"))
		sendTo(t, stripe, p, stripesim.Endpoint{Organization: "org_1", PathContext: path, Style: stripesim.Both})
		client := rig.ClientOf(t, p)
		id, foreign := failedSession(t, stripe, "acct_1"), failedSession(t, stripe, "acct_2")
		if v := rig.GetStatus(t, client, id).GetVerification(); v.GetAccount() != "acct_1" || v.GetRetry().GetFailedAttempts() != 1 {
			t.Errorf("contexts as paths %v: %v", path, v)
		}
		if url := rig.MustRetry(t, client, &verificationv1.RetryVerificationRequest{SessionId: id}).GetUrl(); url == "" {
			t.Errorf("contexts as paths %v: a retry without a link", path)
		}
		bySession := &verificationv1.GetStatusRequest_SessionId{SessionId: foreign}
		if _, err := client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{Subject: bySession}); err == nil {
			t.Errorf("contexts as paths %v: the session of an account that STRIPE_ACCOUNTS does not name is there", path)
		}
	}
}

// TestAnAccountThatLeaves: what Stripe refuses for an account that has revoked access says nothing about the API key.
func TestAnAccountThatLeaves(t *testing.T) {
	t.Parallel()
	stripe := startStripeWithKeys(t)
	p := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr))
	sendTo(t, stripe, p, stripesim.Endpoint{})
	client := rig.ClientOf(t, p)
	gone, stays := failedSession(t, stripe, "acct_gone"), failedSession(t, stripe, "acct_stays")
	if err := stripe.Deauthorize("acct_gone"); err != nil {
		t.Fatal(err)
	}
	_, err := rig.Retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: gone})
	rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED)
	rig.MustRetry(t, client, &verificationv1.RetryVerificationRequest{SessionId: stays})
	if log := p.Stderr.String(); strings.Contains(log, "check STRIPE_API_KEY") || !strings.Contains(log, "acct_gone") {
		t.Errorf("the log blames the key, or does not name the account: %s", rig.Tail(log))
	}
}

// TestTheKeyOfAnotherAccount: a session whose webhooks come and that the key does not know is no unknown session. With a key for its
// account it can be tried again.
func TestTheKeyOfAnotherAccount(t *testing.T) {
	t.Parallel()
	stripe := startStripeWithKeys(t)
	to := stripesim.Endpoint{Account: "acct_sandbox"} // its events name no account
	p := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr))
	sendTo(t, stripe, p, to)
	id := failedSession(t, stripe, "acct_sandbox")
	if v := rig.GetStatus(t, rig.ClientOf(t, p), id).GetVerification(); v.GetAccount() != "" || v.GetRetry().GetFailedAttempts() != 1 {
		t.Errorf("by its webhooks: %v", v)
	}
	_, err := rig.Retry(t, rig.ClientOf(t, p), &verificationv1.RetryVerificationRequest{SessionId: id})
	rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN)

	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(rig.APIKey+"\nacct_sandbox "+sandboxKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = rig.Serve(t, rig.Settings(redistest.Start(t).Addr, "STRIPE_API_BASE="+stripe.URL, "STRIPE_API_KEY_FILE="+keys,
		"STRIPE_WEBHOOK_SECRET=acct_sandbox "+rig.WebhookSecret))
	sendTo(t, stripe, p, to)
	id = failedSession(t, stripe, "acct_sandbox")
	if url := rig.MustRetry(t, rig.ClientOf(t, p), &verificationv1.RetryVerificationRequest{SessionId: id}).GetUrl(); url == "" {
		t.Error("with the account's own key: a retry without a link")
	}
}

// TestAKeyThatLacksAPermission: the log names the permission, and answers to callers do not.
func TestAKeyThatLacksAPermission(t *testing.T) {
	t.Parallel()
	stripe := startStripeWithKeys(t)
	p := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr, "STRIPE_API_KEY="+limitedKey))
	sendTo(t, stripe, p, stripesim.Endpoint{})
	id := failedSession(t, stripe, "")
	_, err := rig.Retry(t, rig.ClientOf(t, p), &verificationv1.RetryVerificationRequest{SessionId: id})
	if err == nil || strings.Contains(err.Error(), stripesim.PermissionReadSessions) {
		t.Errorf("the retry ends with %v", err)
	}
	p.Await("the name of the permission in the log", func() bool { return strings.Contains(p.Stderr.String(), stripesim.PermissionReadSessions) })
}
