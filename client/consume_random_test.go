package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// life is what a test expects of the sessions: their outcomes in order.
type life struct {
	mu       sync.Mutex
	outcomes map[string][]string // outcome ids of each session
	handled  map[string][]string // as handled, without repetitions that follow each other
	calls    int
}

func (l *life) made(v *verificationv1.Verification) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[v.GetSessionId()] = append(l.outcomes[v.GetSessionId()], v.GetOutcomeId())
}

func (l *life) handle(v *verificationv1.Verification) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	l.handled[v.GetSessionId()] = append(l.handled[v.GetSessionId()], v.GetOutcomeId())
}

// check: every outcome was handled, and none for the first time before an earlier one of its session.
func (l *life) check(t *testing.T) {
	t.Helper()
	for id, outcomes := range l.outcomes {
		var first []string
		for _, outcome := range l.handled[id] {
			if !slices.Contains(first, outcome) {
				first = append(first, outcome)
			}
		}
		if !slices.Equal(first, outcomes) {
			t.Errorf("%s: handled first %q; want %q", id, first, outcomes)
		}
	}
}

// instance is a process with a Consume that can be killed: a handler that runs then has no effect.
type instance struct {
	client *client.Client
	cancel context.CancelFunc
	killed chan struct{}
	ended  chan error
}

func (l *life) start(t *testing.T, server *clienttest.Server, random *rand.Rand) *instance {
	ctx, cancel := context.WithCancel(t.Context())
	i := &instance{client: server.Client(), cancel: cancel, killed: make(chan struct{}), ended: make(chan error, 1)}
	mu := &sync.Mutex{}
	roll := rand.New(rand.NewPCG(random.Uint64(), 0))
	n := func(most int) int {
		mu.Lock()
		defer mu.Unlock()
		return roll.IntN(most)
	}
	handle := func(ctx context.Context, u client.Update) error {
		select {
		case <-time.After(time.Duration(n(2000)) * time.Millisecond):
		case <-ctx.Done():
		case <-i.killed:
		}
		select {
		case <-i.killed:
			return errors.New("killed")
		default:
		}
		if ctx.Err() != nil || n(6) == 0 {
			return errors.New("failed")
		}
		l.handle(u.Verification)
		return nil
	}
	options := []client.ConsumeOption{client.Workers(1 + random.IntN(4)), client.MaxHeld(2 + random.IntN(30)), client.DrainWithin(time.Second)}
	if random.IntN(3) == 0 {
		options = append(options, client.AcknowledgeEach())
	}
	go func() { i.ended <- i.client.Consume(ctx, "mailer", handle, options...) }()
	return i
}

// kill ends an instance as SIGKILL does: nothing that it does reaches the server.
func (i *instance) kill() {
	close(i.killed)
	_ = i.client.Close()
	i.cancel()
	<-i.ended
}

// TestG14_EachOutcomeIsHandledInOrder: two instances live, are killed or drained, and their streams, servers and
// acknowledgements fail, at random.
func TestG14_EachOutcomeIsHandledInOrder(t *testing.T) {
	for range 2 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { // the seed
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				random := rand.New(rand.NewPCG(seed, 0))
				if _, err := server.Listen("second"); err != nil {
					t.Fatal(err)
				}
				l := &life{outcomes: map[string][]string{}, handled: map[string][]string{}}
				instances := []*instance{l.start(t, server, random), nil}
				time.Sleep(taken) // the consumer exists before the first outcome
				instances[1] = l.start(t, server, random)
				for n := range 200 {
					id := fmt.Sprint("vs_", random.IntN(8))
					before := len(l.outcomes[id])
					v := session(id, processing)
					if before%2 == 1 {
						v.Status = requiresInput
					}
					l.made(server.Set(v))
					if random.IntN(3) == 0 { // a change that is no outcome
						v.ClientReferenceId = fmt.Sprint("user-", n)
						server.Set(v)
					}
					time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
					disturbConsumers(t, l, server, random, instances)
				}
				server.HoldConsumer("mailer", false)
				time.Sleep(5 * time.Minute)
				wantPending(t, "in the end", server.Client(), 0)
				for _, i := range instances {
					i.cancel()
					if err := <-i.ended; !errors.Is(err, context.Canceled) {
						t.Errorf("an instance ended with %v; want context.Canceled", err)
					}
				}
				l.check(t)
				t.Logf("%d calls for %d outcomes", l.calls, 200)
			})
		})
	}
}

func disturbConsumers(t *testing.T, l *life, server *clienttest.Server, random *rand.Rand, instances []*instance) {
	victim := random.IntN(len(instances))
	switch random.IntN(24) {
	case 0:
		instances[victim].kill()
		instances[victim] = l.start(t, server, random)
	case 1:
		instances[victim].cancel()
		if err := <-instances[victim].ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a drained instance ended with %v; want context.Canceled", err)
		}
		instances[victim] = l.start(t, server, random)
	case 2:
		server.CutStreams(nil)
	case 3:
		server.CutStreams(status.Error(codes.Internal, "a proxy is broken"))
	case 4:
		server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE), status.Error(codes.Unavailable, "reset"))
	case 5:
		server.ExpireTokens()
	case 6:
		server.HoldConsumer("mailer", true)
		time.Sleep(time.Duration(random.IntN(5)) * time.Second)
		server.HoldConsumer("mailer", false)
	case 7:
		server.Stop()
		time.Sleep(time.Duration(random.IntN(2)) * time.Second)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	case 8:
		server.Heartbeat()
	}
}
