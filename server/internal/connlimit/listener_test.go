package connlimit_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
)

// net/http closes a refused connection half a second later; goleak waits less.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const timeout = 10 * time.Second

// nobody is the holder of callers without names.
var nobody shares.Holder

// bounded is a listener and the connections that it has accepted.
type bounded struct {
	t        *testing.T
	listener *connlimit.Listener
	shed     atomic.Int64
	accepted chan net.Conn
}

func newBounded(t *testing.T, limit int) *bounded { return newShared(t, limit, 0) }

// newShared returns a listener on which a caller keeps at most each connections by leases.
func newShared(t *testing.T, limit, each int) *bounded {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bounded{t: t, accepted: make(chan net.Conn, 100)}
	b.listener = connlimit.New(inner, limit, each, func() { b.shed.Add(1) })
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := b.listener.Accept()
			if err != nil {
				return
			}
			b.accepted <- c
		}
	})
	t.Cleanup(func() {
		_ = b.listener.Close()
		accepting.Wait()
	})
	return b
}

// dial returns the client's end of a new connection.
func (b *bounded) dial() net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// refused makes a new connection and checks that it is closed at once. Dial itself can see that already.
func (b *bounded) refused() {
	b.t.Helper()
	c, err := net.Dial("tcp", b.listener.Addr().String())
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	gone(b.t, c, true)
}

// open returns both ends of a new connection.
func (b *bounded) open() (client, server net.Conn) {
	b.t.Helper()
	client = b.dial()
	select {
	case server = <-b.accepted:
		b.t.Cleanup(func() { _ = server.Close() })
		return client, server
	case <-time.After(timeout):
		b.t.Fatal("not accepted")
		return nil, nil
	}
}

// gone checks whether the other side has closed a connection that nothing is sent on.
func gone(t *testing.T, c net.Conn, want bool) {
	t.Helper()
	wait := timeout
	if !want {
		wait = 50 * time.Millisecond
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	alive := errors.As(err, &timeout) && timeout.Timeout()
	if err == nil || alive == want {
		t.Fatalf("read: %v; gone should be %v", err, want)
	}
}

func TestANewConnectionReplacesTheOneUnusedForLongest(t *testing.T) {
	b := newBounded(t, 3)
	first, _ := b.open()
	second, secondServer := b.open()
	third, _ := b.open()
	connlimit.Acquire(secondServer.RemoteAddr(), nobody).Release() // it is idle: the last one to close
	fourth, _ := b.open()
	gone(t, first, true)
	gone(t, second, false)
	fifth, _ := b.open()
	gone(t, third, true)
	for _, c := range []net.Conn{second, fourth, fifth} {
		gone(t, c, false)
	}
	if got := b.shed.Load(); got != 2 {
		t.Errorf("shed was called for %d connections, want 2", got)
	}
}

// New connections close unused ones. An idle one is closed only if few of the others are unused.
func TestTheProvenOutliveAFloodAndLeaveRoomForNewcomers(t *testing.T) {
	b := newBounded(t, 8)
	var proven []net.Conn
	for range 4 {
		client, server := b.open()
		connlimit.Acquire(server.RemoteAddr(), nobody).Release()
		proven = append(proven, client)
	}
	for range 50 {
		b.open()
	}
	for _, c := range proven {
		gone(t, c, false)
	}
	for range 3 { // 7 of 8 have had a lease now, and a quarter of 8 is left to unused ones
		_, server := b.open()
		connlimit.Acquire(server.RemoteAddr(), nobody).Release()
	}
	b.open()
	last, _ := b.open()
	b.open()
	gone(t, last, false)
	gone(t, proven[0], true)
}

// TestG15_UnusedConnectionsAreBoundedUnderAGreatLimit: unused connections are at most a quarter of the limit, at
// least 1,000. A further one closes the oldest of them, although there is room.
func TestG15_UnusedConnectionsAreBoundedUnderAGreatLimit(t *testing.T) {
	b := newBounded(t, 1100)
	proven, provenServer := b.open()
	connlimit.Acquire(provenServer.RemoteAddr(), nobody).Release()
	oldest, _ := b.open()
	second, _ := b.open()
	for range 998 {
		b.open()
	}
	gone(t, oldest, false)
	last, _ := b.open()
	gone(t, oldest, true)
	for _, c := range []net.Conn{proven, second, last} {
		gone(t, c, false)
	}
	if got := b.shed.Load(); got != 1 {
		t.Errorf("shed was called for %d connections, want 1", got)
	}
}

func TestWorkKeepsAConnectionAndTheNewcomerIsRefusedAtOnce(t *testing.T) {
	b := newBounded(t, 2)
	one, oneServer := b.open()
	two, twoServer := b.open()
	first, second := connlimit.Acquire(oneServer.RemoteAddr(), nobody), connlimit.Acquire(oneServer.RemoteAddr(), nobody)
	other := connlimit.Acquire(twoServer.RemoteAddr(), nobody)
	b.refused()
	first.Release() // the second lease is still open
	b.refused()
	gone(t, one, false)
	second.Release()
	three, _ := b.open()
	gone(t, one, true)
	gone(t, two, false)
	gone(t, three, false)
	other.Release()
}

func TestClosedConnectionsMakeRoom(t *testing.T) {
	b := newBounded(t, 1)
	for range 20 {
		client, server := b.open()
		lease := connlimit.Acquire(server.RemoteAddr(), nobody)
		_ = server.Close()
		_ = server.Close() // counts once
		lease.Release()
		gone(t, client, true)
	}
	last, _ := b.open()
	gone(t, last, false)
}

func TestOtherListenersConnectionsAreNotItsBusiness(t *testing.T) {
	connlimit.Acquire(&net.TCPAddr{}, nobody).Release()
	connlimit.Acquire(nil, nobody).Release()
	connlimit.AcquireRequest(t.Context()).Release()
}

// TestFloodAndUse: new connections, leases and closing from many goroutines at once. The limit holds, and a
// connection that has a lease all the time is never closed.
func TestFloodAndUse(t *testing.T) {
	const limit = 8
	b := newBounded(t, limit)
	busy, busyServer := b.open()
	lease := connlimit.Acquire(busyServer.RemoteAddr(), nobody)
	var flood sync.WaitGroup
	for range 4 {
		flood.Go(func() {
			for range 200 {
				c, err := net.Dial("tcp", b.listener.Addr().String())
				if err != nil {
					continue // reset before it was set up
				}
				defer c.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); flood.Wait() }()
	for open := true; open; {
		select {
		case c := <-b.accepted:
			connlimit.Acquire(c.RemoteAddr(), nobody).Release()
			_ = c.Close()
		case <-done:
			open = false
		}
	}
	lease.Release()
	if _, err := io.WriteString(busyServer, "x"); err != nil {
		t.Error(err)
	}
	if _, err := busy.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	for {
		select {
		case c := <-b.accepted:
			_ = c.Close()
			continue
		default:
		}
		return
	}
}

// TestG15_OneCallersConnectionsLeaveOthersTheirs: a caller with a lease on every connection keeps its share of them. Its
// other connections are closed for new ones, the first leased first, so that another caller gets in.
func TestG15_OneCallersConnectionsLeaveOthersTheirs(t *testing.T) {
	const limit, each = 8, 2
	b := newShared(t, limit, each)
	a, other := shares.Named("a"), shares.Named("b")
	var clients []net.Conn
	var leases []connlimit.Lease
	for range limit {
		client, server := b.open()
		clients, leases = append(clients, client), append(leases, connlimit.Acquire(server.RemoteAddr(), a))
	}
	for n := range each {
		_, server := b.open()
		defer connlimit.Acquire(server.RemoteAddr(), other).Release()
		gone(t, clients[each+n], true)
	}
	for n := range each {
		gone(t, clients[n], false)
	}
	for _, lease := range leases {
		lease.Release()
	}
	// Its share is free again: a lease of it keeps a connection as before. The other caller's share is its own.
	client, server := b.open()
	defer connlimit.Acquire(server.RemoteAddr(), a).Release()
	for range limit {
		b.open()
	}
	gone(t, client, false)
}
