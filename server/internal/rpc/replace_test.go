package rpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// closed brings in a session that failed once and was canceled, here and at Stripe.
func (r *replica) closed(stripe *fakeStripe, id string, change ...func(*verification.Object)) {
	r.t.Helper()
	r.failAt(stripe, id, 1, 1, change...)
	o := object(id, "canceled", append(change, func(o *verification.Object) { o.Report = "vr_" + id + "_1" })...)
	stripe.set(o)
	r.apply(eventOf(2, 2, o))
}

func TestAReplacementInheritsTheCountsAndUsesARetry(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1", reference("person"))
	if state := r.status("vs_1").GetRetry(); state.GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_CANCELED {
		t.Errorf("%v", state)
	}
	response := r.retry(replaceRequest("vs_1"))
	v := response.GetVerification()
	if v.GetSessionId() != "vs_1r" || v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT || v.GetClientReferenceId() != "person" ||
		v.GetRetry().GetFailedAttempts() != 1 || v.GetRetry().GetRetriesGranted() != 1 || v.GetRetry().GetRetriesRemaining() != 1 {
		t.Errorf("%v", v)
	}
	if !strings.Contains(response.GetUrl(), "vs_1r") {
		t.Errorf("a link to %s", response.GetUrl())
	}
	old := r.status("vs_1")
	if old.GetSupersededBy() != "vs_1r" || old.GetRetry().GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED {
		t.Errorf("%v", old)
	}
	// However often, by whichever id.
	for _, id := range []string{"vs_1", "vs_1r", "vs_1"} {
		again := r.retry(replaceRequest(id))
		if again.GetVerification().GetSessionId() != "vs_1r" || again.GetVerification().GetRetry().GetRetriesGranted() != 1 || again.GetUrl() == response.GetUrl() {
			t.Errorf("again: %v", again.GetVerification())
		}
	}
	if _, _, creates := stripe.counts(); creates != 1 {
		t.Errorf("%d sessions were created", creates)
	}
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED)
}

func TestReplaceClosedRefusesAsTheRulesSay(t *testing.T) {
	_, stripe, r := retryBench(t)
	o := object("vs_deny", "requires_input", failure("selfie_manipulated", 1))
	r.apply(eventOf(1, 1, o))
	r.apply(eventOf(2, 2, object("vs_deny", "canceled")))
	stripe.set(object("vs_deny", "canceled"))
	r.denied(replaceRequest("vs_deny"), verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)

	r.apply(eventOf(1, 1, object("vs_red", "canceled")))
	stripe.set(object("vs_red", "canceled", erased)) // only Stripe knows yet
	r.denied(replaceRequest("vs_red"), verificationv1.RetryDenial_RETRY_DENIAL_REDACTED)
	if r.status("vs_red").GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED {
		t.Error("what the read said was not kept")
	}
	if _, _, creates := stripe.counts(); creates != 0 {
		t.Errorf("%d sessions were created", creates)
	}
	// An open one is retried, not replaced.
	r.failAt(stripe, "vs_open", 1, 1)
	if v := r.retry(replaceRequest("vs_open")).GetVerification(); v.GetSessionId() != "vs_open" {
		t.Errorf("%v", v)
	}
}

func TestG9_AChainOfReplacementsObeysTheLimit(t *testing.T) {
	_, stripe, r := retryBench(t)
	id := "vs_1"
	r.closed(stripe, id)
	for n := range 2 {
		v := r.retry(replaceRequest(id)).GetVerification()
		if v.GetSessionId() != id+"r" || v.GetRetry().GetRetriesGranted() != int32(n+1) {
			t.Fatalf("%v", v)
		}
		id += "r"
		canceled := object(id, "canceled", created(int64(100*(n+1))))
		stripe.set(canceled)
		r.apply(eventOf(9, 3_000_000, canceled))
	}
	r.denied(replaceRequest(id), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
	r.denied(replaceRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED) // through the chain
	if _, _, creates := stripe.counts(); creates != 2 {
		t.Errorf("%d sessions were created, want 2", creates)
	}
}

func TestG9_ConcurrentReplacementsAreOneSessionAndAllAreAnswered(t *testing.T) {
	for _, urls := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d return URLs", urls), func(t *testing.T) {
			b, stripe, one := retryBench(t)
			two := b.replica(t)
			one.closed(stripe, "vs_1", reference("person"))
			var calls sync.WaitGroup
			var mu sync.Mutex
			links := map[string]bool{}
			for n := range 16 {
				calls.Go(func() {
					request := replaceRequest("vs_1")
					request.ReturnUrl = fmt.Sprintf("https://example.com/back%d", n%urls)
					response, err := []*replica{one, two}[n%2].RetryVerification(t.Context(), request)
					if err != nil {
						t.Errorf("call %d: %v", n, err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					links[response.GetUrl()] = true
					if response.GetVerification().GetSessionId() != "vs_1r" {
						t.Errorf("call %d: %v", n, response.GetVerification())
					}
				})
			}
			calls.Wait()
			checkOneReplacement(t, one, stripe, 1)
			if len(links) != 16 {
				t.Errorf("%d links for 16 calls", len(links))
			}
		})
	}
}

// checkOneReplacement fails unless vs_1 has exactly one replacement, with its counts, once.
func checkOneReplacement(t *testing.T, r *replica, stripe *fakeStripe, failures int32) {
	t.Helper()
	old, successor := r.record("vs_1"), r.record("vs_1r")
	if _, _, creates := stripe.counts(); creates != 1 {
		t.Errorf("%d sessions were created", creates)
	}
	if old.RetriesGranted != 1 || old.SupersededBy != "vs_1r" || old.Replacement.ReturnURL != "" {
		t.Errorf("old: granted %d, superseded by %q, return URL %q", old.RetriesGranted, old.SupersededBy, old.Replacement.ReturnURL)
	}
	if successor.RetriesGranted != 1 || successor.FailedAttempts != failures || successor.Predecessor != "vs_1" {
		t.Errorf("successor: granted %d, failed %d, predecessor %q", successor.RetriesGranted, successor.FailedAttempts, successor.Predecessor)
	}
}

// stoppedAt calls as a process that ends right before its n-th step (from 1); it reports whether
// the call came that far.
func stoppedAt(r *replica, n int, request *verificationv1.RetryVerificationRequest) bool {
	stopped := true
	steps := 0
	config := r.service.config
	config.Step = func(string) {
		if steps++; steps == n {
			runtime.Goexit()
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = New(config).RetryVerification(context.Background(), request)
		stopped = false
	}()
	<-done
	return stopped
}

func TestG9_ARetryStoppedAfterEachStepIsFinishedByTheNextCallWithOneGrant(t *testing.T) {
	stops := 0
	for n := 1; ; n++ {
		_, stripe, r := retryBench(t)
		r.failAt(stripe, "vs_1", 1, 1)
		if !stoppedAt(r, n, retryRequest("vs_1")) {
			break
		}
		stops++
		if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 1 || v.GetRevision() != 2 {
			t.Errorf("stopped before step %d: %v", n, v)
		}
	}
	if stops != 4 {
		t.Errorf("%d steps, want 4", stops)
	}
}

func TestG9_AReplacementStoppedAfterEachStepIsFinishedByTheNextCall(t *testing.T) {
	stops := 0
	for n := 1; ; n++ {
		b, stripe, r := retryBench(t)
		r.closed(stripe, "vs_1")
		first := replaceRequest("vs_1")
		first.ReturnUrl = "https://example.com/first"
		if !stoppedAt(r, n, first) {
			break
		}
		stops++
		second := replaceRequest("vs_1")
		second.ReturnUrl = "https://example.com/second"
		other := b.replica(t)
		response := other.retry(second)
		if response.GetVerification().GetSessionId() != "vs_1r" || !strings.Contains(response.GetUrl(), "vs_1r") {
			t.Errorf("stopped before step %d: %v", n, response.GetVerification())
		}
		checkOneReplacement(t, r, stripe, 1)
	}
	if stops != 10 {
		t.Errorf("%d steps, want 10", stops)
	}
}

func TestG9_CallsStoppedAnywhereConcurrentlyMakeOneReplacement(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			b, stripe, one := retryBench(t)
			two := b.replica(t)
			one.closed(stripe, "vs_1")
			var calls sync.WaitGroup
			for n := range 8 {
				request := replaceRequest("vs_1")
				request.ReturnUrl = fmt.Sprintf("https://example.com/%d", random.IntN(3))
				step := 1 + random.IntN(9)
				calls.Go(func() { stoppedAt([]*replica{one, two}[n%2], step, request) })
			}
			calls.Wait()
			response := two.retry(replaceRequest("vs_1"))
			if response.GetVerification().GetSessionId() != "vs_1r" {
				t.Errorf("%v", response.GetVerification())
			}
			checkOneReplacement(t, one, stripe, 1)
		})
	}
}

func TestFailuresOfTheOldSessionLearnedLaterCountThereOnly(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	r.retry(replaceRequest("vs_1"))
	r.apply(eventOf(7, 1, object("vs_1", "requires_input", failure("document_expired", 7)))) // late
	r.retry(replaceRequest("vs_1"))
	if old, successor := r.record("vs_1"), r.record("vs_1r"); old.FailedAttempts != 2 || successor.FailedAttempts != 1 {
		t.Errorf("old %d, successor %d", old.FailedAttempts, successor.FailedAttempts)
	}
}

func TestAReplacementKnownByItsWebhookFirstInheritsAllTheSame(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	stripe.during = func(id string) {
		if id == "vs_1r" { // its webhook comes between the POST and the GET's commit
			r.ingest.Apply(t.Context(), eventOf(1, 101, object("vs_1r", "requires_input", created(100))))
		}
	}
	r.retry(replaceRequest("vs_1"))
	stripe.change(func() { stripe.during = nil })
	checkOneReplacement(t, r, stripe, 1)
}

func TestAReplacementIsNotedAlthoughItsPersonWasFaster(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	if !stoppedAt(r, 6, replaceRequest("vs_1")) { // created, but not noted
		t.Fatal("no such step")
	}
	processing := object("vs_1r", "processing", created(100))
	stripe.set(processing)
	r.denied(replaceRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING)
	checkOneReplacement(t, r, stripe, 1)
	_, err := r.RetryVerification(t.Context(), replaceRequest("vs_1"))
	wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
}

// TestG9_AReplacementIsNotGrantedByAnOvertakenRead: the successor's person failed before the counts were
// there. That failure is judged by a read of its own, whose link is good.
func TestG9_AReplacementIsNotGrantedByAnOvertakenRead(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	overtaken, gets := false, 0
	r.service.config.Step = func(step string) {
		if step == StepInherit && !overtaken {
			overtaken = true
			gets, _, _ = stripe.counts()
			o := object("vs_1r", "requires_input", failure("document_expired", 2), created(100), func(o *verification.Object) { o.Replaces = "vs_1" })
			stripe.set(o)
			r.apply(eventOf(1, 2_000_000, o)) // after the read that the link is of
		}
	}
	response := r.retry(replaceRequest("vs_1"))
	if after, _, _ := stripe.counts(); !overtaken || after == gets {
		t.Errorf("overtaken %v, read %d times in all and %d before", overtaken, after, gets)
	}
	if v := response.GetVerification(); v.GetLastError() == nil || v.GetRetry().GetRetriesGranted() != 2 {
		t.Errorf("%v", v)
	}
}

// A replacement that Stripe refuses uses nothing, and does not bind the next caller to what was
// refused, such as a return URL that Stripe does not like.
func TestAReplacementThatStripeRefusesUsesNothing(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	r.service.config.Stripe = &refusingStripe{fakeStripe: stripe}
	for range 3 {
		request := replaceRequest("vs_1")
		request.ReturnUrl = "https://not-allowed.example/"
		_, err := r.RetryVerification(t.Context(), request)
		d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED)
		if d.info.GetMetadata()["stripe_code"] != "url_invalid" {
			t.Errorf("%v", d.info)
		}
	}
	if old := r.record("vs_1"); old.RetriesGranted != 0 || old.Replacement != (verification.Replacement{}) {
		t.Errorf("granted %d, %+v", old.RetriesGranted, old.Replacement)
	}
	request := replaceRequest("vs_1")
	request.ReturnUrl = "https://allowed.example/"
	r.retry(request)
	checkOneReplacement(t, r, stripe, 1)
}

// refusingStripe refuses one return URL, and keeps no idempotent answer of it: Stripe saves none where
// the validation failed.
type refusingStripe struct{ *fakeStripe }

func (s refusingStripe) CreateLike(ctx context.Context, account, id, returnURL string) (string, error) {
	if returnURL == "https://not-allowed.example/" {
		return "", &verification.StripeRefusedError{Code: "url_invalid"}
	}
	return s.fakeStripe.CreateLike(ctx, account, id, returnURL)
}

// The cancel is known at Stripe only, its webhook late or lost: replacing is asked for once, not twice.
func TestReplaceClosedWhereOnlyStripeKnowsOfTheCancel(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	stripe.set(object("vs_1", "canceled", func(o *verification.Object) { o.Report = "vr_vs_1_1" }))
	r.retry(replaceRequest("vs_1"))
	checkOneReplacement(t, r, stripe, 1)
}

// Nor is it for a successor that was canceled at Stripe only.
func TestReplaceClosedWhereOnlyStripeKnowsThatTheSuccessorIsCanceled(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	r.retry(replaceRequest("vs_1"))
	stripe.set(object("vs_1r", "canceled", created(100)))
	response := r.retry(replaceRequest("vs_1"))
	if got := response.GetVerification(); got.GetSessionId() != "vs_1rr" || got.GetRetry().GetRetriesGranted() != 2 {
		t.Errorf("%v", got)
	}
}
