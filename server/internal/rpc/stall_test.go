package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/offstack"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

// TestACallerThatDoesNotReadIsEnded: over a real socket. Stopped by StallTimeout: the stream ends with
// STREAM_STALLED once as much is on its way as gRPC's windows take, another stream of the same
// connection continues, and the last token that was read leads on to all the rest.
func TestACallerThatDoesNotReadIsEnded(t *testing.T) {
	const sessions = 300 // each change has a reason of a kilobyte
	r := newBackend(t).replica(t, func(c *Config) { c.StallTimeout = 200 * time.Millisecond })
	for n := range sessions {
		r.apply(eventOf(1, 1, object(fmt.Sprintf("vs_%d", n), "requires_input", failure("document_expired", n), func(o *verification.Object) {
			o.Error.Reason = strings.Repeat("reason ", 140)
		})))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	verificationv1.RegisterVerificationServiceServer(server, r.service)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := verificationv1.NewVerificationServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	beginning := resumed(allSessions(), feedToken(make([]store.Position, r.store.Partitions())))

	deaf, err := client.WatchStatus(ctx, beginning)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is open", func() bool { return r.hub.Listening(hub.KindPartition) > 0 })
	readingCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	reading, err := client.WatchStatus(readingCtx, beginning)
	if err != nil {
		t.Fatal(err)
	}
	for range sessions + 1 {
		if _, err := reading.Recv(); err != nil {
			t.Fatalf("the stream beside: %v", err)
		}
	}
	stopReading()
	eventually(t, "both streams have ended", func() bool { return r.hub.Listening(hub.KindPartition) == 0 })
	got, token := 0, ""
	for {
		response, err := deaf.Recv()
		if err != nil {
			wantError(t, err, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_STREAM_STALLED)
			break
		}
		if response.GetVerification() != nil {
			got++
		}
		token = response.GetResumeToken()
	}
	if got == 0 || got >= sessions {
		t.Fatalf("%d of %d changes before the end", got, sessions)
	}
	rest := r.watch(resumed(allSessions(), token))
	for range sessions - got {
		for rest.next() == nil { // the bookmark
		}
	}
	t.Logf("%d changes were read before the end, %d after resuming", got, sessions-got)
}

// countingStore knows how many reads are under way at once.
type countingStore struct {
	store.Store
	pause     time.Duration
	now, most atomic.Int64
}

func (c *countingStore) Get(ctx context.Context, id string) (verification.Session, error) {
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	<-time.After(c.pause)
	return c.Store.Get(ctx, id)
}

// TestManyWatchesWakeAtOnce: stopped by live.Limited: however many watches a change wakes, only so many
// read the store at once; each gets its change, and a call in between does not wait behind them.
func TestManyWatchesWakeAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	const watches, reads = 200, 4
	b := newBackend(t)
	counting := &countingStore{pause: 10 * time.Millisecond}
	r := b.replica(t, func(c *Config) {
		counting.Store = c.Live
		c.Live = uncached{counting, c.Live.Hub(), reads}
	})
	id := func(n int) string { return fmt.Sprintf("vs_%d", n) } // one each: the cache answers many watches of one session
	var open []*watched
	for n := range watches {
		r.apply(eventOf(2*n+1, 1, object(id(n), "processing")))
		w := r.watch(bySession(id(n), 0))
		w.wantNext(id(n), 1, "processing")
		open = append(open, w)
	}
	counting.most.Store(0)
	for n := range watches {
		r.apply(eventOf(2*n+2, 2, object(id(n), "verified")))
	}
	ask := &verificationv1.GetStatusRequest{MinRevision: 2, Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id(watches - 1)}}
	if response, err := r.GetStatus(t.Context(), ask); err != nil || response.GetVerification().GetRevision() != 2 {
		t.Errorf("a call meanwhile: %v, %v", response, err)
	}
	for n, w := range open {
		w.wantNext(id(n), 2, "verified")
	}
	if most := counting.most.Load(); most > reads+1 { // one is the call's
		t.Errorf("%d reads at once; %d are allowed", most, reads)
	}
	t.Logf("%d watches woken, %d reads at once at the most", watches, counting.most.Load())
}

// asking tells which reads of the feed nothing has asked for.
type asking struct {
	live.Sessions
	background chan bool
}

func (a asking) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	a.background <- live.IsBackground(ctx)
	return a.Sessions.ReadFeed(ctx, partition, after, limit)
}

// TestIdleLooksOfWatchesOfAllSessionsAreIdle: they read every partition, and would be in the way of others.
func TestIdleLooksOfWatchesOfAllSessionsAreIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		reads := asking{w.service.watcher.sessions, make(chan bool)}
		w.service.watcher.sessions = reads
		w.start(allSessions())
		partitions := w.Partitions()
		for _, want := range []struct {
			reads int
			idle  bool
		}{{partitions, false}, {partitions, true}, {partitions, true}} {
			for range want.reads {
				if idle := <-reads.background; idle != want.idle {
					t.Fatalf("a read is idle: %t, want %t", idle, want.idle)
				}
			}
		}
		synctest.Wait()
		w.hub.Wake(hub.Partition(0))
		if <-reads.background {
			t.Error("a read that was asked for is idle")
		}
		w.stop()
	})
}

// TestAPanicOfASendIsItsHandlers: there it is recovered from; in a goroutine of its own it would end the
// process.
func TestAPanicOfASendIsItsHandlers(t *testing.T) {
	st := &stream{stallTimeout: time.Minute, woken: hub.New().Subscribe(), send: func(*verificationv1.WatchStatusResponse) error { panic("planted") }}
	defer st.close()
	defer func() {
		carried, ok := recover().(*offstack.Panic)
		if !ok {
			t.Fatal("recovered something else")
		}
		if carried.Value != "planted" || !strings.Contains(string(carried.Stack), ".respond(") {
			t.Errorf("recovered %v", carried)
		}
	}()
	_ = st.do(func() error { return st.respond(nil, "") })
	t.Error("the step returned")
}

// TestPatienceIsNotMeasuredByTheWallClock: it may be set while a send waits.
func TestPatienceIsNotMeasuredByTheWallClock(t *testing.T) {
	st := &stream{stallTimeout: time.Minute}
	var before, after, ends time.Time
	st.send = func(*verificationv1.WatchStatusResponse) error {
		after, ends = time.Now(), st.sendDeadline()
		return nil
	}
	before = time.Now()
	if err := st.respond(nil, ""); err != nil {
		t.Fatal(err)
	}
	if ends.Before(before.Add(st.stallTimeout)) || ends.After(after.Add(st.stallTimeout)) {
		t.Errorf("the patience with a send between %v and %v ends at %v", before, after, ends)
	}
	if !strings.Contains(ends.String(), " m=") {
		t.Errorf("%v has no monotonic clock", ends)
	}
}

// TestG12_AHangingReadDoesNotDelayTheLastMessage: the store hangs, and the server stops.
func TestG12_AHangingReadDoesNotDelayTheLastMessage(t *testing.T) {
	stopping, stop := context.WithCancel(t.Context())
	st := &stream{ctx: t.Context(), stopping: stopping}
	asked, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := st.look(func(ctx context.Context) (verification.Session, error) {
			close(asked)
			<-ctx.Done()
			return verification.Session{}, fmt.Errorf("%w: it hangs", store.ErrUnavailable)
		})
		ended <- err
	}()
	await.One(t, asked)
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, errDraining) {
			t.Errorf("the look ended with %v", err)
		}
	case <-time.After(readTimeout - time.Second):
		t.Error("the look continued although the server stops")
	}
}
