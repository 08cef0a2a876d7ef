package grpcserver

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
)

func TestHealthThroughALife(t *testing.T) {
	s := startOnPipe(t, Config{}, &fake{get: echo})
	client := healthpb.NewHealthClient(s.conn)
	check := func(when, service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		response, err := client.Check(patient(t), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || response.GetStatus() != want {
			t.Errorf("%s: %q is %v, %v, want %v", when, service, response.GetStatus(), err, want)
		}
	}
	const service = "verification.v1.VerificationService"
	const up, down = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	check("at start", "", up)
	check("at start", service, down)
	s.SetServing(true)
	check("ready", service, up)
	s.SetServing(false)
	check("store away", service, down)
	check("store away", "", up)
	s.SetServing(true)
	s.BeginDrain()
	s.BeginDrain()
	check("draining", "", down)
	check("draining", service, down)
	s.SetServing(true)
	check("ready again, but draining", service, down)
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); err != nil {
		t.Errorf("a call while draining: %v", err)
	}
	if _, err := client.Check(patient(t), &healthpb.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
}

// openWatch opens a watch and receives its first response.
func openWatch(t *testing.T, s *running) grpc.ServerStreamingClient[verificationv1.WatchStatusResponse] {
	t.Helper()
	stream, err := s.client.WatchStatus(patient(t), &verificationv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestStopWaitsForStreamsThatEnd(t *testing.T) {
	draining := make(chan struct{})
	s := startOnSocket(t, Config{}, &fake{watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
		_ = stream.Send(&verificationv1.WatchStatusResponse{})
		<-draining
		return status.Error(codes.Unavailable, "resume elsewhere")
	}})
	stream := openWatch(t, s)
	stopped := make(chan bool, 1)
	s.BeginDrain()
	go func() { stopped <- s.Stop(patient(t)) }()
	select {
	case <-stopped:
		t.Fatal("Stop did not wait for the stream")
	case <-s.stopping.Done(): // Stop has begun
	}
	close(draining)
	if _, err := stream.Recv(); status.Convert(err).Message() != "resume elsewhere" {
		t.Errorf("the stream ended with %v", err)
	}
	if !await.One(t, stopped) {
		t.Error("the stop was not graceful")
	}
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after Stop: %v", err)
	}
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	ended := make(chan struct{})
	s := startOnSocket(t, Config{}, &fake{watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
		defer close(ended)
		_ = stream.Send(&verificationv1.WatchStatusResponse{})
		<-stream.Context().Done()
		return stream.Context().Err()
	}})
	stream := openWatch(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if s.Stop(ctx) {
		t.Error("a stream was open, but the stop was graceful")
	}
	if took := time.Since(begun); took < 50*time.Millisecond || took > hardStopTimeout {
		t.Errorf("Stop took %v", took)
	}
	select {
	case <-ended:
	default:
		t.Error("Stop returned before the handler ended")
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestStopDoesNotWaitForEverForAHandler(t *testing.T) {
	t.Parallel()
	release, ended := make(chan struct{}), make(chan struct{})
	s := startOnSocket(t, Config{}, &fake{watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
		defer close(ended)
		_ = stream.Send(&verificationv1.WatchStatusResponse{})
		<-release // deaf to its context
		return nil
	}})
	openWatch(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	begun := time.Now()
	if s.Stop(ctx) || time.Since(begun) > hardStopTimeout+testTimeout {
		t.Errorf("Stop took %v", time.Since(begun))
	}
	if !strings.Contains(s.log.String(), "handlers still run") {
		t.Errorf("the log does not say so: %s", s.log.String())
	}
	close(release)
	await.One(t, ended)
}

// A client with health checking holds a health.Watch stream open: it must not delay the stop.
func TestHealthWatchersDoNotDelayAStop(t *testing.T) {
	s := startOnSocket(t, Config{}, &fake{})
	s.SetServing(true)
	stream, err := healthpb.NewHealthClient(s.conn).Watch(patient(t), &healthpb.HealthCheckRequest{Service: serviceName})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("got %v, %v", first, err)
	}
	s.BeginDrain()
	if second, err := stream.Recv(); err != nil || second.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("on drain: %v, %v", second, err)
	}
	if !s.Stop(patient(t)) {
		t.Error("the stop was not graceful")
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || err == io.EOF {
		t.Errorf("the watch ended with %v", err)
	}
}
