package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

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

// disturb makes changes 2 to n of vs_1, with an interruption of each kind between them.
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

// listenSecond serves on another loopback address too. A machine without one skips the test, but not in CI.
func listenSecond(t *testing.T, server *clienttest.Server) *clienttest.Replica {
	t.Helper()
	second, err := server.Listen("127.0.0.2:0")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("no second loopback address: %v", err)
	case err != nil:
		t.Skipf("this machine has no second loopback address (%v): ip addr add 127.0.0.2/8 dev lo, then go test -count=1", err)
	}
	return second
}

func TestWatchOutlivesOneOfTwoAddresses(t *testing.T) {
	server := newServer(t)
	second := listenSecond(t, server)
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
