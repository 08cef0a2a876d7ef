package grpcserver

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
)

// TestMaxInFlight: while MaxInFlight calls of a method are under way, further ones are refused at once, with RetryInfo.
// Other methods and health are served. When the calls have ended, a further one is served.
func TestMaxInFlight(t *testing.T) {
	const most, refused = 3, 50
	var shed []string // each with its request id
	entered, release := make(chan struct{}), make(chan struct{})
	var s *running
	s = startOnPipe(t, Config{MaxInFlight: most, Shed: func(ctx context.Context, method, setting string) {
		shed = append(shed, callOf(ctx).requestID()+" "+method+" "+setting)
		s.callLog.InfoContext(ctx, "shed")
	}}, &fake{
		get: func(ctx context.Context, r *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			entered <- struct{}{}
			<-release
			return echo(ctx, r)
		},
		retry: func(context.Context) (*verificationv1.RetryVerificationResponse, error) {
			return &verificationv1.RetryVerificationResponse{}, nil
		},
	})
	answers := make(chan error, most)
	call := func() error {
		_, err := s.client.GetStatus(patient(t), sessionRequest("vs_1"))
		return err
	}
	for range most {
		go func() { answers <- call() }()
		await.One(t, entered)
	}
	for n := range refused {
		id := fmt.Sprintf("call-%d", n)
		var trailer metadata.MD
		_, err := s.client.GetStatus(metadata.AppendToOutgoingContext(patient(t), "x-request-id", id), sessionRequest("vs_1"), grpc.Trailer(&trailer))
		got := status.Convert(err) // it cannot have waited: no slot was released
		var reason string
		var again time.Duration
		for _, detail := range got.Details() {
			switch detail := detail.(type) {
			case *errdetails.ErrorInfo:
				reason = detail.GetReason()
			case *errdetails.RetryInfo:
				again = detail.GetRetryDelay().AsDuration()
			}
		}
		if got.Code() != codes.Unavailable || reason != "ERROR_REASON_OVERLOADED" || again != time.Second {
			t.Fatalf("refused with %v, %q, %v", got, reason, again)
		}
		if want := id + " /verification.v1.VerificationService/GetStatus GRPC_MAX_IN_FLIGHT"; shed[n] != want || !slices.Equal(trailer.Get("x-request-id"), []string{id}) {
			t.Fatalf("Shed got %q, and the caller the request id %q; want %q", shed[n], trailer.Get("x-request-id"), want)
		}
	}
	if _, err := s.client.RetryVerification(patient(t), &verificationv1.RetryVerificationRequest{}); err != nil {
		t.Errorf("another method: %v", err)
	}
	if _, err := healthpb.NewHealthClient(s.conn).Check(patient(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	if len(shed) != refused {
		t.Errorf("Shed was called for %d calls, want %d", len(shed), refused)
	}
	close(release)
	for range most {
		if err := await.One(t, answers); err != nil {
			t.Errorf("a call under way: %v", err)
		}
	}
	go func() { <-entered }()
	if err := call(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestAPanicFreesItsSlot: a call that panics releases its slot.
func TestAPanicFreesItsSlot(t *testing.T) {
	s := startOnPipe(t, Config{MaxInFlight: 1}, &fake{get: func(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
		panic("on purpose")
	}})
	for range 3 {
		if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.Internal {
			t.Fatalf("got %v", err)
		}
	}
}
