package grpcserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
)

// door is an Access that admits calls with the header "welcome", and all calls to the health service.
type door struct{ gate }

func admits(ctx context.Context, method string) error {
	if strings.HasPrefix(method, "/grpc.") || len(metadata.ValueFromIncomingContext(ctx, "welcome")) > 0 {
		return nil
	}
	return status.Error(codes.Unauthenticated, "no")
}

func (door) Holder(ctx context.Context) shares.Holder {
	if from := metadata.ValueFromIncomingContext(ctx, "welcome"); len(from) > 0 {
		return shares.Named(from[0])
	}
	from, _ := peer.FromContext(ctx)
	return shares.Peer(from.Addr)
}

func (door) Unary(ctx context.Context, method string, _ any) error { return admits(ctx, method) }

func (door) Stream(ctx context.Context, method string, stream grpc.ServerStream) (grpc.ServerStream, func(), error) {
	return stream, func() {}, admits(ctx, method)
}

// startBehindDoor serves with few connections. GetStatus answers with the caller's address as the session id.
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
	}, connlimit.New(listener, connections, 0, func() {}))
}

// another returns a further connection to the same server.
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

// TestUnauthenticatedHealthWatchesBlockNobody: unauthenticated health watches stay open on all connections, and a caller
// still gets one.
func TestUnauthenticatedHealthWatchesBlockNobody(t *testing.T) {
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
		t.Errorf("a caller, while health watches have all connections: %v", err)
	}
}

// TestARefusedCallProvesNothing: connections whose calls were all refused are closed before a caller's idle one.
func TestARefusedCallProvesNothing(t *testing.T) {
	const connections = 4
	s := startBehindDoor(t, connections)
	caller := verificationv1.NewVerificationServiceClient(s.another(t))
	before, err := caller.GetStatus(welcomed(t), sessionRequest("vs_1"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * connections {
		client := verificationv1.NewVerificationServiceClient(s.another(t))
		if _, err := client.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.Unauthenticated {
			t.Fatalf("a call without credentials got %v", err)
		}
	}
	after, err := caller.GetStatus(welcomed(t), sessionRequest("vs_1"))
	if err != nil || after.GetVerification().GetSessionId() != before.GetVerification().GetSessionId() {
		t.Errorf("the caller's connection was from %v, and is from %v (%v); want the same", before, after, err)
	}
}

// TestUnauthenticatedHalfCallsAreBounded: in virtual time. Beyond 1,024 calls whose requests do not arrive, each
// further call has shortRequestTimeout, which is enough for a call that is sent whole. An admitted call on the connection
// changes nothing.
func TestUnauthenticatedHalfCallsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, pipe := New(Config{Logger: slog.New(slog.DiscardHandler)}), bufconn.Listen(1<<20)
		verificationv1.RegisterVerificationServiceServer(server, &fake{get: echo})
		served := make(chan error, 1)
		go func() { served <- server.Serve(connlimit.New(pipe, 10, 0, func() {})) }()
		conn, err := pipe.Dial()
		if err != nil {
			t.Fatal(err)
		}
		begun, w := time.Now(), newWire(t, conn)
		half := func() {
			// The caller's own deadline changes nothing.
			if err := w.headers(getStatus, hpack.HeaderField{Name: "grpc-timeout", Value: "29S"}); err != nil {
				t.Fatal(err)
			}
			w.id += 2
		}
		// ends waits until a call ends, and checks which call it is and when.
		ends := func(what string, id uint32, want time.Duration) {
			t.Helper()
			for {
				frame, err := w.framer.ReadFrame()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if trailers, ok := frame.(*http2.HeadersFrame); ok && trailers.StreamEnded() {
					took := time.Since(begun)
					if trailers.StreamID != id && id != 0 || took < want || took > want+shortRequestTimeout/2 {
						t.Errorf("%s: call %d ended after %v, want %d after %v", what, trailers.StreamID, took, id, want)
					}
					return
				}
			}
		}
		for range 1024 + 1 {
			half()
		}
		ends("one too many", w.id-2, shortRequestTimeout)
		if err := errors.Join(w.headers(getStatus), w.message()); err != nil {
			t.Fatal(err)
		}
		ends("a whole call", w.id, shortRequestTimeout)
		w.id += 2
		half()
		ends("one too many, after an admitted call", w.id-2, 2*shortRequestTimeout)
		ends("the others", 0, requestTimeout)
		_ = conn.Close()
		server.Stop(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestCallsWithoutTimeTakeNoSlot: gRPC ends a call whose deadline has passed at its start, and reports no end. Such calls
// must not be counted as unauthenticated for ever.
func TestCallsWithoutTimeTakeNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, pipe := New(Config{Logger: slog.New(slog.DiscardHandler)}), bufconn.Listen(1<<20)
		verificationv1.RegisterVerificationServiceServer(server, &fake{get: echo})
		served := make(chan error, 1)
		go func() { served <- server.Serve(connlimit.New(pipe, 10, 0, func() {})) }()
		conn, err := pipe.Dial()
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(t, conn)
		for range 10 {
			if err := w.headers(getStatus, hpack.HeaderField{Name: "grpc-timeout", Value: "0n"}); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"trailers", "RST_STREAM NO_ERROR"} {
				if end := w.ended(); end != want {
					t.Fatalf("a call without time: %s, want %s", end, want)
				}
			}
			w.id += 2
		}
		time.Sleep(requestTimeout)
		synctest.Wait()
		if left := server.half.Taken(); left != 0 {
			t.Errorf("%d calls that are over are still counted", left)
		}
		_ = conn.Close()
		server.Stop(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestUnauthenticatedCallersDoNotFillTheLog: the lines of refused calls are limited, and an admitted call still has its line.
func TestUnauthenticatedCallersDoNotFillTheLog(t *testing.T) {
	s := startBehindDoor(t, 10)
	client := verificationv1.NewVerificationServiceClient(s.another(t))
	began := time.Now()
	for range 3 * refusalsBurst {
		if _, err := client.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.Unauthenticated {
			t.Fatal(err)
		}
	}
	most := refusalsBurst + refusalsPerSecond*(1+int(time.Since(began)/time.Second))
	if lines := strings.Count(s.log.String(), "code=Unauthenticated"); lines < refusalsBurst || lines > most {
		t.Errorf("%d lines of %d refused calls, want %d to %d", lines, 3*refusalsBurst, refusalsBurst, most)
	}
	if _, err := s.client.GetStatus(welcomed(t), sessionRequest("vs_1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a caller's line", func() bool { return strings.Contains(s.log.String(), "code=OK") })
}
