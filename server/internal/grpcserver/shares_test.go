package grpcserver

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/testing/await"
)

// names is an Access that takes a caller's name from a header, and refuses calls without one.
type names struct {
	welcome
	refuse func(context.Context) // called before a refusal
}

func newNames() *names { return &names{welcome{gate{byHeader}}, func(context.Context) {}} }

func byHeader(ctx context.Context) context.Context {
	if values := metadata.ValueFromIncomingContext(ctx, "caller"); len(values) == 1 {
		return callerNamed(values[0])(shares.WithHolder(ctx, shares.Named(values[0])))
	}
	return ctx
}

func (n *names) Unary(ctx context.Context, _ string, _ any) error {
	if n.Principal(ctx) == "" {
		n.refuse(ctx)
		return status.Error(codes.Unauthenticated, "no")
	}
	return nil
}

func caller(t *testing.T, name string) context.Context {
	return metadata.AppendToOutgoingContext(patient(t), "caller", name)
}

// shedCalls has the calls that were refused for load, by method and setting.
type shedCalls struct {
	mu    sync.Mutex
	calls []string
}

func (s *shedCalls) shed(_ context.Context, method, setting string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, method+" "+setting)
}

func (s *shedCalls) want(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.calls, want) {
		t.Errorf("Shed got %v, want %v", s.calls, want)
	}
}

// until waits for a channel to close or for the end of the call, so that a failed test ends too.
func until(ctx context.Context, closed <-chan struct{}) {
	select {
	case <-closed:
	case <-ctx.Done():
	}
}

// wantOverloaded checks that an error is the contract's for load, and has a text in its message.
func wantOverloaded(t *testing.T, err error, text string) {
	t.Helper()
	got := status.Convert(err)
	var reason string
	var again bool
	for _, detail := range got.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.RetryInfo:
			again = detail.GetRetryDelay().AsDuration() == overloadRetry
		}
	}
	if got.Code() != codes.Unavailable || reason != "ERROR_REASON_OVERLOADED" || !again || !strings.Contains(got.Message(), text) {
		t.Errorf("got %v, %q, RetryInfo %v; want UNAVAILABLE, OVERLOADED, RetryInfo and %q", err, reason, again, text)
	}
}

// TestG15_OneCallersCallsLeaveOthersTheirs: a caller whose calls hang is refused at its share, and the error says that the
// share is its own. Another caller is served, and when the calls have ended, so is the first caller.
func TestG15_OneCallersCallsLeaveOthersTheirs(t *testing.T) {
	const most, each = 8, 2
	shed := &shedCalls{}
	entered, release := make(chan struct{}, 100), make(chan struct{})
	s := startOnPipe(t, Config{MaxInFlight: most, SharePercent: 25, Shed: shed.shed, Access: newNames()}, &fake{
		get: func(ctx context.Context, r *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			if r.GetSessionId() == "vs_Hangs" {
				entered <- struct{}{}
				until(ctx, release)
			}
			return echo(ctx, r)
		},
	})
	answers := make(chan error, each)
	for range each {
		go func() {
			_, err := s.client.GetStatus(caller(t, "a"), sessionRequest("vs_Hangs"))
			answers <- err
		}()
		await.One(t, entered)
	}
	for range 3 {
		_, err := s.client.GetStatus(caller(t, "a"), sessionRequest("vs_1"))
		wantOverloaded(t, err, "its share")
	}
	shed.want(t, slices.Repeat([]string{getStatus + " CALLER_SHARE_PERCENT"}, 3)...)
	if _, err := s.client.GetStatus(caller(t, "b"), sessionRequest("vs_1")); err != nil {
		t.Errorf("another caller: %v", err)
	}
	close(release)
	for range each {
		if err := await.One(t, answers); err != nil {
			t.Errorf("a call under way: %v", err)
		}
	}
	if _, err := s.client.GetStatus(caller(t, "a"), sessionRequest("vs_1")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// fakeFeed is a FeedService whose acknowledgements hang until release.
type fakeFeed struct {
	verificationv1.UnimplementedFeedServiceServer
	entered chan struct{}
	release <-chan struct{}
}

func (f *fakeFeed) AcknowledgeChanges(ctx context.Context, _ *verificationv1.AcknowledgeChangesRequest) (*verificationv1.AcknowledgeChangesResponse, error) {
	f.entered <- struct{}{}
	until(ctx, f.release)
	return &verificationv1.AcknowledgeChangesResponse{}, nil
}

// TestG15_AFloodOfAcknowledgementsIsBounded: the calls of FeedService have slots and shares as those of VerificationService do,
// and take none of theirs.
func TestG15_AFloodOfAcknowledgementsIsBounded(t *testing.T) {
	const most = 4
	shed, release := &shedCalls{}, make(chan struct{})
	feed := &fakeFeed{entered: make(chan struct{}, most), release: release}
	s := startOnPipe(t, Config{MaxInFlight: most, SharePercent: 50, Shed: shed.shed, Access: newNames()}, &fake{get: echo}, func(s *Server) {
		verificationv1.RegisterFeedServiceServer(s, feed)
	})
	client := verificationv1.NewFeedServiceClient(s.conn)
	call := func(name string) error {
		_, err := client.AcknowledgeChanges(caller(t, name), &verificationv1.AcknowledgeChangesRequest{Consumer: "mailer"})
		return err
	}
	answers := make(chan error, most)
	for _, name := range []string{"a", "a", "b", "b"} {
		go func() { answers <- call(name) }()
		await.One(t, feed.entered)
	}
	wantOverloaded(t, call("a"), "its share")
	wantOverloaded(t, call("c"), "this server has")
	const method = verificationv1.FeedService_AcknowledgeChanges_FullMethodName
	shed.want(t, method+" CALLER_SHARE_PERCENT", method+" GRPC_MAX_IN_FLIGHT")
	if _, err := s.client.GetStatus(caller(t, "a"), sessionRequest("vs_1")); err != nil {
		t.Errorf("GetStatus during the flood: %v", err)
	}
	close(release)
	for range most {
		if err := await.One(t, answers); err != nil {
			t.Errorf("a call under way: %v", err)
		}
	}
	if err := call("a"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestG15_ADeniedCallHoldsNoSlot: a call that Access refuses takes no slot, not even while Access decides.
func TestG15_ADeniedCallHoldsNoSlot(t *testing.T) {
	const refusals = 5
	asked, release := make(chan struct{}, 100), make(chan struct{})
	access := newNames()
	access.refuse = func(ctx context.Context) { asked <- struct{}{}; until(ctx, release) }
	s := startOnPipe(t, Config{MaxInFlight: 1, Access: access}, &fake{get: echo})
	refused := make(chan error, refusals)
	for range refusals {
		go func() {
			_, err := s.client.GetStatus(patient(t), sessionRequest("vs_1"))
			refused <- err
		}()
		await.One(t, asked)
	}
	if _, err := s.client.GetStatus(caller(t, "a"), sessionRequest("vs_1")); err != nil {
		t.Errorf("a caller while Access decides on calls without credentials: %v", err)
	}
	close(release)
	for range refusals {
		if err := await.One(t, refused); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a call without credentials: got %v, want UNAUTHENTICATED", err)
		}
	}
}

// TestG15_WaitingHoldsNoSlot: calls that wait hold no slot. Their number is limited, with a share for each caller. After
// its wait a call takes a slot again, or is refused.
func TestG15_WaitingHoldsNoSlot(t *testing.T) {
	const most, each = 4, 1
	shed := &shedCalls{}
	waits, goOn := make(chan struct{}, 100), make(chan struct{})
	entered, release := make(chan struct{}, 100), make(chan struct{})
	s := startOnPipe(t, Config{MaxInFlight: most, SharePercent: 25, Shed: shed.shed, Access: newNames()}, &fake{
		get: func(ctx context.Context, r *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			switch r.GetSessionId() {
			case "vs_Waits":
				if err := Await(ctx, func() { waits <- struct{}{}; until(ctx, goOn) }); err != nil {
					return nil, err
				}
			case "vs_Hangs":
				entered <- struct{}{}
				until(ctx, release)
			}
			return echo(ctx, r)
		},
	})
	slots := func() int { return s.methods[getStatus].slots.Taken() }
	call := func(name, id string) chan error {
		answer := make(chan error, 1)
		go func() {
			_, err := s.client.GetStatus(caller(t, name), sessionRequest(id))
			answer <- err
		}()
		return answer
	}
	waiting := map[string]chan error{}
	for _, name := range []string{"a", "b", "c", "d"} {
		waiting[name] = call(name, "vs_Waits")
		await.One(t, waits)
	}
	if got := slots(); got != 0 {
		t.Errorf("calls that wait hold %d slots, want none", got)
	}
	wantOverloaded(t, await.One(t, call("a", "vs_Waits")), "its share of the calls that wait")
	wantOverloaded(t, await.One(t, call("e", "vs_Waits")), "this server has")
	shed.want(t, getStatus+" CALLER_SHARE_PERCENT", getStatus+" GRPC_MAX_IN_FLIGHT")
	if err := await.One(t, call("a", "vs_1")); err != nil {
		t.Errorf("a call of a caller whose other call waits: %v", err)
	}
	// When the wait of this call of "a" ends, another call of "a" has its slot.
	hangs := call("a", "vs_Hangs")
	await.One(t, entered)
	close(goOn)
	wantOverloaded(t, await.One(t, waiting["a"]), "its share of the calls under way")
	for _, name := range []string{"b", "c", "d"} {
		if err := await.One(t, waiting[name]); err != nil {
			t.Errorf("a call that waited: %v", err)
		}
	}
	close(release)
	if err := await.One(t, hangs); err != nil {
		t.Errorf("a call under way: %v", err)
	}
	eventually(t, "all slots are free", func() bool { return slots() == 0 && s.waiting.Taken() == 0 })
}

// TestAPanicWhileACallWaits: the call releases its slot and its unit of the waiting calls.
func TestAPanicWhileACallWaits(t *testing.T) {
	s := startOnPipe(t, Config{MaxInFlight: 1}, &fake{
		get: func(ctx context.Context, _ *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			return nil, Await(ctx, func() { panic("on purpose") })
		},
	})
	for range 3 {
		if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.Internal {
			t.Fatalf("got %v", err)
		}
	}
}

// TestG15_AHealthWatchWithCredentialsProvesItsConnection: a client watches the server's health before its first call.
// Connections without credentials must not close the client's own in between.
func TestG15_AHealthWatchWithCredentialsProvesItsConnection(t *testing.T) {
	const connections = 8
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{Access: newNames()}, &fake{get: echo}, connlimit.New(listener, connections, 0, func() {}))
	watch := func(ctx context.Context, conn *grpc.ClientConn) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
		t.Helper()
		stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	own := watch(caller(t, "a"), s.conn)
	for range 3 * connections {
		watch(patient(t), s.another(t))
	}
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if response, err := own.Recv(); err != nil || response.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the caller's health watch: got %v, %v, want NOT_SERVING", response, err)
	}
}
