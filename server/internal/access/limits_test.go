package access

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestRateOfEachPrincipal(t *testing.T) {
	l := newLimits(Config{Rate: 4, MaxStreams: 1})
	now := time.Unix(1_790_000_000, 0)
	l.now = func() time.Time { return now }
	calls := func(principal string, n int) (made int) {
		for range n {
			if _, ok := l.call(principal); ok {
				made++
			}
		}
		return made
	}
	if made := calls("a", 100); made != 4 {
		t.Errorf("a burst of %d calls, want 4", made)
	}
	after, ok := l.call("a")
	if ok || after != 250*time.Millisecond {
		t.Errorf("wait %v, %v", after, ok)
	}
	if made := calls("b", 100); made != 4 {
		t.Errorf("another caller could make %d calls, want 4", made)
	}
	now = now.Add(after)
	if made := calls("a", 100); made != 1 {
		t.Errorf("%d calls a quarter of a second later, want 1: refused calls must not count", made)
	}
	if now = now.Add(time.Hour); calls("a", 100) != 4 {
		t.Error("an hour of rest is worth more or less than one burst")
	}
	for i := range 3 * maxPrincipals {
		l.call(fmt.Sprint(i))
	}
	if known := l.callers.Len(); known != maxPrincipals {
		t.Errorf("%d callers are kept", known)
	}
}

func TestNoRateByDefault(t *testing.T) {
	l := newLimits(Config{MaxStreams: 1})
	for range 1000 {
		if _, ok := l.call("a"); !ok {
			t.Fatal("refused")
		}
	}
	if l.callers.Len() != 0 {
		t.Error("callers are kept for nothing")
	}
}

// wantExhausted checks the reason of an error, and whether it has RetryInfo.
func wantExhausted(t *testing.T, err error, want verificationv1.ErrorReason) (retryAfter time.Duration) {
	t.Helper()
	got := status.Convert(err)
	reason := ""
	for _, detail := range got.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.RetryInfo:
			retryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	if got.Code() != codes.ResourceExhausted || reason != want.String() {
		t.Fatalf("got %v with %v, want %v", err, got.Details(), want)
	}
	return retryAfter
}

// TestACallerThatCallsTooOftenDoesNotBlockOthers: neither calls over the rate nor calls without a right delay other callers.
func TestACallerThatCallsTooOftenDoesNotBlockOthers(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rate = 1 })
	b.limits.now = func() time.Time { return time.Unix(1_790_000_000, 0) }
	web, ops := b.as(nil, "Bearer "+b.token("web", RightRead)), b.as(nil, "Bearer "+b.token("ops", RightRead))
	b.wantGet("the first call", web, codes.OK)
	if after := wantExhausted(t, b.get(web), verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED); after != time.Second {
		t.Errorf("try again after %v", after)
	}
	b.wantGet("another caller", ops, codes.OK)
	b.wantGet("nobody", b.as(nil), codes.Unauthenticated)
	if reached := b.reached.Load(); reached != 2 {
		t.Errorf("%d calls came to the handler", reached)
	}
	stream, err := verificationv1.NewVerificationServiceClient(b.dial(web)).WatchStatus(authorized(patient(t), web), watchOne)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantExhausted(t, err, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED)
	if err := unaryHealth(t, b.dial(web)); err != nil {
		t.Errorf("health: %v", err)
	}
	b.wantShed(pathGetStatus+" CALLER_RATE", pathWatch+" CALLER_RATE")
	// A caller over its rate must not fill the log.
	await(t, "both calls' lines", func() bool { return strings.Count(b.log.String(), "RATE_LIMITED") == 2 })
	for line := range strings.Lines(b.log.String()) {
		if strings.Contains(line, "RATE_LIMITED") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("a line that everybody sees: %s", line)
		}
	}
}

// wantShed checks the calls of Shed, and that Observe was not called.
func (b *bench) wantShed(want ...string) {
	b.t.Helper()
	got := map[string]bool{}
	b.shed.Range(func(what, _ any) bool { got[what.(string)] = true; return true })
	for _, what := range want {
		if !got[what] {
			b.t.Errorf("Shed got %v, want %q", got, what)
		}
		delete(got, what)
	}
	for _, reason := range []verificationv1.ErrorReason{verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS} {
		if _, counted := b.observed.Load(reason); counted || len(got) > 0 {
			b.t.Errorf("Shed also got %v; Observe got %v", got, counted)
		}
	}
}

func unaryHealth(t *testing.T, conn *grpc.ClientConn) error {
	_, err := healthpb.NewHealthClient(conn).Check(patient(t), &healthpb.HealthCheckRequest{})
	return err
}

// TestStreamsOfEachAndOfAll: a caller that ends a stream can open another one, and health watches have a limit of their own.
func TestStreamsOfEachAndOfAll(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxStreamsEach, c.MaxStreams = 2, 3 })
	web, ops := b.as(nil, "Bearer "+b.token("web", RightRead)), b.as(nil, "Bearer "+b.token("ops", RightRead))
	b.watch = func(stream grpc.ServerStream) error {
		if err := stream.SendMsg(&verificationv1.WatchStatusResponse{}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	open := func(who identity) (*grpc.ClientConn, error) {
		conn := b.dial(who)
		stream, err := verificationv1.NewVerificationServiceClient(conn).WatchStatus(authorized(patient(t), who), watchOne)
		if err != nil {
			return conn, err
		}
		_, err = stream.Recv()
		return conn, err
	}
	must := func(who identity) *grpc.ClientConn {
		t.Helper()
		conn, err := open(who)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := must(web)
	must(web)
	_, err := open(web)
	wantExhausted(t, err, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS)
	must(ops)
	_, err = open(ops)
	wantExhausted(t, err, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS)
	b.wantGet("calls continue", ops, codes.OK)
	watchHealth(t, b.dial(b.as(nil)), codes.OK)
	_ = first.Close()
	await(t, "the slot of a stream that ended", func() bool {
		_, err := open(ops)
		return err == nil
	})
	_, err = open(web)
	wantExhausted(t, err, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS)
	b.wantShed(pathWatch+" CALLER_MAX_STREAMS", pathWatch+" GRPC_MAX_STREAMS")
}

func watchHealth(t *testing.T, conn *grpc.ClientConn, want codes.Code) {
	t.Helper()
	stream, err := healthpb.NewHealthClient(conn).Watch(patient(t), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != want {
		t.Errorf("a health watch: %v, want %v", err, want)
	}
}

// TestWhereEveryoneMayCall, on loopback or in a mesh: callers have no names, and only the limit of all applies.
func TestWhereEveryoneMayCall(t *testing.T) {
	b := newBench(t, func(c *Config) {
		*c = Config{MaxStreams: 100, MaxStreamsEach: 1}
	})
	conn := b.dial(identity{})
	for _, call := range everyCall {
		if err := call.make(patient(t), conn); err != nil {
			t.Errorf("%s: %v", call.name, err)
		}
	}
	if b.principal.Load() != "" {
		t.Errorf("a name: %q", b.principal.Load())
	}
}
