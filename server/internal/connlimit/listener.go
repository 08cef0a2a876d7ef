// Package connlimit bounds how many connections a listener holds open. At the bound a newcomer takes
// the place of the connection that has been of no use the longest, so that whoever opens thousands
// and sends nothing keeps nobody else out, and those that never were of use go before those that
// were. Only where all are at work is the newcomer refused, at once. A caller with a name keeps so many
// connections by its work as its share is: those beyond give way to newcomers, also while they are at work.
//
// Connections that never were of use are at most a quarter of the bound (1,000 at least): a great bound, for
// callers whose proxy opens a connection for each stream, gives those without credentials no more memory.
//
// It refuses to know what is spoken on a connection: whoever does says with Hold when there is work.
package connlimit

import (
	"container/list"
	"context"
	"net"
	"sync"
	"sync/atomic"

	"example.com/verification-status/server/internal/shares"
)

// Listener is a net.Listener with a bound. It is safe for concurrent use.
type Listener struct {
	net.Listener
	limit    int
	unproven int // of them, connections that never had work
	shed     func()
	held     *shares.Pot // connections that are kept by their work

	mu   sync.Mutex
	open int
	// The connections that may be closed, the longest useless first: those without work that never had any, and those
	// that had; and those at work beyond their caller's share.
	fresh, proven, over list.List
}

// minUnproven is how many connections without work so far are always allowed, if the limit allows them.
const minUnproven = 1000

// New bounds a listener to limit connections, at least 1. A caller with a name keeps at most each of them by its
// work; 0: no bound. shed is called for each connection that is closed because of that.
func New(listener net.Listener, limit, each int, shed func()) *Listener {
	return &Listener{
		Listener: listener, limit: limit, unproven: max(limit/4, minUnproven), shed: shed,
		held: shares.New(limit, each),
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

// admit makes room for a connection. It returns the one to close: another, or this very one.
func (l *Listener) admit(c *conn) (closing net.Conn, admitted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limit || l.fresh.Len() >= l.unproven {
		longest := l.longest()
		if longest == nil {
			return c.Conn, false
		}
		victim := longest.Value.(*conn)
		victim.leave()
		closing = victim.Conn
	}
	l.open++
	c.wait(&l.fresh)
	return closing, true
}

// longest is the connection to close. A quarter of the places is left to newcomers, lest they close
// each other before they can be of use. The lock is held.
func (l *Listener) longest() *list.Element {
	switch {
	case l.fresh.Len() > l.limit/4 || l.fresh.Len() >= l.unproven:
		return l.fresh.Front()
	case l.over.Len() > 0:
		return l.over.Front()
	case l.proven.Len() > 0:
		return l.proven.Front()
	default:
		return l.fresh.Front()
	}
}

// abort closes a connection with a reset: nothing of it stays behind, here or in the kernel.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// conn is a connection that counts.
type conn struct {
	net.Conn
	listener *Listener

	// The listener's lock guards these.
	among *list.List    // those that may be closed that it is one of; nil while work keeps it
	place *list.Element // in that list
	works int
	held  shares.Unit // while work keeps it
	gone  bool

	proven atomic.Bool // there was work once
}

// Close closes the connection and makes room for another. It may be called more than once.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.leave()
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// leave ends the counting; the listener's lock is held.
func (c *conn) leave() {
	if c.gone {
		return
	}
	c.gone = true
	c.listener.open--
	c.held.Release()
	c.unwait()
}

// keep makes work keep the connection, unless its caller has its share. The listener's lock is held.
func (c *conn) keep(holder shares.Holder) {
	c.unwait()
	var err error
	if c.held, err = c.listener.held.Take(holder, nil); err != nil {
		c.wait(&c.listener.over)
	}
}

// wait puts the connection among those that may be closed, and unwait takes it away; the listener's lock is held.
func (c *conn) wait(among *list.List) { c.among, c.place = among, among.PushBack(c) }

func (c *conn) unwait() {
	if c.among != nil {
		c.among.Remove(c.place)
		c.among = nil
	}
}

// RemoteAddr is the peer's address, by which Hold finds the connection again: it is what gRPC and
// net/http hand on.
func (c *conn) RemoteAddr() net.Addr { return remoteAddr{c.Conn.RemoteAddr(), c} }

type remoteAddr struct {
	net.Addr
	conn *conn
}

// Work is something under way on a connection. The zero value is nothing.
type Work struct{ conn *conn }

// Hold keeps the connection with this remote address from being closed for a newcomer until Done: for the holder, if
// that has not its share already. For an address of another listener it does nothing.
func Hold(addr net.Addr, holder shares.Holder) Work {
	remote, ok := addr.(remoteAddr)
	if !ok {
		return Work{}
	}
	c := remote.conn
	c.proven.Store(true)
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.works++; c.works == 1 && !c.gone {
		c.keep(holder)
	}
	return Work{c}
}

// Proven reports whether there ever was work on the connection with this remote address. One of another
// listener is taken for proven.
func Proven(addr net.Addr) bool {
	remote, ok := addr.(remoteAddr)
	return !ok || remote.conn.proven.Load()
}

// Done ends the work. The connection is then the last that would be closed.
func (w Work) Done() {
	if w.conn == nil {
		return
	}
	l := w.conn.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.conn.works--; w.conn.works == 0 && !w.conn.gone {
		w.conn.held.Release()
		w.conn.unwait()
		w.conn.wait(&l.proven)
	}
}

type contextKey struct{}

// ConnContext is an http.Server.ConnContext: requests can then be given to HoldRequest.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, c.RemoteAddr())
}

// HoldRequest is Hold for the connection that an HTTP request came on, by the request's context.
func HoldRequest(ctx context.Context) Work {
	addr, _ := ctx.Value(contextKey{}).(net.Addr)
	return Hold(addr, shares.Holder{})
}
