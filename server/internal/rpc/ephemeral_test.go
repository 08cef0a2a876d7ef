package rpc

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

const libraryVersion = "2026-09-30.endive"

func keyRequest(id string) *verificationv1.RetryVerificationRequest {
	return &verificationv1.RetryVerificationRequest{SessionId: id, EphemeralKeyVersion: libraryVersion}
}

func TestARetryForAMobileLibraryHasAKey(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1, ofAccount("acct_1"))
	first, second := r.retry(keyRequest("vs_1")), r.retry(keyRequest("vs_1")) // retry wants a link too
	if first.GetEphemeralKeySecret() != "ek_test_vs_1_1" || second.GetEphemeralKeySecret() != "ek_test_vs_1_2" {
		t.Errorf("keys %q and %q, want a new one for each call", first.GetEphemeralKeySecret(), second.GetEphemeralKeySecret())
	}
	if granted := second.GetVerification().GetRetry().GetRetriesGranted(); granted != 1 {
		t.Errorf("%d retries granted, want 1", granted)
	}
	if want := slices.Repeat([]string{"acct_1 vs_1 " + libraryVersion}, 2); !slices.Equal(stripe.keys, want) {
		t.Errorf("Stripe was asked for %q, want %q", stripe.keys, want)
	}
	if response := r.retry(retryRequest("vs_1")); response.GetEphemeralKeySecret() != "" || len(stripe.keys) != 2 {
		t.Errorf("without a version: key %q, %d keys made", response.GetEphemeralKeySecret(), len(stripe.keys))
	}
}

func TestTheKeyOfAReplacementIsForTheNewSession(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	request := keyRequest("vs_1")
	request.ReplaceClosed = true
	if secret := r.retry(request).GetEphemeralKeySecret(); secret != "ek_test_vs_1r_1" {
		t.Errorf("key %q, want one of vs_1r", secret)
	}
}

// A key is as good as a link: it is made where a link is given, and nowhere else.
func TestNoKeyIsMadeWithoutAGrant(t *testing.T) {
	_, stripe, r := retryBench(t)
	for id, o := range map[string]verification.Object{
		"vs_verified": object("vs_verified", "verified"), "vs_closed": object("vs_closed", "canceled"),
		"vs_denied":   object("vs_denied", "requires_input", failure("selfie_manipulated", 1)),
		"vs_linkless": object("vs_linkless", "requires_input", failure("document_expired", 1)),
	} {
		stripe.set(o)
		r.apply(eventOf(1, 1, o))
		stripe.change(func() { stripe.linkless = id == "vs_linkless" })
		if _, err := r.RetryVerification(t.Context(), keyRequest(id)); err == nil {
			t.Errorf("%s: a retry", id)
		}
	}
	if _, err := r.RetryVerification(t.Context(), keyRequest("vs_unknown")); err == nil {
		t.Error("vs_unknown: a retry")
	}
	if len(stripe.keys) != 0 {
		t.Errorf("keys were made: %q", stripe.keys)
	}
}

// The grant is committed when Stripe makes no key. The call is repeated, and uses nothing.
func TestAKeyThatFailsIsMadeByTheNextCall(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	for _, test := range []struct {
		fault  error
		code   codes.Code
		reason verificationv1.ErrorReason
	}{
		{&verification.StripeRefusedError{Code: "parameter_invalid"}, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED},
		{verification.ErrStripeUnavailable, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE},
		{verification.ErrStripeUnauthorized, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE},
	} {
		stripe.change(func() { stripe.keyFail = test.fault })
		response, err := r.RetryVerification(t.Context(), keyRequest("vs_1"))
		wantError(t, err, test.code, test.reason)
		if response != nil {
			t.Errorf("%v: a response: %v", test.fault, response)
		}
	}
	stripe.change(func() { stripe.keyFail = nil })
	response := r.retry(keyRequest("vs_1"))
	if response.GetEphemeralKeySecret() == "" || response.GetVerification().GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("%v, want a key and 1 retry granted", response)
	}
}

func TestWhichVersionsAreTaken(t *testing.T) {
	for version, good := range map[string]bool{
		"": true, "2026-09-30.endive": true, "2023-10-16": true, "2020-03-02": true, "2026-08-26.dahlia": true,
		"1999-01-01": false, "2026-09-30.": false, "2026-09-30.Endive": false, "2026-09-30.endive2": false, "2026-9-30": false, "endive": false,
		"2026-09-30.endive\n": false, "2026-09-30\r\nStripe-Account: acct_1": false, "2026-09-30.endive; a_beta=v1": false, "2026-09-30." + strings.Repeat("x", 51): false,
	} {
		if got := checkKeyVersion(version); (got == nil) != good || !good && blamed(got) != "ephemeral_key_version" {
			t.Errorf("%q: %v", version, got)
		}
	}
	_, _, r := retryBench(t)
	_, err := r.RetryVerification(t.Context(), &verificationv1.RetryVerificationRequest{SessionId: "vs_1", EphemeralKeyVersion: "newest"})
	if d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST); d.field() != "ephemeral_key_version" {
		t.Errorf("blames %q", d.field())
	}
}

// A caller that may not call GetStatus gets what its person continues with.
func TestACallerThatMayOnlyRetryGetsItsKey(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe()
	b.stripe = stripe
	r := b.replica(t, func(c *Config) { c.MayRead = func(context.Context) bool { return false } })
	r.failAt(stripe, "vs_1", 1, 1)
	if response := r.retry(keyRequest("vs_1")); response.GetEphemeralKeySecret() == "" || response.GetVerification().GetLastError() != nil {
		t.Errorf("%v, want a key, and no more of the session than its state", response)
	}
}
