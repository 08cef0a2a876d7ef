package connlimit

import (
	"context"
	"net"

	"example.com/verification-status/server/internal/shares"
)

// Lease stands for work that is under way on a connection. The zero value stands for none.
type Lease struct{ conn *conn }

// Acquire keeps the connection with this remote address open until Release. It keeps the connection for the holder,
// and only if the holder is below its share. It returns the zero Lease for an address of another listener.
func Acquire(addr net.Addr, holder shares.Holder) Lease {
	remote, ok := addr.(remoteAddr)
	if !ok {
		return Lease{}
	}
	c := remote.conn
	c.used.Store(true)
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.leases++; c.leases == 1 && !c.closed {
		c.keep(holder)
	}
	return Lease{c}
}

// keep makes the lease keep the connection, unless the holder is at its share. The listener's lock is held.
func (c *conn) keep(holder shares.Holder) {
	c.delist()
	var err error
	if c.unit, err = c.listener.leased.Take(holder, nil); err != nil {
		c.enlist(&c.listener.overShare)
	}
}

// Used reports whether the connection with this remote address has or had a lease. It returns true for an address of
// another listener.
func Used(addr net.Addr) bool {
	remote, ok := addr.(remoteAddr)
	return !ok || remote.conn.used.Load()
}

// Release ends the work. If it was the last on the connection, the connection is now the last of the idle ones to be
// closed. Call it once.
func (l Lease) Release() {
	if l.conn == nil {
		return
	}
	c := l.conn
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.leases--; c.leases == 0 && !c.closed {
		c.unit.Release()
		c.delist()
		c.enlist(&c.listener.idle)
	}
}

type contextKey struct{}

// ConnContext is for http.Server.ConnContext. AcquireRequest then finds the connection of a request.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, c.RemoteAddr())
}

// AcquireRequest is Acquire without a holder, for the connection of an HTTP request with this context.
func AcquireRequest(ctx context.Context) Lease {
	addr, _ := ctx.Value(contextKey{}).(net.Addr)
	return Acquire(addr, shares.Holder{})
}
