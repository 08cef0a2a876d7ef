package rpc

import (
	"fmt"
	"strings"
	"testing"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestClienttestKnowsAccountsAndKeysAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	p.set(object("vs_1", "requires_input", failure("document_expired", 1), reference("person"), ofAccount("acct_1")))
	p.set(object("vs_2", "requires_input", reference("somebody")))
	p.set(object("vs_canceled", "canceled", ofAccount("acct_1")))
	type row struct {
		name, code string
		call       call
	}
	var rows []row
	add := func(name, code string, c call) { rows = append(rows, row{name, code, c}) }
	for account, codes := range map[string][3]string{ // of vs_1, of vs_2 and of a session that nobody knows
		"": {"OK", "OK", "NotFound"}, "acct_1": {"OK", "NotFound", "NotFound"}, "acct_2": {"NotFound", "NotFound", "NotFound"},
		"x": {"InvalidArgument", "InvalidArgument", "InvalidArgument"}, "acct_": {"InvalidArgument", "InvalidArgument", "InvalidArgument"},
		"acct_" + strings.Repeat("x", 251): {"InvalidArgument", "InvalidArgument", "InvalidArgument"},
	} {
		for n, id := range []string{"vs_1", "vs_2", "vs_none"} {
			name := fmt.Sprintf("%s in %.20q", id, account)
			add("status of "+name, codes[n], p.get(statusIn(account, id)))
			add("history of "+name, codes[n], p.get(changed(statusIn(account, id), func(r *verificationv1.GetStatusRequest) { r.IncludeHistory = true })))
			add("retry of "+name, codes[n], p.retry(retryIn(account, id)))
			add("key of "+name, codes[n], p.retry(changed(retryIn(account, id), func(r *verificationv1.RetryVerificationRequest) { r.EphemeralKeyVersion = libraryVersion })))
		}
	}
	at := func(revision int32) func(*verificationv1.GetStatusRequest) {
		return func(r *verificationv1.GetStatusRequest) { r.MinRevision = revision }
	}
	add("status at a revision", "OK", p.get(changed(statusIn("acct_1", "vs_1"), at(1))))
	add("status in another account beyond the last revision", "NotFound", p.get(changed(statusIn("acct_2", "vs_1"), at(99))))
	add("status of nobody at a revision", "OutOfRange", p.get(changed(statusIn("acct_2", "vs_none"), at(99))))
	add("status in no account at a negative revision", "InvalidArgument", p.get(changed(statusIn("x", "vs_1"), at(-1))))
	add("status of a bad id in no account", "InvalidArgument", p.get(statusIn("x", "x")))
	for _, reference := range []string{"person", "nobody", ""} {
		add("status of reference "+reference+" in an account", "InvalidArgument",
			p.get(changed(statusByReference(reference), func(r *verificationv1.GetStatusRequest) { r.Account = "acct_1" })))
	}
	for _, version := range []string{"newest", "2026-09-30.", "2026-09-30\n", "1999-01-01"} {
		add("key of version "+version, "InvalidArgument", p.retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1", EphemeralKeyVersion: version}))
	}
	add("nothing right", "InvalidArgument", p.retry(&verificationv1.RetryVerificationRequest{SessionId: "x", ReturnUrl: "x", EphemeralKeyVersion: "x", Account: "x"}))
	add("only the id right", "InvalidArgument", p.retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1", ReturnUrl: "x", EphemeralKeyVersion: "x", Account: "x"}))
	add("only the account and the version wrong", "InvalidArgument", p.retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1", EphemeralKeyVersion: "x", Account: "x"}))
	replace := func(account string) *verificationv1.RetryVerificationRequest {
		return &verificationv1.RetryVerificationRequest{SessionId: "vs_canceled", ReplaceClosed: true, EphemeralKeyVersion: libraryVersion, Account: account}
	}
	add("replace in another account", "NotFound", p.retry(replace("acct_2")))
	add("replace", "OK", p.retry(replace("acct_1")))
	add("replace again", "OK", p.retry(replace("")))
	add("replace again in another account", "NotFound", p.retry(replace("acct_2")))
	for _, row := range rows {
		if got := p.same(row.name, row.call); got.Code != row.code {
			t.Errorf("%s: %s, want %s", row.name, got.Code, row.code)
		}
	}
}

// clienttest knows no Stripe: a test says what Stripe refuses.
func TestClienttestRefusesForStripeAsTheServerDoes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fakeStripe)
		err    error
	}{
		"no link":         {func(f *fakeStripe) { f.linkless = true }, clienttest.StripeRefused("no_link")},
		"unknown session": {func(f *fakeStripe) { delete(f.sessions, "vs_1") }, clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN)},
	} {
		p := newPair(t)
		p.set(object("vs_1", "requires_input", failure("document_expired", 1)))
		p.stripe.change(func() { test.change(p.stripe) })
		p.fake.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
			return nil, test.err
		})
		if got := p.same(name, p.retry(retryRequest("vs_1"))); got.Code != "FailedPrecondition" {
			t.Errorf("%s: %s, want FailedPrecondition", name, got.Code)
		}
	}
}
