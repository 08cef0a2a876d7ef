package grpcserver

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"example.com/verification-status/server/internal/connlimit"
)

// longestBehind is how long a newcomer can send more calls than are read. Then its connection is closed: what waits in it is old, and a client
// that has got its credentials meanwhile would wait for minutes until a good call is read. No caller has a call on it.
const longestBehind = 5 * time.Second

// pacedConn is a connection that is read slowly if it has to pay for its calls (see pace) and that limits DATA frames (see frameLimit). gRPC's
// tap finds it by the remote address, in the goroutine that reads.
type pacedConn struct {
	frameLimit
	pace   pace
	behind time.Time // since when a newcomer has had to wait each time; zero: it need not
	server *Server

	writing sync.Mutex // held by Write
	closed  chan struct{}
	close   sync.Once
}

func (s *Server) newPacedConn(conn net.Conn) *pacedConn {
	return &pacedConn{frameLimit: *newFrameLimit(conn, s.tooManyFrames), pace: pace{lines: s.lines}, server: s, closed: make(chan struct{})}
}

// Read implements net.Conn. It waits before a further call begins if the calls so far have to be paid for.
func (c *pacedConn) Read(p []byte) (int, error) {
	if c.cut && c.later == nil { // gRPC has had all calls that were counted, and what came of their requests
		c.pay()
	}
	select {
	case <-c.closed:
		return 0, net.ErrClosed // what was received is not worth an answer
	default:
		return c.frameLimit.Read(p)
	}
}

// pay waits for as long as the calls since the last payment demand, or until the connection is closed.
func (c *pacedConn) pay() {
	calls, resets := c.calls, c.resets
	c.calls, c.resets = 0, 0
	if calls <= 0 && resets == 0 {
		return
	}
	// A client that does not read its answers gets no further ones: gRPC would keep them.
	c.writing.Lock()
	c.writing.Unlock() //nolint:staticcheck // it waits for Write
	kind := newcomerCall
	if connlimit.Used(c.Conn.RemoteAddr()) {
		kind = sharedCall
	}
	wait := max(c.pace.pay(kind, calls), c.pace.pay(resetCall, resets))
	if wait == 0 {
		c.behind = time.Time{}
		return
	}
	c.server.slowed(c.Conn.RemoteAddr())
	switch now := time.Now(); {
	case kind != newcomerCall:
		c.behind = time.Time{}
	case c.behind.IsZero():
		c.behind = now
	case now.Sub(c.behind) > longestBehind:
		_ = c.Close() // the read that follows says so
		return
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	select {
	case <-over.C:
	case <-c.closed:
	}
}

// ofCaller takes back what the current call was counted for, since it is a caller's. Call it in the tap.
func (c *pacedConn) ofCaller() {
	if c != nil {
		c.calls--
	}
}

// awaits makes the connection report the arrival of the current call's request. Call it in the tap.
func (c *pacedConn) awaits(current *call) {
	if c != nil {
		c.await(current)
	}
}

// Write implements net.Conn. After an error it closes the connection: gRPC relies on the reader to notice, which can be waiting.
func (c *pacedConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// Close implements net.Conn.
func (c *pacedConn) Close() error {
	c.close.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// RemoteAddr implements net.Conn.
func (c *pacedConn) RemoteAddr() net.Addr { return pacedAddr{c.Conn.RemoteAddr(), c} }

// pacedAddr is the address of a pacedConn's peer.
type pacedAddr struct {
	net.Addr
	conn *pacedConn
}

// connOf returns the connection with a peer's address, or nil, and the address as the listener knows it.
func connOf(addr net.Addr) (*pacedConn, net.Addr) {
	if paced, ok := addr.(pacedAddr); ok {
		return paced.conn, paced.Addr
	}
	return nil, addr
}

// pacedListener paces the connections of a listener without TLS.
type pacedListener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l pacedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.server.newPacedConn(conn), nil
}

// pacedCredentials paces connections with TLS, behind the handshake.
type pacedCredentials struct {
	credentials.TransportCredentials
	server *Server
}

// ServerHandshake implements credentials.TransportCredentials.
func (c pacedCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return c.server.newPacedConn(conn), info, nil
}

// Clone implements credentials.TransportCredentials.
func (c pacedCredentials) Clone() credentials.TransportCredentials {
	return pacedCredentials{c.TransportCredentials.Clone(), c.server}
}
