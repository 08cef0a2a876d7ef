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

const patience = 10 * time.Second

// nobody is the holder where callers have no names.
var nobody shares.Holder

// bounded is a listener with what it has accepted.
type bounded struct {
	t        *testing.T
	listener *connlimit.Listener
	shed     atomic.Int64
	accepted chan net.Conn
}

func newBounded(t *testing.T, limit int) *bounded { return newShared(t, limit, 0) }

// newShared is a listener on which each caller keeps so many connections by its work.
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

// refused makes a new connection that is closed at once; that may be seen before it is there.
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
	case <-time.After(patience):
		b.t.Fatal("not accepted")
		return nil, nil
	}
}

// gone says whether the other side has closed a connection that nothing is sent on.
func gone(t *testing.T, c net.Conn, want bool) {
	t.Helper()
	wait := patience
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

func TestANewcomerTakesThePlaceOfTheLongestUseless(t *testing.T) {
	b := newBounded(t, 3)
	first, _ := b.open()
	second, secondServer := b.open()
	third, _ := b.open()
	connlimit.Hold(secondServer.RemoteAddr(), nobody).Done() // it was of use: now the last to go
	fourth, _ := b.open()
	gone(t, first, true)
	gone(t, second, false)
	fifth, _ := b.open()
	gone(t, third, true)
	for _, c := range []net.Conn{second, fourth, fifth} {
		gone(t, c, false)
	}
	if got := b.shed.Load(); got != 2 {
		t.Errorf("told of %d closed connections, want 2", got)
	}
}

// A flood of newcomers closes newcomers; only where many have proven themselves must one of these go.
func TestTheProvenOutliveAFloodAndLeaveRoomForNewcomers(t *testing.T) {
	b := newBounded(t, 8)
	var proven []net.Conn
	for range 4 {
		client, server := b.open()
		connlimit.Hold(server.RemoteAddr(), nobody).Done()
		proven = append(proven, client)
	}
	for range 50 {
		b.open()
	}
	for _, c := range proven {
		gone(t, c, false)
	}
	for range 3 { // three of the newcomers become useful too: 7 of 8 are, and 2 must be left to others
		_, server := b.open()
		connlimit.Hold(server.RemoteAddr(), nobody).Done()
	}
	b.open()
	last, _ := b.open()
	b.open()
	gone(t, last, false)
	gone(t, proven[0], true)
}

// TestG15_AGreatLimitIsNoPlaceForTheUseless: connections that never had work are at most a quarter of the limit, 1,000
// at least. Beyond that the oldest of them goes, although there is room.
func TestG15_AGreatLimitIsNoPlaceForTheUseless(t *testing.T) {
	b := newBounded(t, 1100)
	proven, provenServer := b.open()
	connlimit.Hold(provenServer.RemoteAddr(), nobody).Done()
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
		t.Errorf("told of %d closed connections, want 1", got)
	}
}

func TestWorkKeepsAConnectionAndTheNewcomerIsRefusedAtOnce(t *testing.T) {
	b := newBounded(t, 2)
	one, oneServer := b.open()
	two, twoServer := b.open()
	first, second := connlimit.Hold(oneServer.RemoteAddr(), nobody), connlimit.Hold(oneServer.RemoteAddr(), nobody)
	other := connlimit.Hold(twoServer.RemoteAddr(), nobody)
	b.refused()
	first.Done() // a second piece of work is still under way
	b.refused()
	gone(t, one, false)
	second.Done()
	three, _ := b.open()
	gone(t, one, true)
	gone(t, two, false)
	gone(t, three, false)
	other.Done()
}

func TestClosedConnectionsMakeRoom(t *testing.T) {
	b := newBounded(t, 1)
	for range 20 {
		client, server := b.open()
		work := connlimit.Hold(server.RemoteAddr(), nobody)
		_ = server.Close()
		_ = server.Close() // counts once
		work.Done()
		gone(t, client, true)
	}
	last, _ := b.open()
	gone(t, last, false)
}

func TestOtherListenersConnectionsAreNotItsBusiness(t *testing.T) {
	connlimit.Hold(&net.TCPAddr{}, nobody).Done()
	connlimit.Hold(nil, nobody).Done()
	connlimit.HoldRequest(t.Context()).Done()
}

// TestFloodAndUse: newcomers, work and closing from many goroutines at once; the bound holds, and a
// connection that works all the time is never closed.
func TestFloodAndUse(t *testing.T) {
	const limit = 8
	b := newBounded(t, limit)
	busy, busyServer := b.open()
	work := connlimit.Hold(busyServer.RemoteAddr(), nobody)
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
			connlimit.Hold(c.RemoteAddr(), nobody).Done()
			_ = c.Close()
		case <-done:
			open = false
		}
	}
	work.Done()
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

// TestG15_OneCallersConnectionsLeaveOthersTheirs: a caller with work on every connection that there may be keeps its
// share of them. The others give way to newcomers, the longest at work first, and so another caller gets in.
func TestG15_OneCallersConnectionsLeaveOthersTheirs(t *testing.T) {
	const limit, each = 8, 2
	b := newShared(t, limit, each)
	a, other := shares.Named("a"), shares.Named("b")
	var clients []net.Conn
	var works []connlimit.Work
	for range limit {
		client, server := b.open()
		clients, works = append(clients, client), append(works, connlimit.Hold(server.RemoteAddr(), a))
	}
	for n := range each {
		_, server := b.open()
		defer connlimit.Hold(server.RemoteAddr(), other).Done()
		gone(t, clients[each+n], true)
	}
	for n := range each {
		gone(t, clients[n], false)
	}
	for _, work := range works {
		work.Done()
	}
	// What it kept is free again: its connections are kept as before, and the share of the other is its own still.
	client, server := b.open()
	defer connlimit.Hold(server.RemoteAddr(), a).Done()
	for range limit {
		b.open()
	}
	gone(t, client, false)
}
