package differential

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/verification"
)

const maxRetries = 2

func policy() verification.RetryPolicy {
	return verification.RetryPolicy{MaxRetries: maxRetries, DenyCodes: verification.DefaultDenyCodes()}
}

// replica is one server as app builds it, over an in-memory connection.
type replica struct {
	verificationv1.VerificationServiceClient
	name       string
	ingest     *ingest.Ingest
	store      *redisstore.Store
	reconciler *reconcile.Reconciler
	follows    *follows
}

// startReplica runs a replica until the test ends, with a memory of so many sessions.
func startReplica(t *testing.T, name string, options redisstore.Options, s *stripe, size int) *replica {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	options.Policy, options.Logger = policy(), logger
	opened, err := redisstore.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	follows := &follows{named: make(map[string]bool), shown: make(map[string]int32)}
	var reconciler *reconcile.Reconciler
	view := live.New(live.Config{
		Store: opened, CacheSessions: size, Logger: logger, Changed: follows.changed,
		Lost: func(lost []string, more bool) {
			follows.rewound(lost, more)
			reconciler.Lost(lost...)
			if more {
				reconciler.LostAll()
			}
		},
	})
	into := ingest.New(ingest.Config{Store: view, Stripe: s, Clock: s.clock.now, Logger: logger})
	reconciler, err = reconcile.New(reconcile.Config{
		Store: opened, Stripe: s, Ingest: into, Holder: name, Clock: s.clock.now, Logger: logger,
		// Only what the follower reports can bring back what was lost, and the last run of a round.
		Interval: time.Hour, Overlap: 10 * scale * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	service := rpc.New(rpc.Config{
		Live: view, Ingest: into, Stripe: s, Policy: policy(),
		Clock: s.clock.now, Logger: logger, StreamMaxAge: 5 * time.Second,
	})
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	verificationv1.RegisterVerificationServiceServer(server, service)
	connection, err := grpc.NewClient("passthrough:///"+name,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() { view.Run(ctx) })
	running.Go(func() { reconciler.Loop(ctx) })
	t.Cleanup(func() {
		connection.Close()
		server.Stop()
		cancel()
		running.Wait()
		into.Close()
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return &replica{
		VerificationServiceClient: verificationv1.NewVerificationServiceClient(connection),
		name:                      name, ingest: into, store: opened, reconciler: reconciler, follows: follows,
	}
}

// follows notes what the feed showed a replica, and what the replica says was lost.
type follows struct {
	mu    sync.Mutex
	shown map[string]int32 // the greatest revision of each session since the last reset
	named map[string]bool  // sessions that were named as lost since the last loss
	more  bool             // there can be others
}

// changed is live.Config.Changed.
func (f *follows) changed(id string, revision int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown[id] = max(f.shown[id], revision)
}

func (f *follows) rewound(lost []string, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range lost {
		f.named[id] = true
	}
	f.more = f.more || more
}

// beforeLoss returns the revisions shown so far. From now on, named sessions count.
func (f *follows) beforeLoss() map[string]int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	shown := f.shown
	f.shown, f.named, f.more = make(map[string]int32), make(map[string]bool), false
	return shown
}

// afterLoss begins a new record of the shown revisions: those shown meanwhile can be of either timeline.
func (f *follows) afterLoss() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown = make(map[string]int32)
}

// awaitNamed waits until all of them are named, and returns those that are not at the deadline.
func (f *follows) awaitNamed(shown, kept map[string]int32, deadline time.Time) (ids []string) {
	for ids = f.unnamed(shown, kept); len(ids) > 0 && time.Now().Before(deadline); ids = f.unnamed(shown, kept) {
		time.Sleep(10 * time.Millisecond)
	}
	return ids
}

// unnamed returns the sessions that lost a shown revision and that the follower has not named.
func (f *follows) unnamed(shown, kept map[string]int32) (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, revision := range shown {
		if !f.more && !f.named[id] && revision > kept[id] {
			ids = append(ids, id)
		}
	}
	return ids
}
