package grpcserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/testing/await"
)

// TestG15_AllConnectionsShareALine: a thousand connections send a call after the other. What they send together within ten seconds is bounded, and
// each alone as well.
func TestG15_AllConnectionsShareALine(t *testing.T) {
	for name, test := range map[string]struct{ kind, connections, want, free int }{
		"newcomers, one":  {newcomerCall, 1, 100 + 50*10, 0},
		"newcomers, many": {newcomerCall, 1000, 2000 + 2000*10, 10 + 1*10},
		"shared, one":     {sharedCall, 1, 2000 + 2000*10, 0},
		"shared, many":    {sharedCall, 100, 4000 + 4000*10, 100 + 20*10},
		"resets, one":     {resetCall, 1, 5000 + 5000*10, 0},
		"resets, many":    {resetCall, 100, 10_000 + 10_000*10, 1000 + 100*10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, end := newLines(), time.Now().Add(10*time.Second)
				counts := make(chan int)
				for range test.connections {
					go func() {
						p, n := pace{lines: l}, 0
						for ; time.Now().Before(end); n++ {
							time.Sleep(p.pay(test.kind, 1))
						}
						counts <- n
					}()
				}
				passed := 0
				for range test.connections {
					passed += <-counts
				}
				// Each connection has one more call that it has not paid for yet.
				least, most := test.want, test.want+(test.free+1)*test.connections
				if passed < least || passed > most+1 {
					t.Errorf("%d calls passed, want %d to %d", passed, least, most)
				}
			})
		})
	}
}

// TestG15_ProbesPassAFlood: a new connection with a few calls waits for no other one.
func TestG15_ProbesPassAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines()
		flood := pace{lines: l}
		if wait := flood.pay(newcomerCall, 1); wait != 0 {
			t.Fatalf("the first call waits %v", wait)
		}
		l[newcomerCall].ReserveN(time.Now(), 2000) // by others
		for range 20 {
			l[newcomerCall].ReserveN(time.Now(), 2000)
		}
		probe := pace{lines: l}
		if wait := probe.pay(newcomerCall, 10); wait != 0 {
			t.Errorf("ten calls of a new connection wait %v, want not at all", wait)
		}
		time.Sleep(time.Second)
		if wait := probe.pay(newcomerCall, 1); wait != 0 {
			t.Errorf("a call a second later waits %v, want not at all", wait)
		}
		if wait := probe.pay(newcomerCall, 1); wait < time.Second {
			t.Errorf("one more waits %v, want its time in the line", wait)
		}
	})
}

// TestG15_AConnectionLeavesLittleDebt: what a connection owes is bounded, for itself and for all that share its line.
func TestG15_AConnectionLeavesLittleDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for kind := range charges {
			l := newLines()
			flood, other := pace{lines: l}, pace{lines: l}
			if wait := flood.pay(kind, 1_000_000); wait != longestWait {
				t.Errorf("kind %d: a flood waits %v, want %v", kind, wait, longestWait)
			}
			if wait := other.pay(kind, 1000); wait > longestWait {
				t.Errorf("kind %d: another connection waits %v, want %v at most", kind, wait, longestWait)
			}
			time.Sleep(longestWait)
			third := pace{lines: l}
			if wait := third.pay(kind, tariffs[kind].freeBurst+1); wait > time.Second {
				t.Errorf("kind %d: a third connection waits %v later, want a second at most", kind, wait)
			}
		}
	})
}

// TestResetsCountOncePerCall: a client resets calls that it never began, and one call again and again.
func TestResetsCountOncePerCall(t *testing.T) {
	var ended int
	f := counted(&ended)
	send := func(kind, flags byte, id uint32) {
		for p := frame(kind, flags, id); len(p) > 0; {
			_, followed := f.follow(p)
			p = p[followed:]
		}
	}
	send(1, 5, 1)
	send(1, 5, 3)
	for range 1000 {
		send(3, 0, 1<<31-1)
		send(3, 0, 3)
	}
	f.follow(nil) // the last frame
	if f.resets > 2 {
		t.Errorf("%d resets count, want 2 at most: as many as calls", f.resets)
	}
}

// TestResetsOfOldCallsAreFree: thousands of calls that have been open for two seconds are reset at once.
func TestResetsOfOldCallsAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended int
		f := counted(&ended)
		const calls = 5000
		send := func(kind, flags byte, first uint32) {
			for n := range uint32(calls) {
				for p := frame(kind, flags, first+2*n); len(p) > 0; {
					_, followed := f.follow(p)
					p = p[followed:]
				}
			}
			f.follow(nil) // the last frame
		}
		send(1, 5, 1)
		time.Sleep(time.Second)
		send(1, 5, 2*calls+1)
		time.Sleep(time.Second)
		send(3, 0, 1)
		if f.resets != 0 {
			t.Errorf("%d resets of calls of two seconds count, want none", f.resets)
		}
		send(1, 5, 4*calls+1)
		send(3, 0, 4*calls+1)
		if f.resets != calls {
			t.Errorf("%d resets of new calls count, want %d", f.resets, calls)
		}
	})
}

// TestACompleteRequestIsNotAwaited, and of those that are, calls that are over are forgotten in time.
func TestACompleteRequestIsNotAwaited(t *testing.T) {
	var ended int
	f := counted(&ended)
	f.follow(frame(1, 4, 1))
	if f.whole {
		t.Error("a request without DATA is complete")
	}
	f.follow(frame(0, 1, 1))
	if !f.whole {
		t.Error("a request with its last frame is incomplete")
	}
	live := &call{}
	live.requestAwaited.Store(true)
	f.current = 3
	f.await(live)
	for n := range uint32(10 * minSwept) {
		f.current = 5 + 2*n
		f.await(&call{})
	}
	if n := len(f.awaited); n > minSwept || f.awaited[3] != live {
		t.Errorf("%d calls are kept, want at most %d, and the one that is not over", n, minSwept)
	}
	f.complete(3)
	if live.requestAwaited.Load() || f.awaited[3] != nil {
		t.Error("a call whose request is complete is still awaited")
	}
}

// TestAClientThatDoesNotReadBeginsNoCalls: while an answer cannot be written, its connection is not read. When writing fails, it is closed.
func TestAClientThatDoesNotReadBeginsNoCalls(t *testing.T) {
	s := &Server{lines: newLines(), log: slog.New(slog.DiscardHandler), config: withDefaults(Config{})}
	pipe := bufconn.Listen(1)
	listener := pacedListener{connlimit.New(pipe, 10, 0, func() {}), s}
	defer listener.Close()
	dialed := make(chan net.Conn, 1)
	go func() {
		client, err := pipe.Dial()
		if err != nil {
			t.Error(err)
		}
		dialed <- client
	}()
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, conn := await.One(t, dialed), accepted.(*pacedConn)
	defer client.Close()
	wrote, read := make(chan error, 1), make(chan error, 1)
	go func() { // a pipe of one byte: this waits for the client
		_, err := conn.Write(make([]byte, 3))
		wrote <- err
	}()
	eventually(t, "the write is under way", func() bool {
		free := conn.writing.TryLock()
		if free {
			conn.writing.Unlock()
		}
		return !free
	})
	conn.cut, conn.calls = true, 1
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	if _, err := client.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		t.Fatalf("read, with %v, while the client reads nothing", err)
	case <-time.After(50 * time.Millisecond): // a fault shows within microseconds; a slow machine shows none
	}
	_ = client.Close()
	if err := await.One(t, wrote); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the write: %v", err)
	}
	if err := await.One(t, read); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the read after a write that failed: %v, want %v", err, net.ErrClosed)
	}
}

// TestAHalfRequestBeyondTheShareIsShort: it ends when it has sent more, in the frames that come with its headers or later.
func TestAHalfRequestBeyondTheShareIsShort(t *testing.T) {
	brief := func() *call {
		ctx, cancel := context.WithCancel(t.Context())
		c := &call{Context: ctx, cancel: cancel, brief: true, server: &Server{config: Config{Shed: func(context.Context, string, string) {}}}}
		c.requestAwaited.Store(true)
		return c
	}
	var ended int
	f, later, early := counted(&ended), brief(), brief()
	f.current, f.sent = 1, shortHalfBytes
	f.await(later)
	if later.part(0); later.excess || later.Err() != nil {
		t.Error("a short half request has ended")
	}
	if later.part(1); later.Err() == nil || !later.tooMany.Load() {
		t.Error("a half request that grew goes on")
	}
	f.current, f.sent = 3, shortHalfBytes+1
	if f.await(early); !early.excess {
		t.Error("a half request that was long at once goes on")
	}
	within := &call{server: later.server}
	within.requestAwaited.Store(true)
	if within.part(10 * shortHalfBytes); within.tooMany.Load() {
		t.Error("a half request within the share has ended")
	}
}
