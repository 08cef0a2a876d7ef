package client

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// provenAfter is the age from which the loss of a connection is no failure, even if the connection has answered no call.
const provenAfter = time.Second

// errLostAtOnce is the failure of a connection that was opened and lost at once.
var errLostAtOnce = errors.New("the server or proxy ends each connection before a call is answered")

// load counts the calls of one connection until the connection is lost or gets a GOAWAY. A call that ends after that changes
// the count of no later connection.
type load struct {
	calls    int
	since    time.Time // when the connection became Ready; zero: it did not yet
	answered bool      // the server has sent something for a call
}

// proven reports whether a connection that is lost now was of use.
func (l *load) proven() bool {
	return l.answered || !l.since.IsZero() && time.Since(l.since) >= provenAfter
}

// lost handles the loss of an established connection. gRPC never counts it as a failure, and does not even report Ready if the
// GOAWAY comes early enough. A proxy that stops or has no server can accept each connection and end it at once, and the calls
// that wait would open thousands of connections a second. So the loss of a connection that was of no use is a failure here.
// The lock is held.
func (b *connections) lost(c *connection) {
	c.endHealth()
	c.last, c.load = c.load, new(load)
	b.retireLater(c)
	if c.last.proven() {
		c.state, c.failures = connectivity.Connecting, 0
	} else {
		c.state, b.failure = connectivity.TransientFailure, errLostAtOnce
		c.failures++
	}
	b.cc.ResolveNow(resolver.ResolveNowOptions{})
}

// connectLater connects again at a random moment within ReconnectWithin, or when a unary call needs the connection. After
// failures in a row, a unary call waits too, and the longest wait doubles with each failure, up to ReconnectMax. The lock is
// held.
func (b *connections) connectLater(c *connection) {
	waits := backoff{base: b.config.ReconnectWithin, max: max(b.config.ReconnectMax, b.config.ReconnectWithin)}
	var timer *time.Timer
	timer = time.AfterFunc(waits.random(max(c.failures, 1)), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if c.reconnect == timer && slices.Contains(c.address.conns, c) {
			c.reconnect = nil
			c.sub.Connect()
		}
	})
	c.reconnect = timer
}

// connectNow starts the attempts that connectLater has delayed, for a unary call that waits. A proxy can close a connection
// after a number of calls (nginx: 1,000), and a busy caller would wait each time. Watches do not start the attempts: all of
// them lost their streams at the same moment. The lock is held.
func (b *connections) connectNow() {
	for c := range b.all {
		if c.reconnect != nil && c.failures == 0 {
			c.reconnect.Stop()
			c.reconnect = nil
			c.sub.Connect()
		}
	}
}

// ended handles the end of a call on a connection with this load. If the connection was lost before it was known that it had
// answered the call, its loss was no failure. The lock is held.
func (b *connections) ended(c *connection, of *load, info balancer.DoneInfo) {
	of.calls--
	if of.calls == 0 && of == c.load {
		b.retireLater(c)
	}
	forgiven := false
	if info.BytesReceived {
		of.answered = true
		if of == c.last && c.failures > 0 {
			c.failures, forgiven = 0, true
		}
	}
	if b.starved || forgiven {
		b.update()
	}
}
