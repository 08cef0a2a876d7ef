package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// script is a server in virtual time, with one entry for each stream. After the last entry it opens no more.
type script struct {
	verificationv1.VerificationServiceClient
	streams  []func(ctx context.Context) grpc.ServerStreamingClient[verificationv1.WatchStatusResponse]
	requests []string // their tokens
	must     []bool   // their must_exist
	opened   []time.Time
}

func (s *script) WatchStatus(ctx context.Context, request *verificationv1.WatchStatusRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[verificationv1.WatchStatusResponse], error) {
	s.requests = append(s.requests, request.GetResumeToken())
	s.must = append(s.must, request.GetAllSessions().GetMustExist())
	s.opened = append(s.opened, time.Now())
	if len(s.streams) == 0 {
		return nil, ours(codes.NotFound)
	}
	next := s.streams[0]
	s.streams = s.streams[1:]
	return next(ctx), nil
}

// lines is a stream that sends its lines, each after a pause, and then ends or falls silent.
type lines struct {
	grpc.ClientStream
	ctx   context.Context
	pause time.Duration
	left  []*verificationv1.WatchStatusResponse
	end   error // nil: silence
}

func (l *lines) Recv() (*verificationv1.WatchStatusResponse, error) {
	if len(l.left) == 0 && l.end != nil {
		return nil, l.end
	}
	var turn <-chan time.Time
	if len(l.left) > 0 {
		turn = time.After(l.pause)
	}
	select {
	case <-turn:
		next := l.left[0]
		l.left = l.left[1:]
		return next, nil
	case <-l.ctx.Done():
		return nil, status.FromContextError(l.ctx.Err()).Err()
	}
}

func (s *script) then(pause time.Duration, end error, left ...*verificationv1.WatchStatusResponse) *script {
	s.streams = append(s.streams, func(ctx context.Context) grpc.ServerStreamingClient[verificationv1.WatchStatusResponse] {
		return &lines{ctx: ctx, pause: pause, left: left, end: end}
	})
	return s
}

func (s *script) client() *Client {
	c := &Client{conn: connected{}, rpc: s, backoff: defaultBackoff}
	c.open, c.end = context.WithCancel(context.Background())
	return c
}

// connected is a connection that is never lost.
type connected struct{ channel }

func (connected) GetState() connectivity.State { return connectivity.Ready }

// ours returns an error of the service itself.
func ours(code codes.Code) error {
	s, err := status.New(code, "an answer of the service").WithDetails(&errdetails.ErrorInfo{Domain: errorDomain})
	if err != nil {
		panic(err) // of a wrong code only
	}
	return s.Err()
}

func beat(token string) *verificationv1.WatchStatusResponse {
	return &verificationv1.WatchStatusResponse{ResumeToken: token}
}

func change(revision int32, token string) *verificationv1.WatchStatusResponse {
	return &verificationv1.WatchStatusResponse{
		Verification: &verificationv1.Verification{SessionId: "vs_1", Revision: revision}, ResumeToken: token,
	}
}

// run ranges to the end and returns the revisions, the waits and the error.
func (s *script) run(ctx context.Context, body func(), options ...WatchOption) (revisions []int32, waits []time.Duration, last error) {
	options = append(options, OnInterruption(func(_ error, wait time.Duration) { waits = append(waits, wait) }))
	for update, err := range s.client().Watch(ctx, Session("vs_1"), options...) {
		if last = err; err == nil {
			revisions = append(revisions, update.Verification.GetRevision())
			body()
		}
	}
	return revisions, waits, last
}

func nothing() {}

func TestASilentStreamIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(script).
			then(time.Second, nil, change(1, "a")).
			then(20*time.Second, nil, beat("b"), beat("c"), change(2, "d"))
		begun := time.Now()
		revisions, waits, last := s.run(t.Context(), nothing, Heartbeat(20*time.Second))
		if !slices.Equal(revisions, []int32{1, 2}) || !errors.Is(last, ErrNotFound) {
			t.Errorf("saw %v, then %v", revisions, last)
		}
		if !slices.Equal(s.requests, []string{"", "a", "d"}) {
			t.Errorf("tokens %q", s.requests)
		}
		// The second one was never silent for 50 s before its last line.
		want := []time.Duration{51*time.Second + waits[0], 51*time.Second + waits[0] + 110*time.Second + waits[1]}
		for i := range want {
			if got := s.opened[i+1].Sub(begun); got != want[i] {
				t.Errorf("stream %d was opened after %v; want %v", i+2, got, want[i])
			}
		}
	})
}

func TestASlowBodyIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(script).then(time.Second, io.EOF, change(1, "a"), change(2, "b"))
		revisions, _, _ := s.run(t.Context(), func() { time.Sleep(time.Hour) })
		if !slices.Equal(revisions, []int32{1, 2}) || len(s.requests) != 2 {
			t.Errorf("saw %v over streams %q; want both over one", revisions, s.requests)
		}
	})
}

func TestARepeatIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(script).
			then(0, io.EOF, change(1, "a"), change(2, "b")).
			then(0, io.EOF, change(1, "x"), change(2, "y"), change(3, "z"))
		revisions, _, _ := s.run(t.Context(), nothing)
		if !slices.Equal(revisions, []int32{1, 2, 3}) {
			t.Errorf("saw %v", revisions)
		}
	})
}

func TestTheBackoffGrowsAndIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(script)
		for range 9 {
			s.then(0, status.Error(codes.Internal, "broken"))
		}
		s.then(0, io.EOF, beat("a")).then(0, io.EOF)
		_, waits, _ := s.run(t.Context(), nothing)
		ceilings := []time.Duration{500, 1000, 2000, 3000, 3000, 3000, 3000, 3000, 3000, 500, 1000}
		for i, wait := range waits {
			if ceiling := ceilings[i] * time.Millisecond; wait < 0 || wait > ceiling {
				t.Errorf("wait %d was %v; its ceiling is %v", i+1, wait, ceiling)
			}
		}
		if len(waits) != len(ceilings) {
			t.Errorf("%d waits; want %d", len(waits), len(ceilings))
		}
	})
}

func TestTheWaitThatTheServerAsksForIsKept(t *testing.T) {
	limited := func(delay time.Duration) error {
		s, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		_, waits, _ := new(script).then(0, limited(7*time.Minute)).then(0, limited(1000*time.Hour)).then(0, limited(-time.Hour)).run(t.Context(), nothing)
		for i, least := range []time.Duration{7 * time.Minute, maxRetryAfter, 0} {
			if waits[i] < least || waits[i] > least+2*time.Second {
				t.Errorf("waited %v where %v was asked for", waits[i], least)
			}
		}
	})
}

// returning is a connection that is lost and Ready again at once.
type returning struct {
	channel
	asked int
}

func (r *returning) GetState() connectivity.State {
	if r.asked++; r.asked == 1 {
		return connectivity.Connecting
	}
	return connectivity.Ready
}

// TestTheServersWaitIsKeptWhenTheConnectionReturns: a server that stops ends a stream with RetryInfo and then sends
// GOAWAY. The client's connection to the next server is Ready before the wait is over.
func TestTheServersWaitIsKeptWhenTheConnectionReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{conn: new(returning), backoff: backoff{base: 500 * time.Millisecond, max: time.Hour}}
		begun := time.Now()
		ok := c.pause(t.Context(), time.Second, time.Hour)
		if waited := time.Since(begun); !ok || waited < time.Second || waited > 1500*time.Millisecond {
			t.Errorf("pause waited %v and returned %v; want 1 s to 1.5 s, true", waited, ok)
		}
	})
}

// TestWhichErrorsEndAWatch: by code, by sender, and by time. HTTP's 404 arrives as UNIMPLEMENTED, 403 as
// PERMISSION_DENIED, 401 as UNAUTHENTICATED.
func TestWhichErrorsEndAWatch(t *testing.T) {
	final := []codes.Code{
		codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Unimplemented,
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code == codes.OutOfRange {
			continue // see TestOutOfRangeStartsAgainOrEnds
		}
		isFinal, broken := slices.Contains(final, code), status.Error(codes.Unavailable, "broken")
		for _, test := range []struct {
			name   string
			script *script
			ends   bool
		}{
			{"the service's, as the first answer", new(script).then(0, ours(code)), isFinal},
			{"the service's, later", new(script).then(0, io.EOF, change(1, "a")).then(0, ours(code)), isFinal},
			{"a proxy's, as the first answer", new(script).then(0, status.Error(code, "an error")), isFinal},
			{"a proxy's, after a response", new(script).then(0, status.Error(code, "an error"), change(1, "a")), false},
			{"a proxy's, in another stream", new(script).then(0, io.EOF, change(1, "a")).then(0, status.Error(code, "an error")), false},
			{"a proxy's, after a break", new(script).then(0, broken).then(0, status.Error(code, "an error")), false},
		} {
			synctest.Test(t, func(t *testing.T) {
				streams := len(test.script.streams)
				_, _, last := test.script.run(t.Context(), nothing)
				switch {
				case test.ends && (status.Code(last) != code || len(test.script.requests) != streams):
					t.Errorf("%v, %s: ended with %v after %d streams; want that error after %d", code, test.name, last, len(test.script.requests), streams)
				case !test.ends && len(test.script.requests) != streams+1:
					t.Errorf("%v, %s: ended with %v after %d streams; want one more", code, test.name, last, len(test.script.requests))
				}
			})
		}
	}
}

func TestOutOfRangeStartsAgainOrEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := status.Error(codes.OutOfRange, "lost")
		s := new(script).then(0, lost, change(5, "a")).then(0, io.EOF, change(2, "b"))
		revisions, _, _ := s.run(t.Context(), nothing)
		if !slices.Equal(revisions, []int32{5, 2}) || !slices.Equal(s.requests, []string{"", "", "b"}) {
			t.Errorf("saw %v over %q", revisions, s.requests)
		}
		s = new(script).then(0, lost, change(5, "a"))
		var last error
		for _, err := range s.client().WatchAll(t.Context()) {
			last = err
		}
		if status.Code(last) != codes.OutOfRange || len(s.requests) != 1 {
			t.Errorf("a watch of all sessions ended with %v after %d streams", last, len(s.requests))
		}
	})
}

func TestUntilSettledIsOverOnlyWhenSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settled := change(2, "b")
		settled.Verification.Settled = true
		s := new(script).then(0, io.EOF, change(1, "a")).then(0, io.EOF, settled)
		revisions, waits, last := s.run(t.Context(), nothing, UntilSettled())
		if !slices.Equal(revisions, []int32{1, 2}) || last != nil || len(waits) != 1 {
			t.Errorf("saw %v, then %v, after %d interruptions", revisions, last, len(waits))
		}
		s = new(script).then(0, io.EOF)
		if _, waits, last = s.run(t.Context(), nothing, UntilSettled(), ResumeFrom("b")); last != nil || len(waits) != 0 {
			t.Errorf("resumed where it was settled: %v, %d interruptions", last, len(waits))
		}
	})
}

func TestAnEndWhileWaitingIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := status.New(codes.Unavailable, "away").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		_, _, last := new(script).then(0, s.Err()).run(ctx, nothing)
		if !errors.Is(last, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("ended with %v after %v", last, time.Since(begun))
		}
	})
}
