package rpc

import (
	"fmt"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// unfinished are the states of a session that waits for input and shows no counted failure. None of them may open
// the way again to a person who has no retry left.
var unfinished = map[string]func(*verification.Object){
	"abandoned": func(o *verification.Object) {
		o.Error = verification.Error{Code: verification.CodeAbandoned, Reason: "Left."}
	},
	"abandoned, with a report": func(o *verification.Object) {
		o.Error, o.Report = verification.Error{Code: verification.CodeAbandoned, Reason: "Left."}, "vr_abandoned"
	},
	"without an error": func(*verification.Object) {},
}

// comesTo makes a state the session's, at Stripe and here, later than all before it.
func (r *replica) comesTo(stripe *fakeStripe, id string, n int, change func(*verification.Object)) {
	r.t.Helper()
	o := object(id, "requires_input", change)
	stripe.set(o)
	r.apply(eventOf(n, int64(n)*2_000_000, o))
}

func TestG9_AnUnfinishedAttemptDoesNotLiftTheLimit(t *testing.T) {
	for name, change := range unfinished {
		t.Run(name, func(t *testing.T) {
			_, stripe, r := retryBench(t)
			for n := 1; n <= 3; n++ {
				r.comesTo(stripe, "vs_1", n, failure("document_expired", n))
				if n < 3 {
					r.retry(retryRequest("vs_1"))
					r.retry(retryRequest("vs_1")) // a second link, for another tab
				}
			}
			r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
			for n := 4; n <= 8; n += 2 {
				r.comesTo(stripe, "vs_1", n, change)
				r.wantDenied("vs_1", verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
				r.comesTo(stripe, "vs_1", n+1, failure("document_expired", n))
				r.wantDenied("vs_1", verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
			}
			if v := r.status("vs_1").GetRetry(); v.GetRetriesGranted() != 2 {
				t.Errorf("granted %d; want 2", v.GetRetriesGranted())
			}
		})
	}
}

func TestG9_AnUnfinishedAttemptDoesNotHealWhatCannotBeRetried(t *testing.T) {
	for name, change := range unfinished {
		t.Run(name, func(t *testing.T) {
			_, stripe, r := retryBench(t)
			r.comesTo(stripe, "vs_1", 1, failure("under_supported_age", 1))
			r.wantDenied("vs_1", verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)
			r.comesTo(stripe, "vs_1", 2, change)
			r.wantDenied("vs_1", verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)
		})
	}
}

// A failure without a grant gets one when a link is asked for in the state after it, and that is used once.
func TestG9_AnUnfinishedAttemptUsesTheGrantOfTheFailureBeforeIt(t *testing.T) {
	for name, change := range unfinished {
		t.Run(name, func(t *testing.T) {
			_, stripe, r := retryBench(t)
			r.comesTo(stripe, "vs_1", 1, failure("document_expired", 1))
			r.comesTo(stripe, "vs_1", 2, change)
			for call := range 3 {
				if got := r.retry(retryRequest("vs_1")).GetVerification().GetRetry(); got.GetRetriesGranted() != 1 || !got.GetAllowed() {
					t.Errorf("call %d: %v; want one retry granted, and allowed", call, got)
				}
			}
			r.comesTo(stripe, "vs_1", 3, func(o *verification.Object) { change(o); o.Created++ })
			if got := r.retry(retryRequest("vs_1")).GetVerification().GetRetry(); got.GetRetriesGranted() != 1 {
				t.Errorf("unfinished once more: %v; want one retry granted", got)
			}
		})
	}
}

// wantDenied fails unless the call, what GetStatus promises of it and the lists name the same denial.
func (r *replica) wantDenied(id string, want verificationv1.RetryDenial) {
	r.t.Helper()
	if got := r.status(id).GetRetry(); got.GetAllowed() || got.GetDenial() != want {
		r.t.Errorf("GetStatus promises %v; want %v", got, want)
	}
	r.denied(retryRequest(id), want)
	for _, listed := range []verificationv1.RetryDenial{verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED, verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE} {
		list, err := r.ListVerifications(r.t.Context(), &verificationv1.ListVerificationsRequest{
			Filter: &verificationv1.ListVerificationsRequest_Denial{Denial: listed},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		found := fmt.Sprint(len(list.GetVerifications()) == 1 && list.GetVerifications()[0].GetSessionId() == id)
		if found != fmt.Sprint(listed == want) {
			r.t.Errorf("in the list of %v: %s; the denial is %v", listed, found, want)
		}
	}
}
