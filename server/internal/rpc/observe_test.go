package rpc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// notes is an observer that writes everything down.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) Concerns(_ context.Context, id string)    { n.add("concerns %s", id) }
func (n *notes) WatchOpened(kind WatchKind, resumed bool) { n.add("opened %s %t", kind, resumed) }
func (n *notes) WatchEnded(kind WatchKind, code string)   { n.add("ended %s %s", kind, code) }
func (n *notes) RetryGranted()                            { n.add("granted") }
func (n *notes) RetryDenied(reason string)                { n.add("denied %s", reason) }
func (n *notes) take() (lines []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines, n.lines = n.lines, nil
	return lines
}
func (n *notes) Sending(_ context.Context, kind WatchKind, id string, revision int32) func(error) {
	n.add("sending %s %s %d", kind, id, revision)
	return func(err error) { n.add("sent %v", err) }
}

// impatient is the server's side of a watch, whose caller takes so many responses and then goes.
type impatient struct {
	grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]
	ctx  context.Context
	left int
}

func (s *impatient) Context() context.Context { return s.ctx }

func (s *impatient) Send(*verificationv1.WatchStatusResponse) error {
	if s.left == 0 {
		return status.Error(codes.Canceled, "gone")
	}
	s.left--
	return nil
}

func TestTheObserverSeesEveryMessage(t *testing.T) {
	const id = "vs_Seen"
	b := newBackend(t)
	stripe := newFakeStripe(object(id, "requires_input", failure("document_expired", 1), reference("person")))
	b.stripe = stripe
	b.policy.MaxRetries = 1
	r := b.replica(t)
	r.apply(eventOf(1, 0, object(id, "requires_input", failure("document_expired", 1), reference("person"))))
	var seen notes
	service := Observed(r.service, &seen)
	watch := func(request *verificationv1.WatchStatusRequest, take int) func() error {
		return func() error { return service.WatchStatus(request, &impatient{ctx: t.Context(), left: take}) }
	}
	get := func(request *verificationv1.GetStatusRequest) func() error {
		return func() error { _, err := service.GetStatus(t.Context(), request); return err }
	}
	again := func(id string) func() error {
		return func() error {
			_, err := service.RetryVerification(t.Context(), &verificationv1.RetryVerificationRequest{SessionId: id})
			return err
		}
	}
	bySession := &verificationv1.WatchStatusRequest_SessionId{SessionId: id}
	byReference := &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: "person"}
	for _, test := range []struct {
		name string
		call func() error
		code codes.Code
		want []string
	}{
		{"a status by reference", get(&verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person"}}),
			codes.OK, []string{"concerns vs_Seen"}},
		{"a status of nothing known", get(&verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Unknown"}}),
			codes.NotFound, []string{"concerns vs_Unknown"}},
		{"a status of nonsense", get(&verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "a person's name"}}),
			codes.InvalidArgument, nil},
		{"a watch of a session", watch(&verificationv1.WatchStatusRequest{Subject: bySession}, 0),
			codes.Canceled, []string{"concerns vs_Seen", "opened session false", "sending session vs_Seen 1", "sent rpc error: code = Canceled desc = gone", "ended session Canceled"}},
		{"a watch with a bad token", watch(&verificationv1.WatchStatusRequest{Subject: bySession, ResumeToken: "no token"}, 0),
			codes.InvalidArgument, []string{"concerns vs_Seen", "opened session true", "ended session InvalidArgument"}},
		{"a watch with a lost token", watch(&verificationv1.WatchStatusRequest{Subject: bySession, ResumeToken: encodeSession(cursor{ID: id, Revision: 9})}, 0),
			codes.OutOfRange, []string{"concerns vs_Seen", "opened session true", "ended session OutOfRange"}},
		{"a watch of a reference", watch(&verificationv1.WatchStatusRequest{Subject: byReference}, 0),
			codes.Canceled, []string{"opened reference false", "concerns vs_Seen", "sending reference vs_Seen 1", "sent rpc error: code = Canceled desc = gone", "ended reference Canceled"}},
		{"a watch of all, which begins with a bookmark", watch(watchAllRequest(), 0),
			codes.Canceled, []string{"opened all false", "ended all Canceled"}},
		{"a watch of nothing", watch(&verificationv1.WatchStatusRequest{}, 0), codes.InvalidArgument, nil},
		{"a retry", again(id), codes.OK, []string{"concerns vs_Seen", "granted"}},
		{"a retry of nothing known", again("vs_Unknown"), codes.NotFound, []string{"concerns vs_Unknown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.call(); status.Code(err) != test.code {
				t.Errorf("got %v, want %v", err, test.code)
			}
			if got := seen.take(); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	r.apply(eventOf(2, 5, object(id, verification.StatusCanceled)))
	if err := again(id)(); status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
	if got, want := seen.take(), []string{"concerns vs_Seen", "denied RETRY_DENIAL_CANCELED"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func watchAllRequest() *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}}
}

// A handler that panics has ended its watch all the same.
func TestAPanicEndsTheObservedWatch(t *testing.T) {
	var seen notes
	service := Observed(New(Config{Live: uncached{}}), &seen) // no hub: it panics
	func() {
		defer func() { _ = recover() }()
		_ = service.WatchStatus(watchAllRequest(), &impatient{ctx: t.Context()})
	}()
	if got, want := seen.take(), []string{"opened all false", "ended all Internal"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
