package clienttest_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// start is a server and the bare generated client of it: what is tested here is the wire.
func start(t *testing.T) (*clienttest.Server, verificationv1.VerificationServiceClient) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	server := clienttest.New(t)
	conn, err := grpc.NewClient(server.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return server, verificationv1.NewVerificationServiceClient(conn)
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func of(id string, status verificationv1.Status) *verificationv1.Verification {
	return &verificationv1.Verification{SessionId: id, Status: status}
}

func bySession(id, token string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}, ResumeToken: token}
}

func byReference(reference, token string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: reference}, ResumeToken: token}
}

func allSessions(token string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}, ResumeToken: token}
}

// watch opens a stream; next receives.
func watch(t *testing.T, rpc verificationv1.VerificationServiceClient, request *verificationv1.WatchStatusRequest) (next func() *verificationv1.WatchStatusResponse, end func() error) {
	t.Helper()
	stream, err := rpc.WatchStatus(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	next = func() *verificationv1.WatchStatusResponse {
		t.Helper()
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	end = func() error {
		t.Helper()
		response, err := stream.Recv()
		if err == nil {
			t.Fatalf("received %v; want the end", response)
		}
		return err
	}
	return next, end
}

func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func wantReason(t *testing.T, err error, code codes.Code, want verificationv1.ErrorReason) {
	t.Helper()
	if status.Code(err) != code || reason(err) != want.String() {
		t.Errorf("%v with %s; want %v with %v", err, reason(err), code, want)
	}
}

func first(next func() *verificationv1.WatchStatusResponse, _ func() error) func() *verificationv1.WatchStatusResponse {
	return next
}
