package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// soon bounds what would otherwise hang; nothing takes nearly as long.
const soon = 30 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return ctx
}

func TestWatchSeesEveryRevisionOnceInOrder(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	const changes = 400
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	flip(server, "vs_1", 1)

	ctx, cancel := context.WithCancel(within(t))
	var disturbing sync.WaitGroup
	defer disturbing.Wait()
	defer cancel()
	disturbing.Go(func() { disturb(ctx, t, server, rand.New(rand.NewPCG(seed, 0)), changes) })
	var seen []int32
	for update, err := range c.Watch(ctx, client.Session("vs_1")) {
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		if update.Reset {
			t.Fatalf("after %v: a reset, although no token expired", seen)
		}
		seen = append(seen, update.Verification.GetRevision())
		if len(seen) == 1 && seen[0] > 1 {
			seen = append(countTo(seen[0]-1), seen...) // the snapshot was a later one
		}
		if seen[len(seen)-1] == changes {
			break
		}
	}
	if !slices.Equal(seen, countTo(changes)) {
		t.Errorf("saw %v", seen)
	}
	if _, opened := server.Streams(); opened < 20 {
		t.Errorf("only %d streams were opened: nothing was disturbed", opened)
	}
}

// disturb makes changes 2 to n of vs_1, and between them breaks all that may break.
func disturb(ctx context.Context, t *testing.T, server *clienttest.Server, random *rand.Rand, n int) {
	faults := []func(){
		func() { server.CutStreams(nil) },
		func() { server.CutStreams(status.Error(codes.Internal, "a proxy lost its patience")) },
		func() { server.CutStreams(status.Error(codes.Canceled, "somebody reset the stream")) },
		func() {
			server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS))
			server.CutStreams(nil)
		},
		func() { server.Heartbeat() },
		func() {
			server.Stop()
			if err := server.Start(); err != nil {
				t.Error(err)
			}
		},
	}
	for i := 2; i <= n; i++ {
		flip(server, "vs_1", i)
		if random.IntN(4) > 0 {
			continue
		}
		_, opened := server.Streams()
		faults[random.IntN(len(faults))]()
		if random.IntN(2) == 0 {
			// Mostly another stream comes of it, which the next fault then meets; a heartbeat breaks nothing.
			brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			_ = server.AwaitStreams(brief, opened+1)
			cancel()
		}
	}
}

func countTo(n int32) []int32 {
	var numbers []int32
	for i := int32(1); i <= n; i++ {
		numbers = append(numbers, i)
	}
	return numbers
}

func TestWatchOutlivesOneOfTwoAddresses(t *testing.T) {
	server := newServer(t)
	second, err := server.Listen("127.0.0.2:0")
	if err != nil {
		t.Skipf("this machine has no second loopback address: %v", err)
	}
	c := server.Client()
	ctx := within(t)
	flip(server, "vs_1", 1)
	var seen []int32
	for update, err := range c.Watch(ctx, client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		revision := update.Verification.GetRevision()
		seen = append(seen, revision)
		switch revision {
		case 3:
			server.Stop() // whichever the stream is at, the second one goes too, in its turn
		case 6:
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			second.Stop()
		}
		if revision == 9 {
			break
		}
		flip(server, "vs_1", int(revision)+1)
	}
	if !slices.Equal(seen, countTo(9)) {
		t.Errorf("saw %v", seen)
	}
}

func TestNewWatchesAvoidAnAddressThatIsNotReady(t *testing.T) {
	leavesNothing(t)
	first := clienttest.New(t)
	second, err := first.Listen("127.0.0.2:0")
	if err != nil {
		t.Skipf("this machine has no second loopback address: %v", err)
	}
	first.Set(session("vs_1", verified))
	second.SetReady(false)
	c := first.Client()
	first.SetReady(false)
	ctx := within(t)
	for {
		// The news of its health comes a moment later.
		_, err := c.Status(ctx, client.Session("vs_1"))
		if errors.Is(err, client.ErrUnavailable) {
			break
		}
		if err != nil {
			t.Fatalf("an address that is not ready is called for ever: %v", err)
		}
	}
	second.SetReady(true)
	for update, err := range c.Watch(within(t), client.Session("vs_1")) {
		if err != nil || update.Verification.GetStatus() != verified {
			t.Errorf("%v, %v", update, err)
		}
		break
	}
}

func TestTheTokenMovesWhenTheBodyIsDone(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	flip(server, "vs_1", 1)
	var token string
	for update, err := range c.Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		if update.Verification.GetRevision() == 3 {
			break // not handled: another watch must bring it again
		}
		token = update.ResumeToken
		flip(server, "vs_1", int(update.Verification.GetRevision())+1)
	}
	for update, err := range c.Watch(within(t), client.Session("vs_1"), client.ResumeFrom(token)) {
		if err != nil || update.Verification.GetRevision() != 3 {
			t.Fatalf("revision %d, %v; want 3", update.Verification.GetRevision(), err)
		}
		break
	}
}

func TestAnUpdateMayBeChangedByTheBody(t *testing.T) {
	server := newServer(t)
	flip(server, "vs_1", 1)
	var seen []int32
	for update, err := range server.Client().Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, update.Verification.GetRevision())
		update.Verification.Reset()
		update.ResumeToken = ""
		if len(seen) == 3 {
			break
		}
		server.CutStreams(nil)
		flip(server, "vs_1", len(seen)+1)
	}
	if !slices.Equal(seen, countTo(3)) {
		t.Errorf("saw %v", seen)
	}
}

func TestWatchStartsAgainWhenItsTokenExpired(t *testing.T) {
	server := newServer(t)
	flip(server, "vs_1", 1)
	var resets []bool
	for update, err := range server.Client().Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		resets = append(resets, update.Reset)
		switch len(resets) {
		case 1:
			server.ExpireTokens()
			server.CutStreams(nil)
			continue // nothing changed: the snapshot comes all the same
		case 2:
			flip(server, "vs_1", 2)
			continue
		}
		break
	}
	if !slices.Equal(resets, []bool{false, true, false}) {
		t.Errorf("resets %v; want one, in the middle", resets)
	}
}

func TestWatchByReferenceGoesOnWithTheNewSession(t *testing.T) {
	server := newServer(t)
	server.Set(person("vs_1", "user-42", requiresInput))
	server.Set(person("vs_1", "user-42", canceled))
	var seen []string
	for update, err := range server.Client().Watch(within(t), client.Reference("user-42")) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, update.Verification.GetSessionId())
		if len(seen) == 2 {
			break
		}
		server.Set(person("vs_2", "user-42", requiresInput)) // at revision 1, where vs_1 was at 2
	}
	if !slices.Equal(seen, []string{"vs_1", "vs_2"}) {
		t.Errorf("saw %v", seen)
	}
}

func TestWatchLeavesNoGoroutineWhileTheClientLives(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", verified))
	if _, err := c.Status(within(t), client.Session("vs_1")); err != nil {
		t.Fatal(err) // connected now
	}
	connected := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	for range c.Watch(ctx, client.Session("vs_1")) {
		break
	}
	for _, err := range c.Watch(ctx, client.Session("vs_1")) {
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		for range c.Watch(within(t), client.Session("vs_1")) {
			panic("the body's")
		}
	}()
	goleak.VerifyNone(t, connected)
}

func TestWatchEndsWithItsClient(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", verified))
	var last error
	for _, err := range c.Watch(within(t), client.Session("vs_1")) {
		if last = err; err == nil {
			_ = c.Close()
		}
	}
	if !errors.Is(last, client.ErrClosed) {
		t.Errorf("ended with %v", last)
	}
}

func TestWatchAllResumesWhereItWas(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_before", verified))
	var token string
	var seen []string
	for update, err := range c.WatchAll(within(t), client.Bookmarks()) {
		if err != nil {
			t.Fatal(err)
		}
		if token = update.ResumeToken; update.Verification == nil {
			server.CutStreams(nil)
			server.Set(session("vs_1", processing))
			continue
		}
		seen = append(seen, update.Verification.GetSessionId())
		break
	}
	server.Set(session("vs_2", processing))
	server.Set(session("vs_1", verified))
	for update, err := range c.WatchAll(within(t), client.ResumeFrom(token)) {
		if err != nil {
			t.Fatal(err)
		}
		if seen = append(seen, update.Verification.GetSessionId()); len(seen) == 3 {
			break
		}
	}
	if !slices.Equal(seen, []string{"vs_1", "vs_2", "vs_1"}) {
		t.Errorf("saw %v", seen)
	}
	server.ExpireTokens()
	for update, err := range c.WatchAll(within(t), client.ResumeFrom(token)) {
		if !errors.Is(err, client.ErrResumeTokenExpired) {
			t.Errorf("%v, %v; want the end of a token that expired", update, err)
		}
	}
}

func TestWaitSettled(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", processing))
	var setting sync.WaitGroup
	setting.Go(func() {
		_ = server.AwaitStreams(t.Context(), 1)
		server.CutStreams(nil)
		server.Set(session("vs_1", verified))
	})
	v, err := c.WaitSettled(within(t), client.Session("vs_1"))
	setting.Wait()
	if err != nil || v.GetStatus() != verified {
		t.Errorf("%v, %v", v, err)
	}
	server.Set(session("vs_2", processing))
	_, opened := server.Streams()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	setting.Go(func() {
		_ = server.AwaitStreams(t.Context(), opened+1)
		cancel()
	})
	if _, err = c.WaitSettled(ctx, client.Session("vs_2")); !errors.Is(err, context.Canceled) {
		t.Errorf("ended early with %v", err)
	}
	setting.Wait()
}

func TestWatchOfABrokenAddressEndsWithItsContext(t *testing.T) {
	leavesNothing(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close() // nobody answers there
	c, err := client.Dial(address, client.WithPlaintext(), client.WithBackoff(time.Millisecond, 5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	interruptions := 0
	count := client.OnInterruption(func(err error, _ time.Duration) {
		if !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("interrupted by %v", err)
		}
		if interruptions++; interruptions == 3 {
			cancel()
		}
	})
	for _, err := range c.Watch(ctx, client.Session("vs_1"), count) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}
}
