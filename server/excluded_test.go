package main

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
)

// TestNothingOfAnExcludedAccountIsReadAtStripe: not for a retry, nor for a caller who has seen more,
// nor by the catch-up. What was kept of it before is served.
func TestNothingOfAnExcludedAccountIsReadAtStripe(t *testing.T) {
	t.Parallel()
	stripe, redis := startStripe(t), redistest.Start(t)
	first := serve(t, stripe.settings(redis.Addr))
	stripe.sendTo(first)
	made, err := stripe.Create(stripesim.NewSession{Account: "acct_1Abc", ClientReferenceID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	stripe.settle()
	stripe.submit(made.ID, "document_expired")
	first.signal(syscall.SIGTERM)
	first.exit(soon)

	var reads atomic.Int32
	stripe.answerWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Stripe-Account") == "acct_1Abc" {
			reads.Add(1)
		}
		return false
	})
	ask := func(p *process) (retried, fresher error) {
		client := dialed(t, p)
		_, retried = retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: made.ID})
		bySession := &verificationv1.GetStatusRequest_SessionId{SessionId: made.ID}
		_, fresher = client.GetStatus(within(t, soon), &verificationv1.GetStatusRequest{Subject: bySession, MinRevision: 50})
		if v := getStatus(t, client, made.ID).GetVerification(); v.GetAccount() != "acct_1Abc" || v.GetRetry().GetFailedAttempts() != 1 {
			t.Errorf("what was kept is served as %v", v)
		}
		return retried, fresher
	}
	retried, fresher := ask(serve(t, stripe.settings(redis.Addr, "STRIPE_ACCOUNTS=acct_other")))
	wantError(t, retried, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED)
	wantError(t, fresher, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
	if n := reads.Load(); n != 0 {
		t.Errorf("%d reads of the excluded account", n)
	}
	if retried, _ = ask(serve(t, stripe.settings(redis.Addr, "STRIPE_ACCOUNTS=acct_1Abc"))); retried != nil || reads.Load() < 2 {
		t.Errorf("accepted again: %v, %d reads", retried, reads.Load())
	}
}
