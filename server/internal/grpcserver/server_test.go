package grpcserver

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds every wait of these tests.
const testTimeout = 10 * time.Second

// fake is a service whose handlers are the test's.
type fake struct {
	verificationv1.UnimplementedVerificationServiceServer
	get   func(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error)
	watch func(grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error
	retry func(context.Context) (*verificationv1.RetryVerificationResponse, error)
}

func (f *fake) GetStatus(ctx context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	return f.get(ctx, request)
}

func (f *fake) WatchStatus(_ *verificationv1.WatchStatusRequest, stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
	return f.watch(stream)
}

func (f *fake) RetryVerification(ctx context.Context, _ *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	return f.retry(ctx)
}

// logBuffer holds what was logged; Write and String may be called at once.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is a served Server with a client.
type running struct {
	*Server
	conn   *grpc.ClientConn
	client verificationv1.VerificationServiceClient
	log    *logBuffer
}

// start serves the fake, and what register adds, on the listener until the test ends.
func start(t *testing.T, config Config, service *fake, listener net.Listener, register ...func(*Server)) *running {
	t.Helper()
	log := &logBuffer{}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	server := New(config)
	verificationv1.RegisterVerificationServiceServer(server, service)
	for _, add := range register {
		add(server)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	target, options := listener.Addr().String(), []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if pipe, ok := listener.(*bufconn.Listener); ok {
		target = "passthrough:///bufconn"
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		server.Stop(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v after Stop", err)
		}
	})
	return &running{server, conn, verificationv1.NewVerificationServiceClient(conn), log}
}

func startOnPipe(t *testing.T, config Config, service *fake, register ...func(*Server)) *running {
	return start(t, config, service, bufconn.Listen(1<<20), register...)
}

func startOnSocket(t *testing.T, config Config, service *fake) *running {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, config, service, listener)
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func echo(_ context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	return &verificationv1.GetStatusResponse{Verification: &verificationv1.Verification{SessionId: request.GetSessionId()}}, nil
}

func sessionRequest(id string) *verificationv1.GetStatusRequest {
	return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}}
}

func TestAnswersOverASocket(t *testing.T) {
	s := startOnSocket(t, Config{}, &fake{get: echo})
	response, err := s.client.GetStatus(patient(t), sessionRequest("vs_1"))
	if err != nil || response.GetVerification().GetSessionId() != "vs_1" {
		t.Fatalf("got %v, %v", response, err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	s := startOnPipe(t, Config{}, &fake{get: echo})
	if _, err := s.client.GetStatus(patient(t), sessionRequest(strings.Repeat("a", 60<<10))); err != nil {
		t.Errorf("60 KiB: %v", err)
	}
	if _, err := s.client.GetStatus(patient(t), sessionRequest(strings.Repeat("a", 65<<10))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("65 KiB: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(patient(t), "big", strings.Repeat("a", 17<<10))
	if _, err := s.client.GetStatus(ctx, sessionRequest("vs_1")); err == nil {
		t.Error("17 KiB of headers were accepted")
	}
}

func TestManyStreamsOnOneConnection(t *testing.T) {
	const streams = 1000
	s := startOnPipe(t, Config{}, &fake{watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
		if err := stream.Send(&verificationv1.WatchStatusResponse{ResumeToken: "t"}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}})
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	for i := range streams {
		stream, err := s.client.WatchStatus(ctx, &verificationv1.WatchStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
}

func TestMaxStreamsIsAnnounced(t *testing.T) {
	release := make(chan struct{})
	s := startOnPipe(t, Config{MaxStreams: 1}, &fake{get: func(ctx context.Context, r *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
		if r.GetSessionId() == "vs_first" {
			<-release
		}
		return echo(ctx, r)
	}})
	first := make(chan error, 1)
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_0")); err != nil { // the settings have arrived after it
		t.Fatal(err)
	}
	go func() {
		_, err := s.client.GetStatus(patient(t), sessionRequest("vs_first"))
		first <- err
	}()
	eventually(t, "a second call waits in the client", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		_, err := s.client.GetStatus(ctx, sessionRequest("vs_second"))
		return status.Code(err) == codes.DeadlineExceeded
	})
	close(release)
	if err := await.One(t, first); err != nil {
		t.Error(err)
	}
}

func TestReflection(t *testing.T) {
	s := startOnPipe(t, Config{Reflection: true}, &fake{get: echo})
	v1, err := grpc_reflection_v1.NewServerReflectionClient(s.conn).ServerReflectionInfo(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	response, err := v1.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range response.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	all := strings.Join(names, " ")
	for _, want := range []string{"verification.v1.VerificationService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} {
		if !strings.Contains(all, want) {
			t.Errorf("v1 does not list %s: %s", want, all)
		}
	}
	_ = v1.CloseSend()

	alpha, err := grpc_reflection_v1alpha.NewServerReflectionClient(s.conn).ServerReflectionInfo(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := alpha.Send(&grpc_reflection_v1alpha.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1alpha.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	old, err := alpha.Recv()
	if err != nil || len(old.GetListServicesResponse().GetService()) != len(names) {
		t.Errorf("v1alpha: %v, %v", old, err)
	}
	_ = alpha.CloseSend()
}

func TestReflectionCanBeOff(t *testing.T) {
	s := startOnPipe(t, Config{}, &fake{})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(s.conn).ServerReflectionInfo(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	server := New(Config{Logger: slog.New(slog.DiscardHandler)})
	if err := server.Serve(listener); err == nil {
		t.Error("no error for a closed listener")
	}
	if !server.Stop(patient(t)) {
		t.Error("nothing ran, but the stop was not graceful")
	}
	if err := server.Serve(listener); err != nil {
		t.Errorf("Serve after Stop: %v", err)
	}
}
