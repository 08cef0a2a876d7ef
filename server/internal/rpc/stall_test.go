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
	"example.com/verification-status/server/internal/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/turn"
	"example.com/verification-status/server/internal/verification"
)

// TestACallerWhoDoesNotReadIsEnded: over a real socket. Stopped by StallTimeout: the stream ends with
// STREAM_STALLED once as much is on its way as gRPC's windows take, another stream of the same
// connection goes on, and the last token that was read leads on to all the rest.
func TestACallerWhoDoesNotReadIsEnded(t *testing.T) {
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

// TestManyWatchesWakeAtOnce: stopped by StreamReads: however many watches a change wakes, only so many
// read the store at once; each is told, and a call in between does not stand in their line.
func TestManyWatchesWakeAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	const watches, reads = 200, 4
	b := newBackend(t)
	counting := &countingStore{pause: 10 * time.Millisecond}
	r := b.replica(t, func(c *Config) {
		counting.Store = c.Store
		c.Store, c.StreamReads = counting, reads
	})
	id := func(n int) string { return fmt.Sprintf("vs_%d", n) } // one each: memory answers many who ask for the same
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

// TestIdleLooksLeavePlacesToThoseThatWereWoken.
func TestIdleLooksLeavePlacesToThoseThatWereWoken(t *testing.T) {
	const places = 8
	some := newTurns(nil, remembering{}, places)
	idle, cancel := context.WithCancel(context.WithValue(t.Context(), idleKey{}, true))
	var leaves []func()
	take := func(ctx context.Context, n int) {
		t.Helper()
		for range n {
			leave, err := some.take(ctx)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leave)
		}
	}
	take(idle, places/4)
	take(t.Context(), places-places/4)
	cancel()
	if _, err := some.take(idle); err != context.Canceled {
		t.Errorf("an idle look beyond the quarter: %v", err)
	}
	for _, leave := range leaves {
		leave()
	}
	if len(some.places) != 0 || len(some.idle) != 0 {
		t.Errorf("%d places and %d of the idle are still taken", len(some.places), len(some.idle))
	}
}

// asking tells which reads of the feed nothing has asked for.
type asking struct {
	store.Store
	idle chan bool
}

func (a asking) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	a.idle <- ctx.Value(idleKey{}) != nil
	return a.Store.ReadFeed(ctx, partition, after, limit)
}

// TestIdleLooksOfWatchesOfAllSessionsAreIdle: they read every partition, and would be in the way of others.
func TestIdleLooksOfWatchesOfAllSessionsAreIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		reads := asking{w.service.watching.Store, make(chan bool)}
		w.service.watching.Store = reads
		w.start(allSessions())
		partitions := w.Partitions()
		for _, want := range []struct {
			reads int
			idle  bool
		}{{partitions, false}, {partitions, true}, {partitions, true}} {
			for range want.reads {
				if idle := <-reads.idle; idle != want.idle {
					t.Fatalf("a read is idle: %t, want %t", idle, want.idle)
				}
			}
		}
		synctest.Wait()
		w.service.Hub.Wake(hub.Partition(0))
		if <-reads.idle {
			t.Error("a read that was asked for is idle")
		}
		w.stop()
	})
}

// TestAWaitForATurnEndsWithItsCaller: a caller who has gone must not keep its place in the line.
func TestAWaitForATurnEndsWithItsCaller(t *testing.T) {
	full := newTurns(nil, remembering{}, 0) // nobody ever leaves
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, get := full.Get(ctx, "vs_1")
	_, recent := full.Recent(ctx, "vs_2", 1)
	_, newest := full.Newest(ctx, "person")
	_, head := full.Head(ctx, 0)
	_, feed := full.ReadFeed(ctx, 0, store.Position{}, 1)
	for _, err := range []error{get, recent, newest, head, feed} {
		if err != context.Canceled {
			t.Errorf("got %v", err)
		}
	}
}

// remembering is a Recent with vs_1 at revision 3 in memory, whose store must not be asked.
type remembering struct{}

func (remembering) Recent(context.Context, string, int32) (verification.Session, error) {
	return verification.Session{}, errors.New("the store was asked")
}

func (remembering) Remembered(id string, least int32) *verification.Session {
	if id != "vs_1" || least > 3 {
		return nil
	}
	return &verification.Session{ID: id, Revision: 3}
}

// TestWhatIsInMemoryNeedsNoTurn: only what it is too old for waits for one.
func TestWhatIsInMemoryNeedsNoTurn(t *testing.T) {
	full := newTurns(nil, remembering{}, 0)
	if session, err := full.Recent(t.Context(), "vs_1", 3); err != nil || session.Revision != 3 {
		t.Errorf("got %+v, %v", session, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := full.Recent(ctx, "vs_1", 4); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// TestAPanicOfASendIsItsHandlers: there it is recovered from; in a goroutine of its own it would end the
// process.
func TestAPanicOfASendIsItsHandlers(t *testing.T) {
	st := &stream{patience: time.Minute, woken: hub.New().Subscribe(), send: func(*verificationv1.WatchStatusResponse) error { panic("planted") }}
	defer st.close()
	defer func() {
		carried, ok := recover().(*turn.Panic)
		if !ok {
			t.Fatal("recovered something else")
		}
		if carried.Value != "planted" || !strings.Contains(string(carried.Stack), ".respond(") {
			t.Errorf("recovered %v", carried)
		}
	}()
	_ = st.do(func() error { return st.respond(nil, "") })
	t.Error("the turn returned")
}

// TestPatienceIsNotMeasuredByTheWallClock: it may be set while a send waits.
func TestPatienceIsNotMeasuredByTheWallClock(t *testing.T) {
	st := &stream{patience: time.Minute}
	var before, after, ends time.Time
	st.send = func(*verificationv1.WatchStatusResponse) error {
		after, ends = time.Now(), st.patienceEnds()
		return nil
	}
	before = time.Now()
	if err := st.respond(nil, ""); err != nil {
		t.Fatal(err)
	}
	if ends.Before(before.Add(st.patience)) || ends.After(after.Add(st.patience)) {
		t.Errorf("the patience with a send between %v and %v ends at %v", before, after, ends)
	}
	if !strings.Contains(ends.String(), " m=") {
		t.Errorf("%v has no monotonic clock", ends)
	}
}

// TestG12_ALookThatHangsDoesNotKeepTheLastWordBack: the store hangs, and the server stops.
func TestG12_ALookThatHangsDoesNotKeepTheLastWordBack(t *testing.T) {
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
	case <-time.After(lookTimeout - time.Second):
		t.Error("the look went on although the server stops")
	}
}
