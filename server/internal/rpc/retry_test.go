package rpc

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

func retryRequest(id string) *verificationv1.RetryVerificationRequest {
	return &verificationv1.RetryVerificationRequest{SessionId: id}
}

func replaceRequest(id string) *verificationv1.RetryVerificationRequest {
	return &verificationv1.RetryVerificationRequest{SessionId: id, ReplaceClosed: true}
}

// retry asks for a retry that must be granted, with a link.
func (r *replica) retry(request *verificationv1.RetryVerificationRequest) *verificationv1.RetryVerificationResponse {
	r.t.Helper()
	response, err := r.RetryVerification(r.t.Context(), request)
	if err != nil {
		r.t.Fatalf("retry of %s: %v", request.GetSessionId(), err)
	}
	if response.GetUrl() == "" || response.GetClientSecret() == "" {
		r.t.Errorf("retry of %s: no link", request.GetSessionId())
	}
	return response
}

func (r *replica) denied(request *verificationv1.RetryVerificationRequest, denial verificationv1.RetryDenial) details {
	r.t.Helper()
	_, err := r.RetryVerification(r.t.Context(), request)
	d := wantError(r.t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
	if d.info.GetMetadata()["denial"] != denial.String() {
		r.t.Fatalf("denied with %v, want %v", d.info.GetMetadata(), denial)
	}
	return d
}

// failAt brings the n-th failure in, here and at Stripe.
func (r *replica) failAt(stripe *fakeStripe, id string, n int, second int64, change ...func(*verification.Object)) {
	r.t.Helper()
	o := object(id, "requires_input", append(change, failure("document_expired", n))...)
	stripe.set(o)
	r.apply(eventOf(n, second, o))
}

func retryBench(t *testing.T) (*backend, *fakeStripe, *replica) {
	t.Helper()
	b := newBackend(t)
	stripe, r := b.retries(t)
	return b, stripe, r
}

// retries starts a replica with a Stripe of its own.
func (b *backend) retries(t *testing.T) (*fakeStripe, *replica) {
	t.Helper()
	stripe := newFakeStripe()
	b.stripe = stripe
	return stripe, b.replica(t)
}

func TestG9_64ConcurrentCallsOnOneFailureUseOneGrantAndEachHasItsOwnLink(t *testing.T) {
	b, stripe, one := retryBench(t)
	two := b.replica(t)
	one.failAt(stripe, "vs_1", 1, 1)
	var mu sync.Mutex
	links := map[string]bool{}
	answered := 0
	var calls sync.WaitGroup
	for n := range 64 {
		calls.Go(func() {
			response, err := []*replica{one, two}[n%2].RetryVerification(t.Context(), retryRequest("vs_1"))
			if err != nil {
				wantError(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answered++
			links[response.GetUrl()], links[response.GetClientSecret()] = true, true
			if granted := response.GetVerification().GetRetry().GetRetriesGranted(); granted != 1 {
				t.Errorf("%d grants", granted)
			}
		})
	}
	calls.Wait()
	record := one.record("vs_1")
	if record.RetriesGranted != 1 || record.Revision != 2 || len(record.Failures) != 1 {
		t.Errorf("record %+v", record)
	}
	if answered != 64 || len(links) != 2*answered {
		t.Errorf("%d calls were answered, with %d different links and secrets", answered, len(links))
	}
}

func TestARepeatedCallUsesNothingAndANewFailureUsesAnother(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	for range 3 {
		if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 1 || v.GetRetry().GetRetriesRemaining() != 1 || v.GetRevision() != 2 {
			t.Errorf("%v", v.GetRetry())
		}
	}
	r.failAt(stripe, "vs_1", 2, 5)
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 2 || v.GetRetry().GetRetriesRemaining() != 0 {
		t.Errorf("%v", v.GetRetry())
	}
	history := r.record("vs_1").History
	if last := history[len(history)-1]; last.Source != verification.SourceRetry {
		t.Errorf("the grant left %+v", last)
	}
}

func TestG9_TheLimitIsReachedAfterMaxRetriesAndGetStatusSaidSo(t *testing.T) {
	_, stripe, r := retryBench(t)
	for n := 1; n <= 3; n++ {
		if n > 1 && !r.status("vs_1").GetRetry().GetAllowed() {
			t.Errorf("before failure %d: %v", n, r.status("vs_1").GetRetry())
		}
		r.failAt(stripe, "vs_1", n, int64(n*10))
		if n <= 2 {
			r.retry(retryRequest("vs_1"))
		}
	}
	state := r.status("vs_1").GetRetry()
	if state.GetAllowed() || state.GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED || state.GetRetriesRemaining() != 0 || state.GetFailedAttempts() != 3 {
		t.Errorf("GetStatus says %v", state)
	}
	gets, _, _ := stripe.counts()
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
	if now, _, _ := stripe.counts(); now != gets {
		t.Error("a denial that was certain asked Stripe")
	}
}

func TestWhatWasNeverSubmittedGetsALinkAndUsesNothing(t *testing.T) {
	_, stripe, r := retryBench(t)
	abandoned := object("vs_2", "requires_input", func(o *verification.Object) { o.Error.Code = verification.CodeAbandoned })
	for _, o := range []verification.Object{object("vs_1", "requires_input"), abandoned} {
		stripe.set(o)
		r.apply(eventOf(1, 1, o))
		for range 4 {
			if v := r.retry(retryRequest(o.ID)).GetVerification(); v.GetRetry().GetRetriesGranted() != 0 || v.GetRevision() != 1 {
				t.Errorf("%s: %v", o.ID, v)
			}
		}
	}
	// Nor does a session that is not known here need more than Stripe's word.
	stripe.set(object("vs_3", "requires_input"))
	if v := r.retry(retryRequest("vs_3")).GetVerification(); v.GetRevision() != 1 || v.GetRetry().GetRetriesGranted() != 0 {
		t.Errorf("%v", v)
	}
	_, err := r.RetryVerification(t.Context(), retryRequest("vs_unknown"))
	wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}

func TestWhatIsCertainIsDeniedWithoutAskingStripe(t *testing.T) {
	b := newBackend(t)
	now := time.Unix(t0+100, 0)
	b.clock = func() time.Time { return now }
	b.policy.Cooldown = time.Hour
	stripe := newFakeStripe()
	b.stripe = stripe
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_canceled", "canceled")))
	r.apply(eventOf(1, 1, object("vs_redacted", "requires_input", erased)))
	r.failAt(stripe, "vs_cooling", 1, 40)
	// A canceled one that was replaced.
	stripe.set(object("vs_old", "canceled"))
	r.apply(eventOf(1, 1, object("vs_old", "canceled")))
	r.retry(replaceRequest("vs_old"))
	gets, _, _ := stripe.counts()

	r.denied(retryRequest("vs_canceled"), verificationv1.RetryDenial_RETRY_DENIAL_CANCELED)
	r.denied(retryRequest("vs_redacted"), verificationv1.RetryDenial_RETRY_DENIAL_REDACTED)
	if d := r.denied(retryRequest("vs_old"), verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED); d.info.GetMetadata()["superseded_by"] != "vs_oldr" {
		t.Errorf("metadata %v", d.info.GetMetadata())
	}
	d := r.denied(retryRequest("vs_cooling"), verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN)
	if got := d.retry.GetRetryDelay().AsDuration(); got != time.Hour-time.Minute {
		t.Errorf("RetryInfo %v, want %v", got, time.Hour-time.Minute)
	}
	if next := r.status("vs_cooling").GetRetry().GetNextRetryTime().GetSeconds(); next != t0+40+3600 {
		t.Errorf("next_retry_time %d", next)
	}
	if after, _, _ := stripe.counts(); after != gets {
		t.Errorf("%d GETs", after-gets)
	}
}

func TestADenialThatStripeMayRefuteAsksStripeFirst(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe()
	b.stripe = stripe
	var late atomic.Int64
	b.clock = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	r := b.replica(t)
	tests := []struct {
		name   string
		here   verification.Object
		denial verificationv1.RetryDenial
	}{
		{"processing", object("vs_p", "processing"), verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING},
		{"verified", object("vs_v", "verified"), verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r.apply(eventOf(1, 1, test.here))
			stripe.set(test.here)
			r.denied(retryRequest(test.here.ID), test.denial)
			if got := r.status(test.here.ID).GetRetry().GetDenial(); got != test.denial {
				t.Errorf("GetStatus said %v", got)
			}
			// Stripe knows of a newer failure that may be retried. What Stripe said over a minute ago it may take back.
			late.Add(int64(certainFor))
			stripe.set(object(test.here.ID, "requires_input", failure("document_expired", 2)))
			if v := r.retry(retryRequest(test.here.ID)).GetVerification(); v.GetLastError().GetStripeCode() != "document_expired" || v.GetRetry().GetRetriesGranted() != 1 {
				t.Errorf("%v", v)
			}
		})
	}
}

func TestWhatTheReadTellsIsKeptAlsoWhereTheRetryIsDenied(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	stripe.set(object("vs_1", "verified"))
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED)
	v := r.status("vs_1")
	if v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRevision() != 2 || v.GetRetry().GetRetriesGranted() != 0 || v.GetRetry().GetFailedAttempts() != 1 {
		t.Errorf("%v", v)
	}
}

func TestTheReadAndTheGrantBringAFailureThatWasMissed(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	r.retry(retryRequest("vs_1"))
	// The second failure's webhook is late: Stripe tells it first.
	second := object("vs_1", "requires_input", failure("document_expired", 2))
	stripe.set(second)
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 2 || v.GetRetry().GetFailedAttempts() != 2 {
		t.Errorf("%v", v.GetRetry())
	}
	r.apply(eventOf(2, 9, second))
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 2 || v.GetRetry().GetFailedAttempts() != 2 {
		t.Errorf("counted twice: %v", v.GetRetry())
	}
}

func TestWithoutAKeyARetrySaysSo(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input")))
	_, err := r.RetryVerification(t.Context(), retryRequest("vs_1"))
	wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED)
}

func TestAFailureOfStripeIsReportedAndUsesNothing(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	r.apply(eventOf(1, 1, object("vs_c", "canceled")))
	tests := []struct {
		fault  error
		code   codes.Code
		reason verificationv1.ErrorReason
	}{
		{verification.ErrStripeUnavailable, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE},
		{verification.ErrStripeUnauthorized, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE},
		{verification.ErrStripeBudget, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE},
		{verification.ErrStripeUnknown, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN},
		{&verification.StripeRefusedError{Code: "parameter_invalid"}, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED},
	}
	for _, test := range tests {
		stripe.change(func() { stripe.fail = test.fault })
		for _, request := range []*verificationv1.RetryVerificationRequest{retryRequest("vs_1"), replaceRequest("vs_c")} {
			_, err := r.RetryVerification(t.Context(), request)
			wantError(t, err, test.code, test.reason)
		}
	}
	for _, id := range []string{"vs_1", "vs_c"} {
		if record := r.record(id); record.RetriesGranted != 0 || record.Revision != 1 {
			t.Errorf("%s: %+v", id, record)
		}
	}
}

// A session that requires input and has no link would be asked for again and again. It is asked for once more, and that is
// the end.
func TestASessionWithoutALinkIsAnEnd(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	stripe.change(func() { stripe.linkless = true })
	_, err := r.RetryVerification(t.Context(), retryRequest("vs_1"))
	d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED)
	if d.info.GetMetadata()["stripe_code"] != "no_link" || d.retry != nil {
		t.Errorf("metadata %v, RetryInfo %v; want stripe_code no_link, and no RetryInfo", d.info.GetMetadata(), d.retry)
	}
	if gets, _, _ := stripe.counts(); gets != 2 {
		t.Errorf("%d GETs, want 2", gets)
	}
	if record := r.record("vs_1"); record.RetriesGranted != 0 {
		t.Errorf("an answer without a link used a retry: %+v", record)
	}
	stripe.change(func() { stripe.linkless = false })
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("with a link: %v, want 1 retry granted", v.GetRetry())
	}
	// Nor does a denial depend on a link.
	stripe.change(func() { stripe.linkless = true })
	failed := object("vs_1", "requires_input", failure("selfie_manipulated", 2))
	stripe.set(failed)
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)
}

func TestALinkThatComesWithTheSecondAnswerIsGiven(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	stripe.change(func() { stripe.noLinks = 1 })
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("%v, want 1 retry granted", v.GetRetry())
	}
	if gets, _, _ := stripe.counts(); gets != 2 {
		t.Errorf("%d GETs, want 2", gets)
	}
}

// The successor exists at Stripe, whether it has a link or not. It is not created again.
func TestAReplacementWithoutALinkIsAnEnd(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.closed(stripe, "vs_1")
	stripe.change(func() { stripe.linkless = true })
	for range 2 {
		_, err := r.RetryVerification(t.Context(), replaceRequest("vs_1"))
		d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED)
		if d.info.GetMetadata()["stripe_code"] != "no_link" {
			t.Errorf("metadata %v, want stripe_code no_link", d.info.GetMetadata())
		}
	}
	if _, _, creates := stripe.counts(); creates != 1 || r.record("vs_1").SupersededBy != "vs_1r" || r.record("vs_1r").RetriesGranted != 1 {
		t.Errorf("%d sessions created; old %+v, new %+v", creates, r.record("vs_1"), r.record("vs_1r"))
	}
	stripe.change(func() { stripe.linkless = false })
	if v := r.retry(replaceRequest("vs_1")).GetVerification(); v.GetSessionId() != "vs_1r" || v.GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("with a link: %v", v)
	}
}

// The caller's deadline comes before the second GET may be made. Without an end such a caller would try for ever.
func TestASessionWithoutALinkIsAnEndAlsoForTheHasty(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.service.links.spacing = time.Hour
	r.failAt(stripe, "vs_1", 1, 1)
	stripe.change(func() { stripe.linkless = true })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := r.RetryVerification(ctx, retryRequest("vs_1"))
	wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED)
	if gets, _, _ := stripe.counts(); gets != 1 {
		t.Errorf("%d GETs, want 1", gets)
	}
}

// The session is known here by its webhook. NOT_FOUND would say that the person has none.
func TestASessionThatStripeDoesNotKnowIsNotCalledUnknown(t *testing.T) {
	_, _, r := retryBench(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input", failure("document_expired", 1))))
	r.apply(eventOf(1, 1, object("vs_c", "canceled")))
	for _, request := range []*verificationv1.RetryVerificationRequest{retryRequest("vs_1"), replaceRequest("vs_1"), replaceRequest("vs_c")} {
		_, err := r.RetryVerification(t.Context(), request)
		d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN)
		if !strings.Contains(d.message, "STRIPE_API_KEY") || !strings.Contains(d.message, "webhook") || d.retry != nil {
			t.Errorf("message %q, RetryInfo %v; want what to check, and no RetryInfo", d.message, d.retry)
		}
	}
	for _, id := range []string{"vs_1", "vs_c"} {
		if record := r.record(id); record.RetriesGranted != 0 || record.Revision != 1 {
			t.Errorf("%s: %+v", id, record)
		}
	}
	_, err := r.RetryVerification(t.Context(), retryRequest("vs_none"))
	wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}

func TestAnOvertakenRetryIsRepeatedAFewTimes(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	overtakes, second := 0, int64(10)
	stripe.during = func(string) {
		if overtakes > 0 {
			overtakes, second = overtakes-1, second+1
			o := object("vs_1", "requires_input", failure("document_expired", int(second)))
			stripe.set(o)
			r.apply(eventOf(int(second), second, o))
		}
	}
	overtakes = maxReads
	_, err := r.RetryVerification(t.Context(), retryRequest("vs_1"))
	if d := wantError(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT); d.retry == nil {
		t.Error("no RetryInfo")
	}
	if granted := r.record("vs_1").RetriesGranted; granted != 0 {
		t.Errorf("%d grants", granted)
	}
	overtakes = maxReads - 1
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("%v", v.GetRetry())
	}
}

func TestASlowStripeEndsWithinTheCallersDeadline(t *testing.T) {
	t.Parallel()
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1)
	slow := &slowStripe{fakeStripe: stripe}
	r.service.config.Stripe = slow
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := r.RetryVerification(ctx, retryRequest("vs_1"))
	wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
}

// slowStripe answers only when its caller has given up.
type slowStripe struct{ *fakeStripe }

func (s *slowStripe) Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error) {
	<-ctx.Done()
	return s.fakeStripe.Retrieve(ctx, account, id)
}
