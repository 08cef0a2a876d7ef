package rpc

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

// repeatsBench is a laterBench with limits of the GETs of one session, but with almost no time between them.
func repeatsBench(t *testing.T) (later func(time.Duration), stripe *fakeStripe, r *replica) {
	t.Helper()
	later, stripe, r = laterBench(t)
	r.service.links.spacing = time.Nanosecond
	return later, stripe, r
}

// gets returns how many GETs a number of calls for links of a session make, one after the other or all at once. Calls without a GET
// must be refused for their number, with a RetryInfo of 30 s at most.
func (r *replica) gets(stripe *fakeStripe, id string, calls int, atOnce bool) int {
	r.t.Helper()
	before, _, _ := stripe.counts()
	var running sync.WaitGroup
	for range calls {
		call := func() {
			if _, err := r.RetryVerification(r.t.Context(), retryRequest(id)); err != nil {
				d := wantError(r.t, err, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED)
				if again := d.retry.GetRetryDelay().AsDuration(); again <= 0 || again > 30*time.Second {
					r.t.Errorf("RetryInfo %v, want up to 30s", again)
				}
			}
		}
		if !atOnce {
			call()
			continue
		}
		running.Go(call)
	}
	await.All(r.t, &running)
	after, _, _ := stripe.counts()
	return after - before
}

// TestG15_LinksOfOneSessionWithoutANewAttemptAreBounded: a person presses the button as often as a caller's share of the day has reads.
func TestG15_LinksOfOneSessionWithoutANewAttemptAreBounded(t *testing.T) {
	for _, atOnce := range []bool{false, true} {
		t.Run(fmt.Sprintf("at once %v", atOnce), func(t *testing.T) {
			later, stripe, r := repeatsBench(t)
			r.failAt(stripe, "vs_1", 1, 1)
			r.failAt(stripe, "vs_2", 1, 1)
			if got := r.gets(stripe, "vs_1", 1250, atOnce); got != maxRepeats {
				t.Errorf("1,250 calls make %d GETs, want %d", got, maxRepeats)
			}
			if got := r.gets(stripe, "vs_2", 1, false); got != 1 {
				t.Errorf("a call for another session makes %d GETs, want 1", got)
			}
			other := shares.WithHolder(t.Context(), shares.Named("other"))
			if _, err := r.service.RetryVerification(other, retryRequest("vs_1")); err != nil {
				t.Errorf("another caller: %v", err)
			}
			later(repeatEvery - 10*time.Second)
			if got := r.gets(stripe, "vs_1", 1, false); got != 0 {
				t.Errorf("a call before five minutes makes %d GETs, want 0", got)
			}
			later(10 * time.Second)
			if got := r.gets(stripe, "vs_1", 10, atOnce); got != 1 {
				t.Errorf("10 calls after five minutes make %d GETs, want 1", got)
			}
		})
	}
}

// TestANewFailureBringsNewLinks at once, and a new status does so too.
func TestANewFailureBringsNewLinks(t *testing.T) {
	_, stripe, r := repeatsBench(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input")))
	stripe.set(object("vs_1", "requires_input"))
	r.gets(stripe, "vs_1", maxRepeats+1, false)
	r.failAt(stripe, "vs_1", 2, 100)
	if got := r.gets(stripe, "vs_1", maxRepeats+1, false); got != maxRepeats {
		t.Errorf("after a failure: %d GETs, want %d", got, maxRepeats)
	}
	o := object("vs_1", "canceled")
	stripe.set(o)
	r.apply(eventOf(3, 200, o))
	// A denial that follows from the record, and then a replacement.
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_CANCELED)
	if heir := r.retry(replaceRequest("vs_1")).GetVerification().GetSessionId(); heir == "vs_1" {
		t.Error("the canceled session was not replaced")
	}
	// An unfinished attempt brings nothing.
	r.failAt(stripe, "vs_2", 1, 1)
	r.gets(stripe, "vs_2", maxRepeats, false)
	r.comesTo(stripe, "vs_2", 2, func(o *verification.Object) {
		o.Error = verification.Error{Code: verification.CodeAbandoned, Reason: "Left."}
	})
	if got := r.gets(stripe, "vs_2", 1, false); got != 0 {
		t.Errorf("after an unfinished attempt: %d GETs, want 0", got)
	}
}

// TestADenialIsAnsweredWithoutALinkLeft if it follows from the record.
func TestADenialIsAnsweredWithoutALinkLeft(t *testing.T) {
	_, stripe, r := repeatsBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	r.gets(stripe, "vs_1", maxRepeats+1, false)
	r.resolve("vs_1", verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED)
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED)
}
