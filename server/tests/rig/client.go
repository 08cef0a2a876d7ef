package rig

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Dial connects to a gRPC address in plaintext, until the test ends.
func Dial(t testing.TB, addr string, options ...grpc.DialOption) (verificationv1.VerificationServiceClient, *grpc.ClientConn) {
	t.Helper()
	conn, err := grpc.NewClient(addr, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return verificationv1.NewVerificationServiceClient(conn), conn
}

// ClientOf returns a client of a server, until the test ends.
func ClientOf(t testing.TB, p *Process) verificationv1.VerificationServiceClient {
	t.Helper()
	client, _ := Dial(t, p.GRPC)
	return client
}

// Within returns a context that ends after a time, or with the test.
func Within(t testing.TB, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// GetStatus returns the status of a session, with its history. An error fails the test.
func GetStatus(t testing.TB, client verificationv1.VerificationServiceClient, id string) *verificationv1.GetStatusResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Soon)
	defer cancel()
	response, err := client.GetStatus(ctx, &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}, IncludeHistory: true,
	})
	if err != nil {
		t.Fatalf("GetStatus %s: %v", id, err)
	}
	return response
}

// Retry calls RetryVerification, for at most 30 seconds.
func Retry(t testing.TB, client verificationv1.VerificationServiceClient, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return client.RetryVerification(ctx, request)
}

// MustRetry calls Retry. An error fails the test.
func MustRetry(t testing.TB, client verificationv1.VerificationServiceClient, request *verificationv1.RetryVerificationRequest) *verificationv1.RetryVerificationResponse {
	t.Helper()
	response, err := Retry(t, client, request)
	if err != nil {
		t.Fatalf("RetryVerification %v: %v", request, err)
	}
	return response
}

// WatchSessionRequest returns the request of a watch of one session. token can be empty.
func WatchSessionRequest(id, token string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{
		Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}, ResumeToken: token,
	}
}

// WatchAllRequest returns the request of a watch of all sessions. token can be empty.
func WatchAllRequest(token string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{
		Subject:     &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}},
		ResumeToken: token,
	}
}

// WantError checks the code, domain and reason of an error, as the contract says, and returns its ErrorInfo. An error with the
// code UNAVAILABLE must have RetryInfo.
func WantError(t testing.TB, err error, code codes.Code, reason verificationv1.ErrorReason) *errdetails.ErrorInfo {
	t.Helper()
	got := status.Convert(err)
	info := Detail[*errdetails.ErrorInfo](got)
	if got.Code() != code || info == nil || info.GetDomain() != "verification.v1" || info.GetReason() != reason.String() {
		t.Fatalf("error %v with %v; want %v with %v", got, info, code, reason)
	}
	if code == codes.Unavailable && Detail[*errdetails.RetryInfo](got).GetRetryDelay() == nil {
		t.Fatalf("error %v has no RetryInfo", got)
	}
	return info
}

// Detail returns the first detail of a type, or its zero value.
func Detail[T any](s *status.Status) (found T) {
	for _, d := range s.Details() {
		if d, ok := d.(T); ok {
			return d
		}
	}
	return found
}

// CheckRevisions checks that the revisions of a history are 1 to n, each once, and that the session is at revision n.
func CheckRevisions(t testing.TB, response *verificationv1.GetStatusResponse) {
	t.Helper()
	var revisions []int32
	for _, entry := range response.GetHistory() {
		if entry.GetRevision() != 0 {
			revisions = append(revisions, entry.GetRevision())
		}
	}
	v := response.GetVerification()
	for i, revision := range revisions {
		if revision != int32(i+1) {
			t.Fatalf("%s: revisions %v have a hole or a repeat", v.GetSessionId(), revisions)
		}
	}
	if int(v.GetRevision()) != len(revisions) {
		t.Fatalf("%s is at revision %d, and its history at %v", v.GetSessionId(), v.GetRevision(), revisions)
	}
}

// CheckHistory calls CheckRevisions, and checks that the history has these events, each once.
func CheckHistory(t testing.TB, response *verificationv1.GetStatusResponse, events []string) {
	t.Helper()
	CheckRevisions(t, response)
	var ids []string
	for _, entry := range response.GetHistory() {
		if entry.GetEventId() != "" {
			ids = append(ids, entry.GetEventId())
		}
	}
	slices.Sort(ids)
	want := slices.Sorted(slices.Values(events))
	if !slices.Equal(ids, want) {
		t.Fatalf("%s: history has the events %v; want %v", response.GetVerification().GetSessionId(), ids, want)
	}
}
