package rpc

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// resumed is a request that continues from a token.
func resumed(request *verificationv1.WatchStatusRequest, token string) *verificationv1.WatchStatusRequest {
	again := proto.CloneOf(request)
	again.ResumeToken = token
	return again
}

func untilSettled(request *verificationv1.WatchStatusRequest) *verificationv1.WatchStatusRequest {
	request.UntilSettled = true
	return request
}

func TestAWatchSendsTheSnapshotThenChangesOfEitherReplica(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_1", "requires_input")))
	one.apply(eventOf(2, 2, object("vs_1", "processing")))
	w := two.watch(bySession("vs_1", 0))
	w.wantNext("vs_1", 2, "processing")
	one.apply(eventOf(3, 3, object("vs_1", "requires_input", failure("document_expired", 1))))
	if v := w.wantNext("vs_1", 3, "requires_input"); v.GetLastError().GetCode() != verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED || !v.GetRetry().GetAllowed() {
		t.Errorf("%v", v)
	}
	two.apply(eventOf(4, 4, object("vs_1", "verified")))
	if v := w.wantNext("vs_1", 4, "verified"); !v.GetSettled() {
		t.Errorf("%v", v)
	}
}

func TestAWatchOfNobodyEndsWithNotFoundAndOneOfStripesIsReadThrough(t *testing.T) {
	b := newBackend(t)
	b.stripe = newFakeStripe(object("vs_1", "processing", reference("person")))
	r := b.replica(t)
	for _, request := range []*verificationv1.WatchStatusRequest{bySession("vs_unknown", 0), byReference("nobody")} {
		wantError(t, r.watch(request).ended(), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	w := r.watch(byReference("person"))
	w.wantNext("vs_1", 1, "processing")
	r.watch(bySession("vs_1", 0)).wantNext("vs_1", 1, "processing")
	r.apply(eventOf(1, 2_000_000, object("vs_1", "verified", reference("person"))))
	w.wantNext("vs_1", 2, "verified")
}

func TestUntilSettledEndsWithTheSettledRevision(t *testing.T) {
	for _, settled := range []string{"verified", "canceled"} {
		for name, request := range map[string]*verificationv1.WatchStatusRequest{"session": bySession("vs_1", 0), "reference": byReference("person")} {
			t.Run(settled+" "+name, func(t *testing.T) {
				r := newBackend(t).replica(t)
				untilSettled(request)
				r.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("person"))))
				w := r.watch(request)
				w.wantNext("vs_1", 1, "requires_input")
				earlier := w.token
				r.apply(eventOf(2, 2, object("vs_1", "processing", reference("person"))))
				w.wantNext("vs_1", 2, "processing")
				r.apply(eventOf(3, 3, object("vs_1", settled, reference("person"))))
				w.wantNext("vs_1", 3, settled)
				if err := w.ended(); err != nil {
					t.Errorf("ended with %v", err)
				}
				t.Run("already settled: the snapshot, then OK", func(t *testing.T) {
					late := r.watch(request)
					late.wantNext("vs_1", 3, settled)
					if err := late.ended(); err != nil {
						t.Errorf("ended with %v", err)
					}
				})
				t.Run("token at the settled revision: OK at once", func(t *testing.T) {
					if err := r.watch(resumed(request, w.token)).ended(); err != nil {
						t.Errorf("ended with %v", err)
					}
				})
				t.Run("token before it: what follows, then OK", func(t *testing.T) {
					late := r.watch(resumed(request, earlier))
					late.wantNext("vs_1", 2, "processing")
					late.wantNext("vs_1", 3, settled)
					if err := late.ended(); err != nil {
						t.Errorf("ended with %v", err)
					}
				})
			})
		}
	}
}

func TestByReferenceASupersededSessionDoesNotEndUntilSettled(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe(object("vs_1", "canceled", reference("person")))
	b.stripe = stripe
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "canceled", reference("person"))))
	if _, err := r.RetryVerification(t.Context(), replaceRequest("vs_1")); err != nil {
		t.Fatal(err)
	}
	// By session it ends, by reference it continues with the successor.
	old := r.watch(untilSettled(bySession("vs_1", 0)))
	if v := old.next(); v.GetSupersededBy() != "vs_1r" {
		t.Errorf("%v", v)
	}
	if err := old.ended(); err != nil {
		t.Errorf("ended with %v", err)
	}
	w := r.watch(untilSettled(byReference("person")))
	if v := w.next(); v.GetSessionId() != "vs_1r" {
		t.Fatalf("%v", v)
	}
	r.apply(eventOf(1, 2_000_000, object("vs_1r", "verified", reference("person"), created(100))))
	if v := w.next(); v.GetStatus() != verificationv1.Status_STATUS_VERIFIED {
		t.Errorf("%v", v)
	}
	if err := w.ended(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestAnOpenWatchByReferenceFollowsTheReplacement(t *testing.T) {
	b := newBackend(t)
	b.stripe = newFakeStripe(object("vs_1", "canceled", reference("person")))
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("person"))))
	w := r.watch(byReference("person"))
	w.wantNext("vs_1", 1, "requires_input")
	r.apply(eventOf(2, 2, object("vs_1", "canceled", reference("person"))))
	w.wantNext("vs_1", 2, "canceled")
	if _, err := r.RetryVerification(t.Context(), replaceRequest("vs_1")); err != nil {
		t.Fatal(err)
	}
	for v := w.next(); v.GetSessionId() != "vs_1r"; v = w.next() {
		if v.GetStripeStatus() != "canceled" {
			t.Fatalf("%v", v)
		}
	}
}

func TestAWatchByReferenceFollowsToANewerSessionWithItsCurrentStatus(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("person"))))
	w := two.watch(byReference("person"))
	w.wantNext("vs_1", 1, "requires_input")
	beforeMove := w.token
	one.apply(eventOf(1, 10, object("vs_2", "requires_input", reference("person"), created(9))))
	w.wantNext("vs_2", 1, "requires_input")
	if n := two.hub.Listening(hub.KindSession); n != 1 {
		t.Errorf("it is woken by %d sessions, want the newest only", n)
	}
	one.apply(eventOf(2, 11, object("vs_2", "processing", reference("person"), created(9))))
	w.wantNext("vs_2", 2, "processing")

	// A late event of the old session, an older session and a session of somebody else change nothing.
	one.apply(eventOf(2, 12, object("vs_1", "verified", reference("person"))))
	one.apply(eventOf(1, 13, object("vs_0", "verified", reference("person"), created(-9))))
	one.apply(eventOf(1, 14, object("vs_3", "verified", reference("other"), created(20))))
	one.apply(eventOf(3, 15, object("vs_2", "verified", reference("person"), created(9))))
	w.wantNext("vs_2", 3, "verified")

	// A token from before the move continues with the newer session's current status.
	again := one.watch(resumed(byReference("person"), beforeMove))
	again.wantNext("vs_2", 3, "verified")
	// One from behind it continues in that session, without repeating.
	one.apply(eventOf(4, 16, object("vs_2", "requires_input", failure("document_expired", 1), reference("person"), created(9))))
	again.wantNext("vs_2", 4, "requires_input")
	w.wantNext("vs_2", 4, "requires_input")
	third := two.watch(resumed(byReference("person"), w.token))
	one.apply(eventOf(5, 17, object("vs_2", "processing", reference("person"), created(9))))
	third.wantNext("vs_2", 5, "processing")
}

func erased(o *verification.Object) {
	o.Redaction = verification.RedactionRedacted
}

func TestARedactionReachesWatchesByIDAndByReference(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	// An older session with the reference: where the redacted one loses it, nobody falls back.
	one.apply(eventOf(1, 1, object("vs_0", "canceled", reference("person"), created(-50))))
	one.apply(eventOf(1, 1, object("vs_1", "requires_input", failure("document_expired", 1), reference("person"))))
	byID, byRef := two.watch(bySession("vs_1", 0)), two.watch(byReference("person"))
	byID.wantNext("vs_1", 1, "requires_input")
	byRef.wantNext("vs_1", 1, "requires_input")
	one.apply(eventOf(2, 5, object("vs_1", "requires_input", erased)))
	for _, w := range []*watched{byID, byRef} {
		v := w.wantNext("vs_1", 2, "requires_input")
		if v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED || v.GetLastError() != nil || v.GetClientReferenceId() != "" || !v.GetSettled() {
			t.Errorf("%v", v)
		}
	}
	// The same token is good on the other replica.
	again := one.watch(resumed(bySession("vs_1", 0), byID.token))
	late := one.watch(bySession("vs_1", 0))
	late.wantNext("vs_1", 2, "requires_input")
	one.apply(eventOf(3, 9, object("vs_1", "canceled", erased)))
	again.wantNext("vs_1", 3, "canceled")
	byID.wantNext("vs_1", 3, "canceled")
	byRef.wantNext("vs_1", 3, "canceled")
	// A newer session with the reference is followed all the same.
	one.apply(eventOf(1, 20, object("vs_2", "processing", reference("person"), created(20))))
	byRef.wantNext("vs_2", 1, "processing")
}

func TestG5_RevisionsNotYetSentCollapseIntoTheRedactions(t *testing.T) {
	b := newBackend(t)
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input")))
	w := r.watch(bySession("vs_1", 0))
	w.wantNext("vs_1", 1, "requires_input")
	w.stop()
	for n := 2; n <= 5; n++ {
		r.apply(eventOf(n, int64(n), object("vs_1", "requires_input", failure("document_expired", n))))
	}
	r.apply(eventOf(6, 6, object("vs_1", "requires_input", func(o *verification.Object) { o.Redaction = verification.RedactionProcessing })))
	r.apply(eventOf(7, 7, object("vs_1", "requires_input", erased)))
	again := b.replica(t).watch(untilSettled(resumed(bySession("vs_1", 0), w.token)))
	again.wantNext("vs_1", 6, "requires_input")
	again.wantNext("vs_1", 7, "requires_input")
	if err := again.ended(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// A token names no reference in clear and a tombstone has none. Nothing shows any more whether the
// token belonged to the session, and another person's session must not be shown.
func TestATokenByReferenceOfARedactedSessionIsExpired(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing", reference("person"))))
	w := r.watch(byReference("person"))
	w.wantNext("vs_1", 1, "processing")
	w.stop()
	r.apply(eventOf(2, 2, object("vs_1", "processing", erased)))
	err := r.watch(resumed(byReference("person"), w.token)).ended()
	wantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
}

func TestAWatchSurvivesAnOutageOfTheStoreOverTheWire(t *testing.T) {
	flaky := &flakyStore{}
	b := newBackend(t)
	r := b.replica(t, func(c *Config) { flaky.Store = c.Live; c.Live = uncached{flaky, c.Live.Hub(), 0} })
	r.apply(eventOf(1, 1, object("vs_1", "processing")))
	w := r.watch(bySession("vs_1", 0))
	w.wantNext("vs_1", 1, "processing")
	flaky.set(store.ErrUnavailable)
	r.apply(eventOf(2, 2, object("vs_1", "verified"))) // by another way
	r.hub.WakeAll()
	flaky.set(nil)
	w.wantNext("vs_1", 2, "verified")
	flaky.set(store.ErrUnavailable)
	err := r.watch(bySession("vs_2", 0)).ended() // one that is not cached
	if d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE); d.retry == nil {
		t.Error("no RetryInfo")
	}
}

func TestADrainingServersStreamsContinueElsewhere(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_1", "processing", reference("person"))))
	requests := []*verificationv1.WatchStatusRequest{bySession("vs_1", 0), byReference("person"), allSessions()}
	var open []*watched
	for _, request := range requests {
		w := one.watch(request)
		w.next()
		open = append(open, w)
	}
	one.service.Drain()
	for _, w := range open {
		if d := wantError(t, w.ended(), codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING); d.retry == nil {
			t.Error("no RetryInfo")
		}
	}
	two.apply(eventOf(2, 2, object("vs_1", "verified", reference("person"))))
	for n, request := range requests {
		w := two.watch(resumed(request, open[n].token))
		v := w.next()
		if v == nil { // the bookmark
			v = w.next()
		}
		if v.GetRevision() != 2 {
			t.Errorf("stream %d continues with %v", n, v)
		}
	}
}

func TestAStreamsEndLeavesNothingInTheHub(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing", reference("person"))))
	for range 20 {
		for _, request := range []*verificationv1.WatchStatusRequest{bySession("vs_1", 0), byReference("person"), allSessions(), bySession("vs_none", 0)} {
			w := r.watch(request)
			if request.GetSessionId() != "vs_none" {
				w.next()
			}
			w.cancel()
		}
	}
	eventually(t, "nobody listens", func() bool {
		return r.hub.Listening(hub.KindSession)+r.hub.Listening(hub.KindReference)+r.hub.Listening(hub.KindPartition) == 0
	})
}

// lifeOf is a life of checks and failures, one a second, that ends verified.
func lifeOf(id string, changes int) []verification.Event {
	var events []verification.Event
	for n := 1; n <= changes; n++ {
		o := object(id, "processing", reference("ref_"+id))
		if n%2 == 0 {
			o = object(id, "requires_input", failure("document_expired", n), reference("ref_"+id))
		}
		events = append(events, eventOf(n, int64(n), o))
	}
	return append(events, eventOf(changes+1, int64(changes+1), object(id, "verified", reference("ref_"+id), func(o *verification.Object) {
		o.Report = fmt.Sprintf("vr_%s_last", id)
	})))
}
