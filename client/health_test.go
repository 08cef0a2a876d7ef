package client_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// answerHealth is a server option: answer handles calls of the health service.
func answerHealth(answer func(grpc.ServerStream) error) grpc.ServerOption {
	return grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if info.FullMethod == healthpb.Health_Watch_FullMethodName {
			return answer(stream)
		}
		return handler(server, stream)
	})
}

// TestCallsDoNotDependOnTheHealthService: an ingress that passes on only the service's paths answers 403, 503 or 404 for
// others, or never answers them. A server can have too many health watches. Behind a proxy, all connections can have the
// health of one replica that stops.
func TestCallsDoNotDependOnTheHealthService(t *testing.T) {
	for name, answer := range map[string]func(grpc.ServerStream) error{
		"403":      func(grpc.ServerStream) error { return status.Error(codes.PermissionDenied, "403 (Forbidden)") },
		"401":      func(grpc.ServerStream) error { return status.Error(codes.Unauthenticated, "401 (Unauthorized)") },
		"404":      func(grpc.ServerStream) error { return status.Error(codes.Unimplemented, "404 (Not Found)") },
		"503":      func(grpc.ServerStream) error { return status.Error(codes.Unavailable, "503") },
		"302":      func(grpc.ServerStream) error { return status.Error(codes.Unknown, "302 (Found)") },
		"too many": func(grpc.ServerStream) error { return status.Error(codes.ResourceExhausted, "too many") },
		"an end":   func(grpc.ServerStream) error { return nil },
		"silence":  func(stream grpc.ServerStream) error { <-stream.Context().Done(); return nil },
		"not serving": func(stream grpc.ServerStream) error {
			_ = stream.SendMsg(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING})
			<-stream.Context().Done()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			server := clienttest.New(t, answerHealth(answer))
			server.Set(session("vs_1", verified))
			c := server.Client()
			for range 3 {
				if v, err := c.Status(within(t), client.Session("vs_1")); err != nil || v.GetStatus() != verified {
					t.Errorf("Status: %v, %v", v, err)
				}
			}
			interrupted := client.OnInterruption(func(err error, _ time.Duration) { t.Errorf("the watch was interrupted: %v", err) })
			for update, err := range c.Watch(within(t), client.Session("vs_1"), interrupted) {
				if err != nil || update.Verification.GetStatus() != verified {
					t.Errorf("Watch: %v, %v", update, err)
				}
				break
			}
		})
	}
}

// TestCallsLeaveAnAddressThatIsNotReady: a server that stops says NOT_SERVING while it still answers. Calls and new watches
// use the other server, and return when the other one stops.
func TestCallsLeaveAnAddressThatIsNotReady(t *testing.T) {
	leavesNothing(t)
	answered := make(chan string, 1)
	note := grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if from, ok := peer.FromContext(ctx); ok {
			answered <- from.LocalAddr.String()
		}
		return handler(ctx, request)
	})
	first := clienttest.New(t, note)
	second := listenSecond(t, first)
	first.Set(session("vs_1", verified))
	second.SetReady(false)
	c := first.Client()
	// allAt waits until ten calls in a row are answered at one address: its health arrives a moment later.
	allAt := func(want string) {
		t.Helper()
		ctx := within(t)
		for inRow := 0; inRow < 10; inRow++ {
			if _, err := c.Status(ctx, client.Session("vs_1")); err != nil {
				t.Fatalf("waiting until all calls go to %s: %v", want, err)
			}
			if got := <-answered; got != want {
				inRow = -1
			}
		}
	}
	allAt(first.Target())
	second.SetReady(true)
	first.SetReady(false)
	allAt(second.Target())
	first.SetReady(true)
	second.SetReady(false)
	allAt(first.Target())
}
