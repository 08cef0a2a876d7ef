package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/offstack"
	"example.com/verification-status/server/internal/testing/await"
)

// watchResult opens a watch and returns the error that ends it.
func watchResult(t *testing.T, s *running) error {
	t.Helper()
	stream, err := s.client.WatchStatus(patient(t), &verificationv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func wantInternal(t *testing.T, err error) {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != codes.Internal || got.Message() != "internal error" {
		t.Errorf("got %v", err)
	}
	if len(got.Details()) != 1 {
		t.Fatalf("details: %v", got.Details())
	}
	info, ok := got.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.GetDomain() != "verification.v1" || info.GetReason() != "ERROR_REASON_INTERNAL" || len(info.GetMetadata()) != 0 {
		t.Errorf("ErrorInfo: %v", got.Details())
	}
}

func TestPanicsBecomeInternal(t *testing.T) {
	s := startOnPipe(t, Config{}, &fake{
		get: func(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			panic("planted in unary")
		},
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			_ = stream.Send(&verificationv1.WatchStatusResponse{})
			panic(errors.New("planted in stream"))
		},
	})
	_, err := s.client.GetStatus(patient(t), sessionRequest("vs_1"))
	wantInternal(t, err)
	wantInternal(t, watchResult(t, s))
	eventually(t, "the stream's line", func() bool { return strings.Count(s.log.String(), "reason=ERROR_REASON_INTERNAL") == 2 })
	log := withoutField(s.log.String(), "duration", "peer")
	for _, want := range []string{"panic=string", "panic=*errors.errorString", "interceptor_test.go", "WatchStatus", "code=Internal reason=ERROR_REASON_INTERNAL", "level=ERROR"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	// The server survived.
	if _, err := s.client.RetryVerification(patient(t), nil); status.Code(err) != codes.Internal {
		t.Errorf("a nil handler: %v", err)
	}
	eventually(t, "the text of Go's own panic", func() bool { return strings.Contains(s.log.String(), "invalid memory address") })
	if strings.Contains(s.log.String(), "planted") {
		t.Error("the text of a panic, which may quote the call, is in the log")
	}
}

// TestAPanicOfAHandlersGoroutineIsLoggedWithItsOwnStack, not with the handler's, which does not show the panic.
func TestAPanicOfAHandlersGoroutineIsLoggedWithItsOwnStack(t *testing.T) {
	s := startOnPipe(t, Config{}, &fake{
		watch: func(grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			panic(&offstack.Panic{Value: errors.New("planted elsewhere"), Stack: []byte("where it was")})
		},
	})
	wantInternal(t, watchResult(t, s))
	eventually(t, "the line", func() bool { return strings.Contains(s.log.String(), `panic=*errors.errorString stack="where it was"`) })
	if strings.Contains(s.log.String(), "planted") {
		t.Error("the text of a panic, which may quote the call, is in the log")
	}
}

func TestErrorsThatLeaveHandlers(t *testing.T) {
	rich, err := status.New(codes.NotFound, "no such session").WithDetails(&errdetails.ErrorInfo{Domain: "verification.v1", Reason: "ERROR_REASON_SESSION_NOT_FOUND"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err     error
		code    codes.Code
		message string
		details int
	}{
		"deadline":         {context.DeadlineExceeded, codes.DeadlineExceeded, "the deadline passed before the call was done", 0},
		"wrapped deadline": {fmt.Errorf("dial planted: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "the deadline passed before the call was done", 0},
		"canceled":         {fmt.Errorf("planted: %w", context.Canceled), codes.Canceled, "the call was canceled", 0},
		"plain":            {errors.New("planted"), codes.Internal, "internal error", 1},
		"end of file":      {io.EOF, codes.Internal, "internal error", 1},
		"a status":         {rich.Err(), codes.NotFound, "no such session", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := startOnPipe(t, Config{}, &fake{
				get: func(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
					return nil, test.err
				},
				watch: func(grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error { return test.err },
			})
			_, unary := s.client.GetStatus(patient(t), sessionRequest("vs_1"))
			for _, err := range []error{unary, watchResult(t, s)} {
				got := status.Convert(err)
				if got.Code() != test.code || got.Message() != test.message || len(got.Details()) != test.details {
					t.Errorf("got %v with %v", err, got.Details())
				}
			}
		})
	}
}

func TestUnknownMethodsStayGrpcs(t *testing.T) {
	s := startOnPipe(t, Config{}, &fake{})
	err := s.conn.Invoke(patient(t), "/verification.v1.VerificationService/Nothing", &verificationv1.GetStatusRequest{}, &verificationv1.GetStatusResponse{})
	if got := status.Convert(err); got.Code() != codes.Unimplemented || len(got.Details()) != 0 {
		t.Errorf("got %v", err)
	}
}

// withoutField cuts fields whose values differ from run to run out of log lines.
func withoutField(log string, names ...string) string {
	var kept []string
	for word := range strings.SplitSeq(log, " ") {
		name, _, _ := strings.Cut(word, "=")
		drop := false
		for _, n := range names {
			drop = drop || n == name
		}
		if !drop {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

func TestOneLineForEachCall(t *testing.T) {
	denied, err := status.New(codes.FailedPrecondition, "planted message").WithDetails(&errdetails.ErrorInfo{Reason: "ERROR_REASON_RETRY_DENIED", Metadata: map[string]string{"k": "planted"}})
	if err != nil {
		t.Fatal(err)
	}
	s := startOnSocket(t, Config{}, &fake{
		get: func(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			return &verificationv1.GetStatusResponse{Verification: &verificationv1.Verification{ClientReferenceId: "planted"}}, nil
		},
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			_ = stream.Send(&verificationv1.WatchStatusResponse{ResumeToken: "planted"})
			return status.Error(codes.Unavailable, "planted")
		},
		retry: func(context.Context) (*verificationv1.RetryVerificationResponse, error) { return nil, denied.Err() },
	})
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_planted")); err != nil {
		t.Fatal(err)
	}
	_ = watchResult(t, s)
	_, _ = s.client.RetryVerification(patient(t), &verificationv1.RetryVerificationRequest{SessionId: "vs_planted"})
	if _, err := healthpb.NewHealthClient(s.conn).Check(patient(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	// The line of a stream can be written after its client saw the end.
	eventually(t, "four lines", func() bool { return strings.Count(s.log.String(), "\n") == 4 })
	log := s.log.String()
	if strings.Contains(log, "planted") {
		t.Errorf("a payload or message was logged:\n%s", log)
	}
	if strings.Count(log, "peer=127.0.0.1:") != 4 || strings.Count(log, "duration=") != 4 {
		t.Errorf("lines without peer or duration:\n%s", log)
	}
	short := withoutField(log, "peer", "duration", "time", "request_id")
	for _, want := range []string{
		`level=DEBUG msg="gRPC call" method=/verification.v1.VerificationService/GetStatus code=OK`,
		`level=DEBUG msg="gRPC call" method=/verification.v1.VerificationService/WatchStatus code=Unavailable`,
		`level=INFO msg="gRPC call" method=/verification.v1.VerificationService/RetryVerification code=FailedPrecondition reason=ERROR_REASON_RETRY_DENIED`,
		`level=DEBUG msg="gRPC call" method=/grpc.health.v1.Health/Check code=OK`,
	} {
		if !strings.Contains(short, want) {
			t.Errorf("no line %s in:\n%s", want, short)
		}
	}
}

func TestCallLevel(t *testing.T) {
	for _, test := range []struct {
		method string
		stream bool
		code   codes.Code
		want   string
	}{
		{"/a/B", false, codes.OK, "DEBUG"}, {"/a/B", false, codes.NotFound, "INFO"}, {"/a/B", true, codes.Canceled, "DEBUG"},
		{"/a/B", false, codes.Canceled, "DEBUG"}, {"/a/B", true, codes.OK, "DEBUG"}, {"/a/B", true, codes.OutOfRange, "INFO"},
		{"/a/B", false, codes.Unavailable, "WARN"}, {"/a/B", false, codes.DeadlineExceeded, "WARN"}, {"/a/B", true, codes.Unavailable, "DEBUG"},
		{"/grpc.health.v1.Health/Check", false, codes.NotFound, "DEBUG"},
		{"/a/B", true, codes.Internal, "ERROR"}, {"/a/B", false, codes.Unknown, "ERROR"}, {"/grpc.health.v1.Health/Check", false, codes.OK, "DEBUG"},
		{"/grpc.health.v1.Health/Check", false, codes.Internal, "ERROR"},
	} {
		if got := callLevel(&method{full: test.method, stream: test.stream, builtIn: strings.HasPrefix(test.method, "/grpc.")}, test.code).String(); got != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

func TestDeadlines(t *testing.T) {
	left := func(ctx context.Context) time.Duration {
		deadline, ok := ctx.Deadline()
		if !ok {
			return 0
		}
		return time.Until(deadline)
	}
	seen := make(chan time.Duration, 1)
	s := startOnPipe(t, Config{MethodDeadlines: map[string]time.Duration{verificationv1.VerificationService_RetryVerification_FullMethodName: 15 * time.Second}}, &fake{
		get: func(ctx context.Context, r *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			seen <- left(ctx)
			return echo(ctx, r)
		},
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			seen <- left(stream.Context())
			return nil
		},
		retry: func(ctx context.Context) (*verificationv1.RetryVerificationResponse, error) {
			seen <- left(ctx)
			return &verificationv1.RetryVerificationResponse{}, nil
		},
	})
	get := func(ctx context.Context) error { _, err := s.client.GetStatus(ctx, sessionRequest("vs_1")); return err }
	retry := func(ctx context.Context) error {
		_, err := s.client.RetryVerification(ctx, &verificationv1.RetryVerificationRequest{})
		return err
	}
	watch := func(ctx context.Context) error {
		stream, err := s.client.WatchStatus(ctx, &verificationv1.WatchStatusRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
	for name, test := range map[string]struct {
		call     func(context.Context) error
		own      time.Duration
		min, max time.Duration
	}{
		"get without":   {get, 0, 4 * time.Second, 5 * time.Second},
		"get with":      {get, 20 * time.Second, 15 * time.Second, 20 * time.Second},
		"get with long": {get, time.Hour, 25 * time.Second, 30 * time.Second},
		"retry without": {retry, 0, 14 * time.Second, 15 * time.Second},
		"retry with":    {retry, 8 * time.Second, 6 * time.Second, 8 * time.Second},
		"watch without": {watch, 0, 0, 0},
		"watch with":    {watch, time.Hour, 50 * time.Minute, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			if test.own > 0 {
				ctx, cancel = context.WithTimeout(context.Background(), test.own)
			}
			defer cancel()
			if err := test.call(ctx); err != nil {
				t.Fatal(err)
			}
			if got := await.One(t, seen); got < test.min || got > test.max {
				t.Errorf("%v left, want %v to %v", got, test.min, test.max)
			}
		})
	}
}

func TestADeadlineThatWasGivenEndsTheCall(t *testing.T) {
	s := startOnPipe(t, Config{UnaryDeadline: 10 * time.Millisecond}, &fake{
		get: func(ctx context.Context, _ *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	if _, err := s.client.GetStatus(context.Background(), sessionRequest("vs_1")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}
