package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// laterBench is a retryBench whose clock the test can move.
func laterBench(t *testing.T) (later func(time.Duration), stripe *fakeStripe, r *replica) {
	t.Helper()
	var late atomic.Int64
	b := newBackend(t)
	stripe = newFakeStripe()
	b.stripe = stripe
	b.clock = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	return func(d time.Duration) { late.Add(int64(d)) }, stripe, b.replica(t)
}

func TestG15_ACertainDenialAsksStripeNothing(t *testing.T) {
	erased := func(o *verification.Object) { o.Redaction = verification.RedactionRedacted }
	tests := []struct {
		here   verification.Object
		denial verificationv1.RetryDenial
		late   time.Duration // since Stripe said so
		most   int           // reads for 60 clicks
	}{
		{object("vs_v", "verified"), verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED, 0, 0},
		{object("vs_v2", "verified"), verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED, time.Hour, 1},
		{object("vs_p", "processing"), verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING, 0, 0},
		{object("vs_p2", "processing"), verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING, time.Hour, 1},
		{object("vs_n", "requires_input", failure("consent_declined", 1)), verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE, time.Hour, 0},
		{object("vs_r", "verified", erased), verificationv1.RetryDenial_RETRY_DENIAL_REDACTED, time.Hour, 0},
		{object("vs_c", "canceled"), verificationv1.RetryDenial_RETRY_DENIAL_CANCELED, time.Hour, 0},
	}
	later, stripe, r := laterBench(t)
	for _, test := range tests {
		t.Run(test.here.ID, func(t *testing.T) {
			r.apply(eventOf(1, 1, test.here))
			stripe.set(test.here)
			later(test.late)
			before, _, _ := stripe.counts()
			for range 60 {
				r.denied(retryRequest(test.here.ID), test.denial)
			}
			if after, _, _ := stripe.counts(); after-before > test.most {
				t.Errorf("60 clicks cost %d reads, want %d at most", after-before, test.most)
			}
		})
	}
}

func TestADenialOfAnAmbiguousSessionAsksStripe(t *testing.T) {
	_, stripe, r := laterBench(t)
	stripe.change(func() { stripe.fail = verification.ErrStripeUnavailable })
	r.apply(eventOf(1, 1, object("vs_1", "requires_input", failure("document_expired", 1))))
	r.apply(eventOf(2, 1, object("vs_1", "verified")))
	if session := r.record("vs_1"); !session.Unresolved || session.Status != verification.StatusVerified {
		t.Fatalf("the rule decided %s, pending %v", session.Status, session.Unresolved)
	}
	stripe.change(func() { stripe.fail = nil })
	stripe.set(object("vs_1", "requires_input", failure("document_expired", 1)))
	if v := r.retry(retryRequest("vs_1")).GetVerification(); v.GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("%v", v)
	}
}

// TestG15_ClicksOfOnePersonMakeOneReadASecond, with a second of 50 ms: each click that is answered has a link of its
// own, and those that have no slot before their deadline are refused.
func TestG15_ClicksOfOnePersonMakeOneReadASecond(t *testing.T) {
	t.Parallel()
	_, stripe, r := retryBench(t)
	spacing := 50 * time.Millisecond
	r.service.links.spacing = spacing
	r.failAt(stripe, "vs_1", 1, 1)
	began := time.Now()
	var mu sync.Mutex
	urls := map[string]bool{}
	answered := 0
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var clicks sync.WaitGroup
	for range 100 {
		clicks.Go(func() {
			response, err := r.RetryVerification(ctx, retryRequest("vs_1"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				answered++
				urls[response.GetUrl()] = true
			} else if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
				t.Error(err)
			}
		})
	}
	clicks.Wait()
	gets, _, _ := stripe.counts()
	if most := int(time.Since(began)/spacing) + 1; gets > most {
		t.Errorf("100 clicks within %v made %d GETs, want %d at most", time.Since(began), gets, most)
	}
	if answered == 0 || answered == 100 || len(urls) != answered {
		t.Errorf("%d of 100 clicks were answered, with %d links; want some, each with its own", answered, len(urls))
	}
	if granted := r.record("vs_1").RetriesGranted; granted != 1 {
		t.Errorf("%d grants, want 1", granted)
	}
}

// TestG15_CallersOfOneSessionAlternateForItsLinks, with a second of 50 ms: a caller with 100 calls that wait does not
// keep another caller from the session, and both together make one GET a second.
func TestG15_CallersOfOneSessionAlternateForItsLinks(t *testing.T) {
	_, stripe, r := retryBench(t)
	spacing := 50 * time.Millisecond
	r.service.links.spacing = spacing
	r.failAt(stripe, "vs_1", 1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	flood, stop := context.WithCancel(shares.WithHolder(ctx, shares.Named("flood")))
	var clicks sync.WaitGroup
	began := time.Now()
	for range 100 {
		clicks.Go(func() { _, _ = r.service.RetryVerification(flood, retryRequest("vs_1")) })
	}
	for n := range 5 {
		asked := time.Now()
		if _, err := r.service.RetryVerification(shares.WithHolder(ctx, shares.Named("other")), retryRequest("vs_1")); err != nil {
			t.Fatal(err)
		}
		// Its own slot and one of the flood's are two; behind the flood it would be a hundred.
		if took := time.Since(asked); took > 40*spacing {
			t.Errorf("call %d of another caller took %v", n, took)
		}
	}
	gets, _, _ := stripe.counts()
	if most := int(time.Since(began)/spacing) + 1; gets > most {
		t.Errorf("two callers made %d GETs within %v, want %d at most", gets, time.Since(began), most)
	}
	stop()
	clicks.Wait()
}

func TestALinkIsWaitedForWithinTheDeadline(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.service.links.spacing = time.Hour
	r.failAt(stripe, "vs_1", 1, 1)
	r.retry(retryRequest("vs_1"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := r.RetryVerification(ctx, retryRequest("vs_1"))
	wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
}

func TestG15_RetryInfoOfAReadIsThirtySecondsAtMost(t *testing.T) {
	s := newErrorService(&bytes.Buffer{})
	for _, known := range kinds {
		d := detailsOf(t, s.fail(t.Context(), fmt.Errorf("somewhere: %w", known.err)))
		if d.retry.GetRetryDelay().AsDuration() > 30*time.Second {
			t.Errorf("%v: RetryInfo of %v, want 30s at most", known.err, d.retry.GetRetryDelay().AsDuration())
		}
	}
}

// unansweredErrors holds the reasons for which Stripe is not asked, or does not answer.
var unansweredErrors = []error{
	verification.ErrStripeBudget, verification.ErrStripeShare, verification.ErrStripeBusy,
	verification.ErrStripeUnavailable, fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, context.DeadlineExceeded),
	verification.ErrStripeUnauthorized, &verification.StripePermissionError{Permission: "rak_identity_product_read"},
	&verification.StripeRefusedError{Code: "parameter_invalid"},
}

func TestG15_AWatchOfASessionNotYetKnownIsWokenByItsWebhook(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe()
	b.stripe = stripe
	one := b.replica(t)
	two := b.replica(t)
	for n, err := range unansweredErrors {
		for here, r := range []*replica{two, one} {
			for by, request := range map[string]func(id string) *verificationv1.WatchStatusRequest{
				"id": byID, "reference": func(id string) *verificationv1.WatchStatusRequest { return byReference("person of " + id) },
			} {
				id := fmt.Sprintf("vs_%d%d%s", n, here, by)
				stripe.change(func() { stripe.fail = err })
				w := r.watch(request(id))
				eventually(t, "Stripe is asked", func() bool { gets, finds, _ := stripe.counts(); return gets+finds > 0 })
				stripe.change(func() { stripe.gets, stripe.finds = 0, 0 })
				began := time.Now()
				one.apply(eventOf(1, 1, object(id, "requires_input", reference("person of "+id))))
				w.wantNext(id, 1, "requires_input")
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("%v, by %s: the first status came %v after the webhook", err, by, took)
				}
				// From here on it is a watch like any other.
				one.apply(eventOf(2, 2, object(id, "processing", reference("person of "+id))))
				w.wantNext(id, 2, "processing")
				w.stop()
			}
		}
	}
}

func byID(id string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}}
}

// hangingStripe answers a read only when its caller has given up or the test ends.
type hangingStripe struct {
	*fakeStripe
	asked, release chan struct{}
}

func (s *hangingStripe) Read(ctx context.Context, _ verification.Purpose, _, _ string) (verification.Retrieved, error) {
	s.asked <- struct{}{}
	select {
	case <-ctx.Done():
	case <-s.release:
	}
	return verification.Retrieved{}, fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, ctx.Err())
}

func TestG15_AWebhookComesBeforeTheAnswerOfASlowStripe(t *testing.T) {
	b := newBackend(t)
	slow := &hangingStripe{newFakeStripe(), make(chan struct{}, 1), make(chan struct{})}
	b.stripe = slow
	one, two := b.replica(t), b.replica(t)
	t.Cleanup(func() { close(slow.release) }) // before the replicas wait for it
	w := two.watch(byID("vs_1"))
	select {
	case <-slow.asked:
	case <-time.After(patience):
		t.Fatal("Stripe was not asked")
	}
	began := time.Now()
	one.apply(eventOf(1, 1, object("vs_1", "requires_input")))
	w.wantNext("vs_1", 1, "requires_input")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the first status came %v after the webhook", took)
	}
}

// waitingIngest fails for each unknown session, and counts how often it is asked.
type waitingIngest struct {
	emptyIngest
	mu    sync.Mutex
	err   error
	asked int
}

func (u *waitingIngest) ReadUnknown(context.Context, string, string) (verification.Session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	return verification.Session{}, u.err
}

func TestAWatchThatWaitsForItsSessionShowsSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		ingest := &waitingIngest{err: verification.ErrStripeBudget}
		w.service.config.Ingest = ingest
		request := byID("vs_1")
		request.Heartbeat = durationpb.New(10 * time.Second)
		w.start(request)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		beats := len(w.sink.got)
		if beats != 6 {
			t.Errorf("%d heartbeats in a minute, want 6", beats)
		}
		for range beats {
			if beat := <-w.sink.got; beat.GetVerification() != nil || beat.GetResumeToken() != "" {
				t.Errorf("a heartbeat before the first status is %v, want one without a token", beat)
			}
		}
		if ingest.asked > 4 {
			t.Errorf("Stripe's budget was asked for %d times in a minute", ingest.asked)
		}
		w.put(life("vs_1", 1))
		w.hub.Wake(hub.Session("vs_1"))
		synctest.Wait()
		if len(w.sink.got) != 1 || (<-w.sink.got).GetVerification().GetRevision() != 1 {
			t.Error("the session's wake-up brought no status")
		}
		w.stop()
	})
}

// A budget that comes back tells what there is to tell: the session does not exist.
func TestAWatchThatWaitsEndsWhenStripeSaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		ingest := &waitingIngest{err: verification.ErrStripeBusy}
		w.service.config.Ingest = ingest
		w.start(byID("vs_1"))
		ingest.mu.Lock()
		ingest.err = store.ErrNotFound
		ingest.mu.Unlock()
		select {
		case err := <-w.ended:
			wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		case <-time.After(time.Minute):
			t.Error("the watch waits for a session that Stripe does not know")
		}
	})
}

func TestG15_ATabThatWaitsForAFirstSessionCostsFewReads(t *testing.T) {
	later, stripe, r := laterBench(t)
	for range 360 { // an hour, as the browser asks again
		w := r.watch(byReference("somebody"))
		if err := w.ended(); err == nil || errors.Is(err, context.Canceled) {
			t.Fatalf("the watch ended with %v", err)
		}
		later(10 * time.Second)
	}
	if _, finds, _ := stripe.counts(); finds > 9 {
		t.Errorf("an hour of one tab cost %d reads, want 9 at most: after 0, 0.5, 2.5, 12.5 min, and every 10", finds)
	}
}

// TestG15_AWatchWaitsWhileStripeDoesNotAnswer: it beats, asks Stripe seldom, and has its session when Stripe knows it, or by
// the webhook.
func TestG15_AWatchWaitsWhileStripeDoesNotAnswer(t *testing.T) {
	for _, test := range []struct {
		err  error
		most int // reads in the first minute
	}{
		{verification.ErrStripeUnavailable, 5}, // after 0, 1, 6 and 36 s; the shortest pauses make it 0, 0.8, 4.8, 28.8 and 52.8 s
		{verification.ErrStripeUnauthorized, 3},
		{&verification.StripeRefusedError{Code: "x"}, 3},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatching(t, 0)
				ingest := &waitingIngest{err: test.err}
				w.service.config.Ingest = ingest
				w.start(bySession("vs_1", 10*time.Second))
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				if len(w.sink.got) != 6 || len(w.ended) > 0 {
					t.Errorf("%d heartbeats in a minute, want 6; ended: %v", len(w.sink.got), len(w.ended) > 0)
				}
				for range len(w.sink.got) {
					<-w.sink.got
				}
				if ingest.asked > test.most {
					t.Errorf("Stripe was asked %d times in a minute, want %d at most", ingest.asked, test.most)
				}
				w.put(life("vs_1", 1))
				w.hub.Wake(hub.Session("vs_1"))
				if got := w.next(); got.GetVerification().GetRevision() != 1 {
					t.Errorf("after the webhook: %v", got)
				}
				w.stop()
			})
		})
	}
}

func TestAMomentOfStripesOutageDelaysAStatusByAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		ingest := &waitingIngest{err: verification.ErrStripeUnavailable}
		w.service.config.Ingest = ingest
		began := time.Now()
		w.start(bySession("vs_1", 0))
		w.put(life("vs_1", 1)) // without a wake-up, as a read at Stripe finds it
		if took := w.next().at.Sub(began); took > 2*time.Second {
			t.Errorf("the first status came after %v, want 2s at most", took)
		}
		w.stop()
	})
}

// A setting that is missing does not come by waiting.
func TestAWatchEndsIfTheSettingsExcludeItsAccount(t *testing.T) {
	for _, err := range []error{verification.ErrStripeExcluded, verification.ErrStripeNotConfigured} {
		synctest.Test(t, func(t *testing.T) {
			w := newWatching(t, 0)
			w.service.config.Ingest = &waitingIngest{err: err}
			w.start(byID("vs_1"))
			wantError(t, <-w.ended, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED)
		})
	}
}
