package grpcserver

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestIsRequestID(t *testing.T) {
	for text, want := range map[string]bool{
		"4bf92f3577b34da6": true, "Req-1_2.3:4/5+6=": true, strings.Repeat("x", maxRequestID): true,
		"": false, strings.Repeat("x", maxRequestID+1): false, "two words": false, "line\nbreak": false, `quo"te`: false, "Zoë": false, "a,b": false,
	} {
		if got := isRequestID(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// Every call of the service has a request id: the caller's if it is valid, else the server's own. The trailers have it if
// a log line has it, also for a failed call and for a stream.
func TestRequestIDs(t *testing.T) {

	logger := func(ctx context.Context, s *running) {
		WithCall(s.Server.log).With("part", "handler").WithGroup("more").InfoContext(ctx, "from the handler")
	}
	var s *running
	s = startOnPipe(t, Config{Access: welcome{gate{callerNamed("backend-7")}}}, &fake{
		get: func(ctx context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			NoteSession(ctx, "vs_Noted")
			logger(ctx, s)
			return echo(ctx, request)
		},
		retry: func(context.Context) (*verificationv1.RetryVerificationResponse, error) {
			return nil, status.Error(codes.NotFound, "planted")
		},
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			NoteSession(stream.Context(), "vs_Watched")
			return stream.Send(&verificationv1.WatchStatusResponse{})
		},
	})
	log := s.log
	calls := map[string]func(context.Context, *metadata.MD) error{
		"GetStatus": func(ctx context.Context, trailer *metadata.MD) error {
			_, err := s.client.GetStatus(ctx, sessionRequest("vs_1"), grpc.Trailer(trailer))
			return err
		},
		"RetryVerification": func(ctx context.Context, trailer *metadata.MD) error {
			_, err := s.client.RetryVerification(ctx, &verificationv1.RetryVerificationRequest{}, grpc.Trailer(trailer))
			if status.Code(err) == codes.NotFound {
				return nil
			}
			return err
		},
		"WatchStatus": func(ctx context.Context, trailer *metadata.MD) error {
			stream, err := s.client.WatchStatus(ctx, &verificationv1.WatchStatusRequest{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			_, _ = stream.Recv()
			*trailer = stream.Trailer()
			return err
		},
	}
	made := regexp.MustCompile(`^[0-9a-f]{16}$`)
	for method, call := range calls {
		for _, given := range []string{"", "caller-4711", "bad id"} {
			ctx := patient(t)
			if given != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", given)
			}
			var trailer metadata.MD
			if err := call(ctx, &trailer); err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			ids := trailer.Get("x-request-id")
			if len(ids) != 1 || given == "caller-4711" && ids[0] != given || given != "caller-4711" && !made.MatchString(ids[0]) {
				t.Errorf("%s with %q: got %q", method, given, ids)
				continue
			}
			eventually(t, "the line of "+method, func() bool {
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, "gRPC call") && strings.Contains(line, "request_id="+ids[0]) && strings.Contains(line, "/"+method+" ") {
						return strings.Contains(line, "principal=backend-7")
					}
				}
				return false
			})
			if method == "GetStatus" && !strings.Contains(log.String(), `msg="from the handler" part=handler more.request_id=`+ids[0]) {
				t.Errorf("the handler's line has no request id:\n%s", log)
			}
		}
	}
	if text := log.String(); strings.Contains(text, "bad id") || strings.Count(text, "session_id=vs_Noted") != 3 || strings.Count(text, "session_id=vs_Watched") != 3 {
		t.Errorf("a bad id, or lines without a session:\n%s", text)
	}
	var trailer metadata.MD
	if _, err := healthpb.NewHealthClient(s.conn).Check(patient(t), &healthpb.HealthCheckRequest{}, grpc.Trailer(&trailer)); err != nil || len(trailer.Get("x-request-id")) != 0 {
		t.Errorf("a probe: %v, %v", err, trailer)
	}
}

func TestASlowCallIsAWarning(t *testing.T) {
	s := startOnPipe(t, Config{SlowCall: time.Nanosecond}, &fake{
		get:   echo,
		watch: func(grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error { return nil },
		retry: func(context.Context) (*verificationv1.RetryVerificationResponse, error) {
			return nil, status.Error(codes.Internal, "planted")
		},
	})
	_, _ = s.client.GetStatus(patient(t), sessionRequest("vs_1"))
	_, _ = s.client.RetryVerification(patient(t), &verificationv1.RetryVerificationRequest{})
	_ = watchResult(t, s)
	eventually(t, "three lines", func() bool { return strings.Count(s.log.String(), "\n") == 3 })
	for method, level := range map[string]string{"GetStatus": "WARN", "RetryVerification": "ERROR", "WatchStatus": "DEBUG"} {
		if !regexp.MustCompile(`level=` + level + ` .*/` + method + ` `).MatchString(s.log.String()) {
			t.Errorf("%s is not at %s:\n%s", method, level, s.log)
		}
	}
}

// TestNoIDForWhatIsNotInTheLog: a successful call has no line at this level, and no request id in its trailers. A failed
// call has both.
func TestNoIDForWhatIsNotInTheLog(t *testing.T) {
	log := &logBuffer{}
	s := startOnPipe(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, &fake{
		get: echo,
		retry: func(context.Context) (*verificationv1.RetryVerificationResponse, error) {
			return nil, status.Error(codes.NotFound, "planted")
		},
	})
	var fine, failed metadata.MD
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1"), grpc.Trailer(&fine)); err != nil {
		t.Fatal(err)
	}
	_, _ = s.client.RetryVerification(patient(t), &verificationv1.RetryVerificationRequest{}, grpc.Trailer(&failed))
	if len(fine.Get("x-request-id")) != 0 || len(failed.Get("x-request-id")) != 1 || strings.Count(log.String(), "request_id=") != 1 {
		t.Errorf("trailers %v and %v, log:\n%s", fine, failed, log)
	}
}
