package e2e

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestNothingOfAnExcludedAccountIsReadAtStripe: neither a retry, nor a call with a higher min_revision, nor the catch-up
// reads a session of an excluded account. Its records of before are served.
func TestNothingOfAnExcludedAccountIsReadAtStripe(t *testing.T) {
	t.Parallel()
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	first := rig.Serve(t, stripe.Settings(redis.Addr))
	stripe.SendTo(first)
	made, err := stripe.Create(stripesim.NewSession{Account: "acct_1Abc", ClientReferenceID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	stripe.AwaitDelivered()
	stripe.SubmitAndFinish(made.ID, "document_expired")
	first.Signal(syscall.SIGTERM)
	first.Exit(rig.Soon)

	var reads atomic.Int32
	stripe.AnswerWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Stripe-Account") == "acct_1Abc" {
			reads.Add(1)
		}
		return false
	})
	ask := func(p *rig.Process) (retried, fresher error) {
		client := rig.ClientOf(t, p)
		_, retried = rig.Retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: made.ID})
		bySession := &verificationv1.GetStatusRequest_SessionId{SessionId: made.ID}
		_, fresher = client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{Subject: bySession, MinRevision: 50})
		if v := rig.GetStatus(t, client, made.ID).GetVerification(); v.GetAccount() != "acct_1Abc" || v.GetRetry().GetFailedAttempts() != 1 {
			t.Errorf("what was kept is served as %v", v)
		}
		return retried, fresher
	}
	retried, fresher := ask(rig.Serve(t, stripe.Settings(redis.Addr, "STRIPE_ACCOUNTS=acct_other")))
	rig.WantError(t, retried, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED)
	rig.WantError(t, fresher, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
	if n := reads.Load(); n != 0 {
		t.Errorf("%d reads of the excluded account", n)
	}
	if retried, _ = ask(rig.Serve(t, stripe.Settings(redis.Addr, "STRIPE_ACCOUNTS=acct_1Abc"))); retried != nil || reads.Load() < 2 {
		t.Errorf("accepted again: %v, %d reads", retried, reads.Load())
	}
}
