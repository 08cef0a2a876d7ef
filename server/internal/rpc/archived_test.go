package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/verification"
)

// archivedPerson is a verified session that was archived, at two servers, whose reference Stripe still shows.
func archivedPerson(t *testing.T) (stripe *fakeStripe, one, two *replica) {
	t.Helper()
	b := newBackend(t)
	o := object("vs_1", "verified", reference("person"))
	stripe = newFakeStripe(o)
	b.stripe = stripe
	one, two = b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, o))
	one.archive("vs_1")
	return stripe, one, two
}

// finds are the searches at Stripe since the last call.
func (f *fakeStripe) takeCalls() (gets, finds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gets, finds = f.gets, f.finds
	f.gets, f.finds = 0, 0
	return gets, finds
}

// TestAnArchivedSessionIsFoundByItsReferenceWithOneRead at Stripe, at each server; its answer is the one that
// callers by id get.
func TestAnArchivedSessionIsFoundByItsReferenceWithOneRead(t *testing.T) {
	stripe, one, two := archivedPerson(t)
	byID := one.status("vs_1")
	for _, r := range []*replica{one, two} {
		for range 20 {
			got, err := r.GetStatus(t.Context(), statusByReference("person"))
			if err != nil || !proto.Equal(got.GetVerification(), byID) {
				t.Fatalf("by reference: %v, %v; want as by id: %v", got, err, byID)
			}
		}
		for range 5 {
			w := r.watch(byReference("person"))
			w.wantNext("vs_1", 2, "verified")
			w.stop()
		}
		withHistory := statusByReference("person")
		withHistory.IncludeHistory, withHistory.MinRevision = true, 2
		if got, err := r.GetStatus(t.Context(), withHistory); err != nil || len(got.GetHistory()) != 0 {
			t.Errorf("with history: %v, %v", got, err)
		}
		if gets, finds := stripe.takeCalls(); gets != 0 || finds != 1 {
			t.Errorf("Stripe was asked %d times for the reference and %d times for the session; want once", finds, gets)
		}
	}
	stripe.change(func() { stripe.fail = verification.ErrStripeUnavailable })
	if _, err := one.GetStatus(t.Context(), statusByReference("person")); err != nil {
		t.Errorf("while Stripe is unavailable: %v", err)
	}
	if session := one.record("vs_1"); session.Reference != "" || !session.IsArchived() {
		t.Errorf("the record has the reference %q again", session.Reference)
	}
}

// TestAWatchOfAnArchivedReferenceGoesOnWithItsToken, and follows a newer session.
func TestG5_AWatchOfAnArchivedReferenceContinuesWithItsToken(t *testing.T) {
	stripe, one, two := archivedPerson(t)
	w := one.watch(byReference("person"))
	w.wantNext("vs_1", 2, "verified")
	w.stop()
	again := two.watch(resumed(byReference("person"), w.token))
	one.apply(eventOf(1, 5, object("vs_2", "processing", reference("person"), created(100))))
	again.wantNext("vs_2", 1, "processing")
	again.stop()
	// A token of before the newer session, and one of before the archive.
	later := one.watch(resumed(byReference("person"), w.token))
	later.wantNext("vs_2", 1, "processing")

	stripe.set(object("vs_3", "verified", reference("another")))
	one.apply(eventOf(1, 1, stripe.sessions["vs_3"]))
	live := two.watch(byReference("another"))
	live.wantNext("vs_3", 1, "verified")
	live.stop()
	one.archive("vs_3")
	two.watch(resumed(byReference("another"), live.token)).wantNext("vs_3", 2, "verified")
}

// TestG7_AForgedTokenOfAnArchivedSessionShowsNothing: its record names no reference, so Stripe must say so.
func TestG7_AForgedTokenOfAnArchivedSessionShowsNothing(t *testing.T) {
	stripe, one, _ := archivedPerson(t)
	stripe.set(object("vs_0", "verified", reference("me"), created(-100)))
	one.apply(eventOf(1, 1, object("vs_0", "verified", reference("me"), created(-100))))
	for _, me := range []string{"me", "nobody"} {
		forged := resumetoken.EncodeReference(me, resumetoken.Session(cursorAt(one.record("vs_1"), 2)))
		wantExpiredToken(t, one.watch(resumed(byReference(me), forged)).ended())
	}
	stripe.change(func() { stripe.fail = verification.ErrStripeUnavailable })
	forged := resumetoken.EncodeReference("else", resumetoken.Session(cursorAt(one.record("vs_1"), 2)))
	wantError(t, one.watch(resumed(byReference("else"), forged)).ended(), codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
}

// TestG15_AMinRevisionThatDoesNotComeSpendsOneRead, however often it is asked for, also of a tombstone and of a
// session that Stripe does not know.
func TestG15_AMinRevisionThatDoesNotComeSpendsOneRead(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	t.Parallel()
	b := newBackend(t)
	stripe := newFakeStripe(object("vs_1", "processing"), object("vs_2", "verified", erased))
	b.stripe = stripe
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing")))
	r.apply(eventOf(1, 1, object("vs_2", "verified", erased)))
	r.apply(eventOf(1, 1, object("vs_3", "processing"))) // not at Stripe
	errs := make(chan error, 9)
	for _, id := range []string{"vs_1", "vs_2", "vs_3"} {
		go func() {
			for range 3 {
				request := statusByID(id)
				request.MinRevision = 100
				_, err := r.GetStatus(t.Context(), request)
				errs <- err
			}
		}()
	}
	for range cap(errs) {
		select {
		case err := <-errs:
			wantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	}
	if gets, _ := stripe.takeCalls(); gets != 3 {
		t.Errorf("Stripe was asked %d times; want once for each session", gets)
	}
	// What is new in the record is a reason to ask again.
	stripe.set(object("vs_1", "verified"))
	r.apply(eventOf(2, 2, object("vs_1", "requires_input", failure("document_expired", 1))))
	request := statusByID("vs_1")
	request.MinRevision = 3
	if got, err := r.GetStatus(t.Context(), request); err != nil || got.GetVerification().GetStripeStatus() != "verified" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestAnArchivedRecordStaysFreeOfItsReference, whatever is asked and whatever comes late.
func TestAnArchivedRecordStaysFreeOfItsReference(t *testing.T) {
	stripe, one, _ := archivedPerson(t)
	stripe.set(object("vs_1", "verified", reference("person"), func(o *verification.Object) { o.Report = "vr_of_the_person" }))
	ask := func() {
		t.Helper()
		if _, err := one.GetStatus(t.Context(), statusByReference("person")); err != nil {
			t.Error(err)
		}
	}
	ask()
	if _, err := one.ingest.Reread(t.Context(), one.record("vs_1")); err != nil {
		t.Error(err)
	}
	one.apply(eventOf(2, 0, object("vs_1", "requires_input", failure("document_expired", 1), reference("person"))))
	ask()
	session := one.record("vs_1")
	if !session.IsArchived() || session.FailedAttempts != 1 || session.Reference != "" || session.Report != "" {
		t.Errorf("archived %v with %d failures, reference %q, report %q", session.IsArchived(), session.FailedAttempts, session.Reference, session.Report)
	}
}
