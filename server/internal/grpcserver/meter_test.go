package grpcserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// tally is a Meter that records its calls.
type tally struct {
	mu    sync.Mutex
	lines []string
}

type methodTally struct {
	*tally
	name string
}

func (m *tally) Method(name string) MethodMeter { return methodTally{m, name} }

func (m methodTally) Started() { m.write("started") }

func (m methodTally) Ended(code string, took time.Duration, received, sent int64) {
	if took <= 0 || took > testTimeout {
		m.write(took)
	}
	m.write(code, received > 0, sent > 0)
}

func (m methodTally) Refused(setting string) { m.write("refused by", setting) }

func (m methodTally) write(what ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, m.name+" "+strings.TrimSpace(fmt.Sprintln(what...)))
}

// TestTheMeterSeesEveryCall: also of calls that no handler gets. All unknown methods have one name.
func TestTheMeterSeesEveryCall(t *testing.T) {
	m := &tally{}
	s := startOnPipe(t, Config{Meter: m}, &fake{
		get: echo,
		retry: func(context.Context) (*verificationv1.RetryVerificationResponse, error) {
			return nil, status.Error(codes.DeadlineExceeded, "planted")
		},
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			_ = stream.Send(&verificationv1.WatchStatusResponse{ResumeToken: "x"})
			return status.Error(codes.Unavailable, "planted")
		},
	})
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); err != nil {
		t.Fatal(err)
	}
	_, _ = s.client.RetryVerification(patient(t), &verificationv1.RetryVerificationRequest{SessionId: "vs_1"})
	_ = watchResult(t, s)
	_, _ = healthpb.NewHealthClient(s.conn).Check(patient(t), &healthpb.HealthCheckRequest{Service: "none"})
	for _, made := range []string{"/verification.v1.VerificationService/Nothing", "/made.Up/Method"} {
		_ = s.conn.Invoke(patient(t), made, sessionRequest("vs_1"), &verificationv1.GetStatusResponse{})
	}
	_, _ = s.client.GetStatus(patient(t), sessionRequest(strings.Repeat("x", maxRequestBytes)))
	const ours = "verification.v1.VerificationService/"
	want := []string{
		ours + "GetStatus OK true true", ours + "GetStatus RESOURCE_EXHAUSTED false false", ours + "GetStatus started", ours + "GetStatus started",
		ours + "RetryVerification DEADLINE_EXCEEDED true false", ours + "RetryVerification started",
		ours + "WatchStatus UNAVAILABLE false true", ours + "WatchStatus started",
		"grpc.health.v1.Health/Check NOT_FOUND true false", "grpc.health.v1.Health/Check started",
		"other started", "other started",
	}
	slices.Sort(want)
	eventually(t, "twelve lines", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.lines) == len(want) })
	slices.Sort(m.lines)
	if !slices.Equal(m.lines, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(m.lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestACallThatALimitRefusesIsCountedAndLoggedWithIt: a caller that got an answer after all was not refused.
func TestACallThatALimitRefusesIsCountedAndLoggedWithIt(t *testing.T) {
	m := &tally{}
	s := startOnPipe(t, Config{Meter: m}, &fake{
		get: func(ctx context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			NoteLimit(ctx, "API_READS_PER_DAY")
			return echo(ctx, request)
		},
		retry: func(ctx context.Context) (*verificationv1.RetryVerificationResponse, error) {
			NoteLimit(ctx, "API_READS_PER_DAY")
			return nil, status.Error(codes.Unavailable, "planted")
		},
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			NoteLimit(stream.Context(), "CALLER_SHARE_PERCENT")
			return status.Error(codes.Unavailable, "planted")
		},
	})
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); err != nil {
		t.Fatal(err)
	}
	_, _ = s.client.RetryVerification(patient(t), &verificationv1.RetryVerificationRequest{SessionId: "vs_1"})
	_ = watchResult(t, s)
	const ours = "verification.v1.VerificationService/"
	var refused []string
	eventually(t, "the end of three calls", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		refused = slices.DeleteFunc(slices.Clone(m.lines), func(line string) bool { return !strings.Contains(line, "refused") })
		return len(m.lines) == 3*2+len(refused) && strings.Count(s.log.String(), "\n") == 3
	})
	slices.Sort(refused)
	want := []string{ours + "RetryVerification refused by API_READS_PER_DAY", ours + "WatchStatus refused by CALLER_SHARE_PERCENT"}
	if !slices.Equal(refused, want) {
		t.Errorf("refused calls %q, want %q", refused, want)
	}
	for _, line := range strings.Split(strings.TrimSpace(s.log.String()), "\n") {
		wantSetting := map[bool]string{strings.Contains(line, "RetryVerification"): "setting=API_READS_PER_DAY", strings.Contains(line, "WatchStatus"): "setting=CALLER_SHARE_PERCENT"}[true]
		if got := strings.Contains(line, "setting="); got != (wantSetting != "") || !strings.Contains(line, wantSetting) {
			t.Errorf("line %s\nwant %q", line, wantSetting)
		}
	}
}
