package grpcserver

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/connlimit"
)

// door is an Access that lets in who says so, and everyone to the health service.
type door struct{ gate }

func lets(ctx context.Context, method string) error {
	if isGRPCs(method) || len(metadata.ValueFromIncomingContext(ctx, "welcome")) > 0 {
		return nil
	}
	return status.Error(codes.Unauthenticated, "no")
}

func (door) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if err := lets(ctx, info.FullMethod); err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

func (door) Stream() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := lets(stream.Context(), info.FullMethod); err != nil {
			return err
		}
		return handler(srv, stream)
	}
}

// startBehindDoor serves with few connections; GetStatus answers with the address that the caller has.
func startBehindDoor(t *testing.T, connections int) *running {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := func(ctx context.Context) context.Context { return ctx }
	return start(t, Config{Access: door{gate{nobody}}}, &fake{
		get: func(ctx context.Context, _ *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			caller, _ := peer.FromContext(ctx)
			return echo(ctx, sessionRequest(caller.Addr.String()))
		},
	}, connlimit.New(listener, connections, "TEST", slog.New(slog.DiscardHandler)))
}

// another is a further connection to the same server, of its own.
func (s *running) another(t *testing.T) *grpc.ClientConn {
	conn, err := grpc.NewClient(s.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func welcomed(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(patient(t), "welcome", "yes")
}

// TestHealthWatchesOfStrangersKeepNobodyOut: each holds a connection for as long as it likes, and all of
// them together no caller's.
func TestHealthWatchesOfStrangersKeepNobodyOut(t *testing.T) {
	const connections = 4
	s := startBehindDoor(t, connections)
	for range connections {
		watch, err := healthpb.NewHealthClient(s.another(t)).Watch(patient(t), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	client := verificationv1.NewVerificationServiceClient(s.another(t))
	if _, err := client.GetStatus(welcomed(t), sessionRequest("vs_1")); err != nil {
		t.Errorf("a caller, while strangers have all connections: %v", err)
	}
}

// TestARefusedCallProvesNothing: the connections of strangers make room before a caller's that is idle.
func TestARefusedCallProvesNothing(t *testing.T) {
	const connections = 4
	s := startBehindDoor(t, connections)
	caller := verificationv1.NewVerificationServiceClient(s.another(t))
	before, err := caller.GetStatus(welcomed(t), sessionRequest("vs_1"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * connections {
		stranger := verificationv1.NewVerificationServiceClient(s.another(t))
		if _, err := stranger.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.Unauthenticated {
			t.Fatalf("a stranger got %v", err)
		}
	}
	after, err := caller.GetStatus(welcomed(t), sessionRequest("vs_1"))
	if err != nil || after.GetVerification().GetSessionId() != before.GetVerification().GetSessionId() {
		t.Errorf("the caller's connection was %v, and is %v (%v)", before, after, err)
	}
}
