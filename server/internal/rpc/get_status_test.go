package rpc

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

func statusByID(id string) *verificationv1.GetStatusRequest {
	return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}}
}

func statusByReference(ref string) *verificationv1.GetStatusRequest {
	return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: ref}}
}

func TestEveryWrongFieldIsRefusedByName(t *testing.T) {
	r := newBackend(t).replica(t)
	get := func(request *verificationv1.GetStatusRequest) error {
		_, err := r.GetStatus(t.Context(), request)
		return err
	}
	watch := func(request *verificationv1.WatchStatusRequest) error { return r.watch(request).ended() }
	retry := func(request *verificationv1.RetryVerificationRequest) error {
		_, err := r.RetryVerification(t.Context(), request)
		return err
	}
	negative, heartless, settledAll, longToken := statusByID("vs_1"), bySession("vs_1", 0), allSessions(), bySession("vs_1", 0)
	negative.MinRevision = -1
	heartless.Heartbeat = durationpb.New(0)
	settledAll.UntilSettled = true
	longToken.ResumeToken = strings.Repeat("x", 2049)
	tests := []struct {
		name  string
		err   error
		field string
	}{
		{"get: no subject", get(&verificationv1.GetStatusRequest{}), "subject"},
		{"get: bad id", get(statusByID("vs_ä")), "session_id"},
		{"get: empty id", get(statusByID("")), "session_id"},
		{"get: long id", get(statusByID("vs_" + strings.Repeat("x", 253))), "session_id"},
		{"get: empty reference", get(statusByReference("")), "client_reference_id"},
		{"get: long reference", get(statusByReference(strings.Repeat("x", 256))), "client_reference_id"},
		{"get: negative revision", get(negative), "min_revision"},
		{"watch: no subject", watch(&verificationv1.WatchStatusRequest{}), "subject"},
		{"watch: bad id", watch(bySession("pi_1", 0)), "session_id"},
		{"watch: empty reference", watch(byReference("")), "client_reference_id"},
		{"watch: long reference", watch(byReference(strings.Repeat("x", 256))), "client_reference_id"},
		{"watch: zero heartbeat", watch(heartless), "heartbeat"},
		{"watch: until settled with all", watch(settledAll), "until_settled"},
		{"watch: long token", watch(longToken), "resume_token"},
		{"retry: bad id", retry(&verificationv1.RetryVerificationRequest{SessionId: "vs-1"}), "session_id"},
		{"retry: no id", retry(&verificationv1.RetryVerificationRequest{}), "session_id"},
		{"retry: bad url", retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1", ReturnUrl: "javascript:x"}), "return_url"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if d := wantError(t, test.err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST); d.field() != test.field {
				t.Errorf("blames %q, want %q", d.field(), test.field)
			}
		})
	}
}

func TestAStatusIsFoundByIDAndByTheNewestWithAReference(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_b", "processing", reference("person"))))
	one.apply(eventOf(1, 1, object("vs_a", "verified", reference("person"), created(5))))
	one.apply(eventOf(1, 1, object("vs_c", "verified", reference("other"), created(9))))
	for _, r := range []*replica{one, two} {
		if v := r.status("vs_b"); v.GetStatus() != verificationv1.Status_STATUS_PROCESSING || v.GetRevision() != 1 {
			t.Errorf("by id: %v", v)
		}
		response, err := r.GetStatus(t.Context(), statusByReference("person"))
		if err != nil || response.GetVerification().GetSessionId() != "vs_a" || len(response.GetHistory()) != 0 {
			t.Errorf("by reference: %v, %v", response, err)
		}
	}
	for _, request := range []*verificationv1.GetStatusRequest{statusByID("vs_unknown"), statusByReference("nobody")} {
		_, err := one.GetStatus(t.Context(), request)
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
}

func TestHistoryTellsWhatReachedTheSessionAndNothingAfterARedaction(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 5, object("vs_1", "processing")))
	r.apply(eventOf(2, 3, object("vs_1", "requires_input", failure("document_expired", 1)))) // late
	r.apply(eventOf(3, 9, object("vs_1", "verified")))
	r.apply(eventOf(4, 4, object("vs_1", "processing"))) // late, and nothing new
	request := statusByID("vs_1")
	request.IncludeHistory = true
	response, err := r.GetStatus(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		revision int32
		event    string
		effect   verificationv1.Effect
	}
	want := []line{
		{1, "evt_vs_1_1", verificationv1.Effect_EFFECT_APPLIED}, {2, "evt_vs_1_2", verificationv1.Effect_EFFECT_COUNTED},
		{3, "evt_vs_1_3", verificationv1.Effect_EFFECT_APPLIED}, {0, "evt_vs_1_4", verificationv1.Effect_EFFECT_STALE},
	}
	if len(response.GetHistory()) != len(want) {
		t.Fatalf("history %v", response.GetHistory())
	}
	for n, entry := range response.GetHistory() {
		if got := (line{entry.GetRevision(), entry.GetEventId(), entry.GetEffect()}); got != want[n] {
			t.Errorf("entry %d: %v, want %v", n, got, want[n])
		}
		if entry.GetSource() != verificationv1.Source_SOURCE_WEBHOOK || entry.GetRecordTime().AsTime().Before(time.Now().Add(-time.Minute)) {
			t.Errorf("entry %d: %v", n, entry)
		}
	}
	counted := response.GetHistory()[1]
	if counted.GetError().GetStripeCode() != "document_expired" || counted.GetEventTime().GetSeconds() != t0+3 || counted.GetEventType() != verification.EventRequiresInput {
		t.Errorf("counted entry %v", counted)
	}
	// The times of recording tell nothing at a redaction, and nothing else is shown either.
	r.apply(eventOf(5, 20, object("vs_1", "verified", func(o *verification.Object) { o.Redaction = verification.RedactionProcessing })))
	response, err = r.GetStatus(t.Context(), request)
	if err != nil || len(response.GetHistory()) != 0 || response.GetVerification().GetRedaction() != verificationv1.Redaction_REDACTION_PROCESSING {
		t.Errorf("after a redaction: %v, %v", response, err)
	}
}

func TestAnUnknownSessionIsReadThroughFromStripeOnce(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe(object("vs_1", "verified"), object("vs_2", "processing", reference("person")))
	b.stripe = stripe
	r := b.replica(t)
	for range 3 {
		if v := r.status("vs_1"); v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRevision() != 1 {
			t.Errorf("by id: %v", v)
		}
		response, err := r.GetStatus(t.Context(), statusByReference("person"))
		if err != nil || response.GetVerification().GetSessionId() != "vs_2" {
			t.Errorf("by reference: %v, %v", response, err)
		}
		_, err = r.GetStatus(t.Context(), statusByID("vs_unknown"))
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	if gets, finds, _ := stripe.counts(); gets != 2 || finds != 1 {
		t.Errorf("%d GETs and %d searches, want 2 and 1", gets, finds)
	}
	stripe.change(func() { stripe.fail = verification.ErrStripeUnauthorized })
	_, err := r.GetStatus(t.Context(), statusByID("vs_3"))
	if d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE); d.retry == nil {
		t.Error("no RetryInfo")
	}
}

func TestG8_MinRevisionIsReachedWaitedForOrRefused(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_1", "processing", reference("person"))))
	for _, subject := range []*verificationv1.GetStatusRequest{statusByID("vs_1"), statusByReference("person")} {
		subject.MinRevision = 1
		if response, err := two.GetStatus(t.Context(), subject); err != nil || response.GetVerification().GetRevision() != 1 {
			t.Errorf("reached: %v, %v", response, err)
		}
	}
	t.Run("reached by a wake-up", func(t *testing.T) {
		request := statusByID("vs_1")
		request.MinRevision = 2
		type answer struct {
			v    *verificationv1.Verification
			err  error
			took time.Duration
		}
		answers := make(chan answer, 1)
		began := time.Now()
		go func() {
			response, err := two.GetStatus(t.Context(), request)
			answers <- answer{response.GetVerification(), err, time.Since(began)}
		}()
		eventually(t, "it waits", func() bool { return two.hub.Listening(hub.KindSession) > 0 })
		one.apply(eventOf(2, 2, object("vs_1", "verified")))
		if got := await.One(t, answers); got.err != nil || got.v.GetRevision() != 2 || got.took > freshnessWait-200*time.Millisecond {
			t.Errorf("%+v", got)
		}
	})
	t.Run("never reached", func(t *testing.T) {
		request := statusByID("vs_1")
		request.MinRevision = 99
		began := time.Now()
		_, err := two.GetStatus(t.Context(), request)
		wantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
		if took := time.Since(began); took < freshnessWait || took > freshnessWait+5*time.Second {
			t.Errorf("after %v", took)
		}
	})
	t.Run("not within the caller's deadline", func(t *testing.T) {
		request := statusByID("vs_1")
		request.MinRevision = 99
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		// The caller's own deadline is no fault of the store's, which has no reason in the contract.
		if _, err := two.GetStatus(ctx, request); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	})
}

// otherHub is a Live with a hub that no change wakes.
type otherHub struct {
	Live
	hub *hub.Hub
}

func (o otherHub) Hub() *hub.Hub { return o.hub }

func TestG8_ARevisionWhoseWakeUpWasLostIsNotCalledLost(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	deaf := b.replica(t, func(c *Config) { c.Live = otherHub{c.Live, hub.New()} })
	writer := b.replica(t)
	writer.apply(eventOf(1, 1, object("vs_1", "processing")))
	request := statusByID("vs_1")
	request.MinRevision = 2
	failed := make(chan error, 1)
	go func() {
		_, err := deaf.GetStatus(t.Context(), request)
		failed <- err
	}()
	eventually(t, "it waits", func() bool { return deaf.service.config.Live.Hub().Listening(hub.KindSession) > 0 })
	writer.apply(eventOf(2, 2, object("vs_1", "verified")))
	if err := await.One(t, failed); err != nil {
		t.Errorf("the store holds it, and the answer is %v", err)
	}
}

func TestG8_WhatStripeStillKnowsIsNotLost(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	stripe := newFakeStripe(object("vs_1", "verified"))
	b.stripe = stripe
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing"))) // the verified event was lost
	request := statusByID("vs_1")
	request.MinRevision = 2
	response, err := r.GetStatus(t.Context(), request)
	if err != nil || response.GetVerification().GetStatus() != verificationv1.Status_STATUS_VERIFIED {
		t.Errorf("%v, %v", response, err)
	}
	request.MinRevision = 3
	_, err = r.GetStatus(t.Context(), request)
	wantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
}

func TestG8_AnOutageOfTheStoreIsNotALoss(t *testing.T) {
	t.Parallel()
	flaky := &flakyStore{}
	r := newBackend(t).replica(t, func(c *Config) { flaky.Store = c.Live; c.Live = uncached{flaky, c.Live.Hub(), 0} })
	r.apply(eventOf(1, 1, object("vs_1", "processing")))
	flaky.set(store.ErrUnavailable)
	_, err := r.GetStatus(t.Context(), statusByID("vs_1"))
	if d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE); d.retry == nil {
		t.Error("no RetryInfo")
	}
	_, err = r.GetStatus(t.Context(), statusByReference("person"))
	wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	flaky.set(nil)
	request := statusByID("vs_1")
	request.MinRevision = 2
	failed := make(chan error, 1)
	go func() {
		_, err := r.GetStatus(t.Context(), request)
		failed <- err
	}()
	eventually(t, "it waits", func() bool { return r.hub.Listening(hub.KindSession) > 0 })
	flaky.set(store.ErrUnavailable)
	wantError(t, await.One(t, failed), codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
}

// Conflicts while Stripe's answer is committed say nothing about the revision asked for.
func TestG8_ABusyRecordIsNotALoss(t *testing.T) {
	t.Parallel()
	r := newBackend(t).replica(t, func(c *Config) { c.Ingest = busy{c.Ingest} })
	r.apply(eventOf(1, 1, object("vs_1", "processing")))
	request := statusByID("vs_1")
	request.MinRevision = 2
	_, err := r.GetStatus(t.Context(), request)
	wantError(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
}

type busy struct{ Ingest }

func (busy) Refresh(_ context.Context, current verification.Session) (verification.Session, error) {
	return current, store.ErrConflict
}

// The caller's time ran out while Stripe was asked: nothing is known to be lost.
func TestG8_ADeadlineWhileStripeIsAskedIsNotALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		w.put(life("vs_1", 1))
		w.service.config.Ingest = slowIngest{w.service.config.Ingest}
		ctx, cancel := context.WithTimeout(t.Context(), freshnessWait+time.Second)
		defer cancel()
		request := statusByID("vs_1")
		request.MinRevision = 2
		if _, err := w.service.GetStatus(ctx, request); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	})
}

type slowIngest struct{ Ingest }

func (slowIngest) Refresh(ctx context.Context, current verification.Session) (verification.Session, error) {
	<-ctx.Done()
	return current, ctx.Err()
}
