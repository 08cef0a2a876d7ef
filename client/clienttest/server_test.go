package clienttest_test

import (
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const (
	requiresInput = verificationv1.Status_STATUS_REQUIRES_INPUT
	processing    = verificationv1.Status_STATUS_PROCESSING
	verified      = verificationv1.Status_STATUS_VERIFIED
	canceled      = verificationv1.Status_STATUS_CANCELED
)

func TestSetMakesRevisions(t *testing.T) {
	server, _ := start(t)
	first := server.Set(of("vs_1", requiresInput))
	if again := server.Set(of("vs_1", requiresInput)); !cmp.Equal(first, again, protocmp.Transform()) {
		t.Errorf("the same state made a revision: %v", again)
	}
	last := server.Set(of("vs_1", verified))
	if first.GetRevision() != 1 || last.GetRevision() != 2 || first.GetSettled() || !last.GetSettled() {
		t.Errorf("%v, then %v", first, last)
	}
	if last.GetStripeStatus() != "verified" || last.GetCreateTime().GetSeconds() != first.GetCreateTime().GetSeconds() ||
		last.GetUpdateTime().GetSeconds() <= first.GetUpdateTime().GetSeconds() {
		t.Errorf("filled in: %v, then %v", first, last)
	}
	defer func() {
		if recover() == nil {
			t.Error("a session id that is none was taken")
		}
	}()
	server.Set(of("pi_1", verified))
}

func TestWatchAndResume(t *testing.T) {
	server, rpc := start(t)
	server.Set(of("vs_1", requiresInput))
	server.Set(of("vs_1", processing))
	next, _ := watch(t, rpc, bySession("vs_1", ""))
	snapshot := next()
	if snapshot.GetVerification().GetRevision() != 2 {
		t.Fatalf("the snapshot is %v", snapshot)
	}
	server.Set(of("vs_1", verified))
	server.Set(of("vs_1", processing))
	for _, next := range []func() *verificationv1.WatchStatusResponse{next, first(watch(t, rpc, bySession("vs_1", snapshot.GetResumeToken())))} {
		if a, b := next(), next(); a.GetVerification().GetRevision() != 3 || b.GetVerification().GetRevision() != 4 {
			t.Errorf("then %v, %v", a, b)
		}
	}
	_, end := watch(t, rpc, bySession("vs_2", snapshot.GetResumeToken()))
	wantReason(t, end(), codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID)
	_, end = watch(t, rpc, bySession("vs_2", ""))
	wantReason(t, end(), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	server.ExpireTokens()
	_, end = watch(t, rpc, bySession("vs_1", snapshot.GetResumeToken()))
	wantReason(t, end(), codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	server.Set(of("vs_1", verified))
	young := next().GetResumeToken() // an open watch continues, with tokens that are good
	server.Set(of("vs_1", canceled))
	if response := first(watch(t, rpc, bySession("vs_1", young)))(); response.GetVerification().GetRevision() != 6 {
		t.Errorf("resumed at %v", response)
	}
}

func TestARedactionTakesTheRestAway(t *testing.T) {
	server, rpc := start(t)
	v := of("vs_1", requiresInput)
	v.ClientReferenceId, v.LastError = "user-42", &verificationv1.VerificationError{Reason: "a reason"}
	server.Set(v)
	session, reference, all := first(watch(t, rpc, bySession("vs_1", ""))), first(watch(t, rpc, byReference("user-42", ""))), first(watch(t, rpc, allSessions("")))
	for _, next := range []func() *verificationv1.WatchStatusResponse{session, reference} {
		if got := next().GetVerification(); got.GetRevision() != 1 {
			t.Fatalf("%v", got)
		}
	}
	token := all().GetResumeToken()
	server.Silence(true)
	v.Status = verified
	server.Set(v)
	v.Redaction = verificationv1.Redaction_REDACTION_REDACTED
	server.Set(v)
	server.Silence(false)
	resumed := first(watch(t, rpc, allSessions(token)))
	if response := resumed(); response.GetVerification() != nil {
		t.Errorf("no token first: %v", response)
	}
	for name, next := range map[string]func() *verificationv1.WatchStatusResponse{"session": session, "reference": reference, "all": all, "resumed": resumed} {
		got := next().GetVerification()
		if got.GetRevision() != 3 || got.GetClientReferenceId() != "" || got.GetLastError() != nil || !got.GetSettled() {
			t.Errorf("%s: %v", name, got)
		}
	}
	_, end := watch(t, rpc, byReference("user-42", ""))
	wantReason(t, end(), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}

func TestUntilSettled(t *testing.T) {
	server, rpc := start(t)
	v := of("vs_1", canceled)
	v.ClientReferenceId, v.SupersededBy = "user-42", "vs_2"
	server.Set(v)
	request := byReference("user-42", "")
	request.UntilSettled = true
	next, end := watch(t, rpc, request)
	next()
	v = of("vs_2", verified)
	v.ClientReferenceId = "user-42"
	server.Set(v)
	response := next()
	if response.GetVerification().GetSessionId() != "vs_2" {
		t.Errorf("a session that was replaced ended the watch: %v", response)
	}
	if err := end(); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	request.ResumeToken = response.GetResumeToken()
	if _, end = watch(t, rpc, request); !errors.Is(end(), io.EOF) {
		t.Error("resumed where it was settled, the stream continues")
	}
}

func TestFaults(t *testing.T) {
	server, rpc := start(t)
	server.Set(of("vs_1", verified))
	get := func() error {
		_, err := rpc.GetStatus(within(t), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}})
		return err
	}
	internal := clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_INTERNAL)
	server.FailNext(internal, internal)
	codesSeen := []codes.Code{status.Code(get()), status.Code(get()), status.Code(get())}
	if !slices.Equal(codesSeen, []codes.Code{codes.Internal, codes.Internal, codes.OK}) {
		t.Errorf("FailNext: %v", codesSeen)
	}
	next, end := watch(t, rpc, bySession("vs_1", ""))
	next()
	server.CutStreams(nil)
	wantReason(t, end(), codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
	next, end = watch(t, rpc, bySession("vs_1", ""))
	next()
	server.Heartbeat()
	if beat := next(); beat.GetVerification() != nil || beat.GetResumeToken() == "" {
		t.Errorf("a heartbeat: %v", beat)
	}
	server.Fail(internal)
	wantReason(t, end(), codes.Internal, verificationv1.ErrorReason_ERROR_REASON_INTERNAL)
	if err := get(); status.Code(err) != codes.Internal {
		t.Errorf("Fail: %v", err)
	}
	server.Fail(nil)
	if err := get(); err != nil {
		t.Errorf("Fail(nil): %v", err)
	}
	if open, opened := server.Streams(); open != 0 || opened != 2 {
		t.Errorf("%d streams are open, %d were", open, opened)
	}
}

func TestEveryReasonHasItsCode(t *testing.T) {
	for number, name := range verificationv1.ErrorReason_name {
		if number == 0 {
			continue
		}
		if err := clienttest.Error(verificationv1.ErrorReason(number)); status.Code(err) == codes.OK || reason(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetriesAreCounted(t *testing.T) {
	server, rpc := start(t)
	failed := of("vs_1", requiresInput)
	failed.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED}
	retry := func() (*verificationv1.RetryVerificationResponse, error) {
		return rpc.RetryVerification(within(t), &verificationv1.RetryVerificationRequest{SessionId: "vs_1"})
	}
	server.Set(of("vs_1", requiresInput))
	for round := range int32(2) {
		server.Set(of("vs_1", processing))
		server.Set(failed)
		for range 2 { // the second time uses nothing
			response, err := retry()
			want := &verificationv1.RetryState{FailedAttempts: round + 1, RetriesGranted: round + 1, RetriesRemaining: 1 - round, Allowed: true}
			if diff := cmp.Diff(want, response.GetVerification().GetRetry(), protocmp.Transform()); diff != "" || err != nil || response.GetUrl() == "" {
				t.Errorf("round %d: %v, %v", round+1, diff, err)
			}
		}
	}
	server.Set(of("vs_1", processing))
	last := server.Set(failed)
	if _, err := retry(); reason(err) != "ERROR_REASON_RETRY_DENIED" || last.GetRetry().GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED {
		t.Errorf("a third retry: %v of %v", err, last)
	}
}

func TestBadRequests(t *testing.T) {
	_, rpc := start(t)
	beating := bySession("vs_1", "")
	beating.Heartbeat = durationpb.New(0)
	settledAll := allSessions("")
	settledAll.UntilSettled = true
	for name, request := range map[string]*verificationv1.WatchStatusRequest{
		"no subject": {}, "no id": bySession("pi_1", ""), "no reference": byReference("", ""), "heartbeat": beating, "all until settled": settledAll,
	} {
		_, end := watch(t, rpc, request)
		if err := end(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	server, rpc := start(t)
	server.Set(of("vs_1", requiresInput))
	const writers, changes = 4, 50
	var writing sync.WaitGroup
	next := first(watch(t, rpc, bySession("vs_1", "")))
	next()
	for range writers {
		writing.Go(func() {
			for i := range changes {
				v := of("vs_1", processing)
				v.LastVerificationReport = "vr_" + string(rune('a'+i%2))
				server.Set(v)
				server.Heartbeat()
			}
		})
	}
	writing.Wait()
	server.Set(of("vs_1", verified))
	for last := int32(1); ; {
		v := next().GetVerification()
		if v == nil {
			continue
		}
		if v.GetRevision() != last+1 {
			t.Fatalf("revision %d after %d", v.GetRevision(), last)
		}
		if last++; v.GetSettled() {
			break
		}
	}
}
