//go:build load

package load

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/tests/rig"
)

const (
	loadConnections = 200
	eventsPerSecond = 1000
	eventsFor       = 20 * time.Second
	// quiet is the time without any load: longer than an idle watch waits before it reads by itself, so that the cost of
	// these reads is measured.
	quiet = 40 * time.Second
	// grace is the default of DRAIN_TIMEOUT. exitGrace bounds the rest of a stop.
	grace, exitGrace = 25 * time.Second, 3 * time.Second
)

// TestLoadStreams: a replica with 100,000 open watches, each of a session of its own, over 200
// connections, with a bearer token. A thousand events a second for 20 s are delivered, each to its watcher, in order, once
// and none missed; and on SIGTERM every stream ends with its reason, within the grace of a stop. Memory
// and times are reported, not judged: the clients and Redis share the server's processors.
//
//	go test -tags load -run TestLoadStreams -v -count 1 -timeout 20m ./server/tests/load
//
// LOAD_STREAMS is another number of streams.
func TestLoadStreams(t *testing.T) {
	streams := loadCount(t, "LOAD_STREAMS", 100_000, 1000, 500_000)
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	l := &streamLoad{t: t, http: rig.NewHTTPClient(t), ends: make(map[string]int)}
	for n := range streams {
		l.watches = append(l.watches, &loadWatch{id: fmt.Sprintf("vs_Load%06d", n)})
	}
	first := decoded(t, rig.Tries("vs_Load", 1)[0])
	seedSessions(t, redis.Addr, 0, streams, func(n int) []verification.Event {
		event := first
		event.ID, event.Object.ID = "evt_"+l.watches[n].id+"_0", l.watches[n].id
		return []verification.Event{event}
	})
	tokens, token := rig.TokensFile(t)
	// An operator who expects so many watches sets these. A watched session that is not in the cache is read from Redis
	// each time an idle watch reads by itself, and woken watches wait behind these reads.
	l.p = rig.Serve(t, rig.Settings(redis.Addr, fmt.Sprintf("GRPC_MAX_STREAMS=%d", streams), fmt.Sprintf("CACHE_SESSIONS=%d", streams*6/5), "CALLER_SHARE_PERCENT=100", tokens))
	l.p.Token = token
	l.p.AwaitLists()
	l.connect()
	l.openAll()
	l.sendAll()
	l.drain()
}

// streamLoad is the clients of one replica.
type streamLoad struct {
	t        *testing.T
	p        *rig.Process
	http     *http.Client
	conns    []*grpc.ClientConn
	watches  []*loadWatch
	watching sync.WaitGroup
	before   rig.MemoryUse // of the server, without streams

	mu        sync.Mutex // guards what follows
	latencies []time.Duration
	wrong     []string       // what watchers should not have seen
	ends      map[string]int // why streams ended
	lastEnd   time.Time
}

// connect makes the connections before the measurement: they do not count as a stream's memory.
func (l *streamLoad) connect() {
	l.t.Helper()
	ctx := rig.Within(l.t, rig.Soon)
	for range loadConnections {
		_, conn := rig.Dial(l.t, l.p.GRPC, grpc.WithPerRPCCredentials(rig.Bearer(l.p.Token)))
		conn.Connect()
		l.conns = append(l.conns, conn)
	}
	for _, conn := range l.conns {
		for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
			if !conn.WaitForStateChange(ctx, state) {
				l.t.Fatalf("a connection is %v", state)
			}
		}
	}
}

// openAll opens the streams on all connections at once, one after the other on each, and reports their memory while nothing
// happens.
func (l *streamLoad) openAll() {
	l.t.Helper()
	l.before = l.p.MemoryLeft(l.http)
	ctx, cancel := context.WithCancel(l.t.Context())
	l.t.Cleanup(func() {
		cancel()
		l.watching.Wait()
	})
	tooLong := time.AfterFunc(5*time.Minute, cancel) // a deadline would be a timer of each stream, in the server too
	began := time.Now()
	var opening sync.WaitGroup
	for c, conn := range l.conns {
		client := verificationv1.NewVerificationServiceClient(conn)
		opening.Go(func() {
			for n := c; n < len(l.watches); n += len(l.conns) {
				if err := l.watches[n].open(ctx, l, client); err != nil {
					l.t.Errorf("stream %d: %v", n, err)
					return
				}
			}
		})
	}
	opening.Wait()
	took := time.Since(began)
	if tooLong.Stop(); l.t.Failed() {
		l.t.FailNow()
	}
	n := len(l.watches)
	l.t.Logf("%s streams of as many sessions over %d connections: opened in %.1f s, %s a second",
		grouped(n), loadConnections, took.Seconds(), grouped(int(float64(n)/took.Seconds())))
	l.t.Logf("memory of the server before: %v", l.before)
	l.reportMemory("opened")
	cpu, began := l.p.CPU(), time.Now()
	time.Sleep(quiet) // nothing is waited for: this is what is measured
	l.t.Logf("while nothing happens, for %v: the server takes %.2f of a core", quiet, (l.p.CPU()-cpu).Seconds()/time.Since(began).Seconds())
	l.reportMemory("idle since")
}

// reportMemory reports the server's memory for each stream, after a garbage collection. The session in the server's cache
// counts, the stream's part of a connection does not.
func (l *streamLoad) reportMemory(when string) {
	l.t.Helper()
	now := l.p.MemoryLeft(l.http)
	each := func(now, before int) float64 { return float64(now-before) / float64(len(l.watches)) / 1000 }
	l.t.Logf("memory, %s: %v; each stream %.1f kB used, %.1f of them for its stack, %.1f kB resident", when, now,
		each(now.Used, l.before.Used), each(now.Stacks, l.before.Stacks), each(now.Resident, l.before.Resident))
}

// drain stops the server under all its streams.
func (l *streamLoad) drain() {
	l.t.Helper()
	l.p.Signal(syscall.SIGTERM)
	began := time.Now()
	code := l.p.Exit(grace + exitGrace)
	ended := time.Since(began)
	l.watching.Wait() // the process is gone, and so are its connections
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("SIGTERM: the last stream ended after %.1f s, the process after %.1f s with exit code %d; DRAIN_TIMEOUT is %v",
		l.lastEnd.Sub(began).Seconds(), ended.Seconds(), code, grace)
	for _, why := range slices.Sorted(maps.Keys(l.ends)) {
		l.t.Logf("%s streams ended with %s", grouped(l.ends[why]), why)
	}
	if drained := l.ends[endedToResume]; drained != len(l.watches) {
		l.t.Errorf("%d of %d streams ended with the request to resume elsewhere", drained, len(l.watches))
	}
	if code != 0 || ended > grace {
		l.t.Errorf("exit code %d after %v; want 0 within %v", code, ended, grace)
	}
	if strings.Contains(l.p.Stderr.String(), "calls were cut off") {
		l.t.Error("calls were cut off")
	}
}
