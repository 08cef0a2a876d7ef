package connlimit

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"

	"example.com/verification-status/server/internal/shares"
)

// Listener is a net.Listener with a limit. It is safe for concurrent use.
type Listener struct {
	net.Listener
	limit     int
	maxUnused int // connections without a lease so far, of the limit
	shed      func()
	leased    *shares.Pot // connections that a lease keeps open

	mu   sync.Mutex
	open int
	// The connections that can be closed for new ones. Each list has the first one to close in front. overShare has
	// the leased connections of callers that are beyond their share.
	unused, idle, overShare list.List
}

// minUnused is how many unused connections are always allowed, if the limit allows them.
const minUnused = 1000

// New limits a listener to limit connections, at least 1. A named caller keeps at most each of them by leases; 0: any
// number. shed is called for each connection that is closed because of the limit.
func New(listener net.Listener, limit, each int, shed func()) *Listener {
	return &Listener{
		Listener: listener, limit: limit, maxUnused: max(limit/4, minUnused), shed: shed,
		leased: shares.New(limit, each),
	}
}

// Accept returns the next connection that there is room for.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, listener: l}
		closing, admitted := l.admit(c)
		if closing != nil {
			l.shed()
			abort(closing)
		}
		if admitted {
			return c, nil
		}
	}
}

// admit makes room for a connection. It returns the connection to close, which is c itself if c is not admitted.
func (l *Listener) admit(c *conn) (closing net.Conn, admitted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limit || l.unused.Len() >= l.maxUnused {
		next := l.nextToClose()
		if next == nil {
			return c.Conn, false
		}
		victim := next.Value.(*conn)
		victim.remove()
		closing = victim.Conn
	}
	l.open++
	c.enlist(&l.unused)
	return closing, true
}

// nextToClose returns the list element of the connection to close, or nil. A quarter of the limit is left to unused
// connections: otherwise new connections would close each other before they get a lease. The lock is held.
func (l *Listener) nextToClose() *list.Element {
	switch {
	case l.unused.Len() > l.limit/4 || l.unused.Len() >= l.maxUnused:
		return l.unused.Front()
	case l.overShare.Len() > 0:
		return l.overShare.Front()
	case l.idle.Len() > 0:
		return l.idle.Front()
	default:
		return l.unused.Front()
	}
}

// abort closes a connection with a reset, so that the kernel keeps nothing of it.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// conn is a connection that counts against the limit.
type conn struct {
	net.Conn
	listener *Listener

	// The listener's lock guards these.
	list    *list.List    // the list of closable connections that it is in; nil: none, a lease keeps it
	element *list.Element // in that list
	leases  int           // open ones
	unit    shares.Unit   // of Listener.leased, while a lease keeps it
	closed  bool

	used atomic.Bool // it has or had a lease
}

// Close closes the connection and makes room for another one. Further calls return the error of net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.remove()
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// remove stops counting the connection. The listener's lock is held.
func (c *conn) remove() {
	if c.closed {
		return
	}
	c.closed = true
	c.listener.open--
	c.unit.Release()
	c.delist()
}

// enlist adds the connection to a list of closable connections. The listener's lock is held.
func (c *conn) enlist(l *list.List) { c.list, c.element = l, l.PushBack(c) }

// delist removes the connection from its list. The listener's lock is held.
func (c *conn) delist() {
	if c.list != nil {
		c.list.Remove(c.element)
		c.list = nil
	}
}

// RemoteAddr returns the peer's address. gRPC and net/http pass it on, and Acquire finds the connection by it.
func (c *conn) RemoteAddr() net.Addr { return remoteAddr{c.Conn.RemoteAddr(), c} }

type remoteAddr struct {
	net.Addr
	conn *conn
}
