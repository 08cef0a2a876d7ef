package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// linger is how long a further connection stays open without a call.
const linger = time.Minute

// picker exists because gRPC wants another one for each update.
type picker struct{ *connections }

// Pick finds a connection for a call: one of the best health, over all addresses, that has room. If all connections
// of that health are full, Pick first waits for a further connection to one of their addresses. It goes on to the
// next health only if no further connection can be had.
func (p picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	b := p.connections
	b.mu.Lock()
	defer b.mu.Unlock()
	isStream := info.FullMethodName == verificationv1.VerificationService_WatchStatus_FullMethodName
	best := healthPending
	for _, a := range b.order {
		best = max(best, a.health())
	}
	if best == healthPending {
		if !isStream {
			b.connectNow()
		}
		return balancer.PickResult{}, b.noConnection()
	}
	for h := best; h > healthPending; h-- {
		if c := b.withRoom(h, isStream); c != nil {
			return b.take(info.Ctx, c), nil
		}
		if b.grow(h, isStream) {
			b.starved = true
			return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
		}
	}
	b.starved = true
	return balancer.PickResult{}, fmt.Errorf("all connections are full, and a further connection cannot be opened: %w", b.failure)
}

// withRoom returns a connection of this health that has room, from the next address that has one; nil if there is
// none. The lock is held.
func (b *connections) withRoom(h health, isStream bool) *connection {
	for range b.order {
		b.next = (b.next + 1) % len(b.order)
		if c := b.order[b.next].withRoom(isStream); c != nil && c.health == h {
			return c
		}
	}
	return nil
}

// health is the best of the address's connections: a proxy can show another replica's on each of them.
func (a *address) health() health {
	best := healthPending
	for _, c := range a.conns {
		if c.usable() {
			best = max(best, c.health)
		}
	}
	return best
}

// withRoom returns the healthiest connection that carries one call more, and of these the first, so that
// those behind it get empty; nil if all are full.
func (a *address) withRoom(isStream bool) *connection {
	var found *connection
	for _, c := range a.conns {
		if c.usable() && c.load.calls < c.streams.room(isStream) && (found == nil || c.health > found.health) {
			found = c
		}
	}
	return found
}

// noConnection says why there is none. The lock is held.
func (b *connections) noConnection() error {
	for c := range b.all {
		if c.state != connectivity.TransientFailure {
			return balancer.ErrNoSubConnAvailable // it is on the way
		}
	}
	return fmt.Errorf("no connection: %w", b.failure)
}

// grow opens a further connection to an address of this health, unless one is on the way already. It returns
// whether a connection is on the way. Of the addresses that are full it chooses the one with the fewest connections.
// It skips an address whose last further connection failed: gRPC retries that one. The lock is held.
func (b *connections) grow(h health, isStream bool) bool {
	var fewest *address
	for _, a := range b.order {
		if a.health() != h || a.withRoom(isStream) != nil {
			continue
		}
		a.needed = time.Now()
		fails := false
		for _, c := range a.conns {
			if !c.usable() && c.state != connectivity.TransientFailure {
				return true
			}
			fails = fails || c.state == connectivity.TransientFailure
		}
		if !fails && (fewest == nil || len(a.conns) < len(fewest.conns)) {
			fewest = a
		}
	}
	if fewest == nil {
		return false
	}
	b.open(fewest)
	return true
}

// take gives a call to a connection. The lock is held.
func (b *connections) take(ctx context.Context, c *connection) balancer.PickResult {
	if w, ok := ctx.Value(waitingKey{}).(*waiting); ok {
		w.connected.Store(true)
	}
	if c.retiring != nil {
		c.retiring.Stop()
		c.retiring = nil
	}
	taken := c.load
	taken.calls++
	return balancer.PickResult{SubConn: c.sub, Done: func(balancer.DoneInfo) {
		b.mu.Lock()
		defer b.mu.Unlock()
		taken.calls--
		if taken.calls == 0 && taken == c.load {
			b.retireLater(c)
		}
		if b.starved {
			b.update()
		}
	}}
}

// retireLater closes a further connection when it has had no call for a while. A connection that is not usable stays
// while calls need it. A usable one stays if its address has no other usable one. The lock is held.
func (b *connections) retireLater(c *connection) {
	if len(c.at.conns) == 1 || c.retiring != nil || b.ctx.Err() != nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(linger, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		i := slices.Index(c.at.conns, c)
		if i < 0 || c.retiring != timer {
			return // closed, or used meanwhile
		}
		c.retiring = nil
		spare := time.Since(c.at.needed) >= linger
		if c.usable() {
			spare = slices.ContainsFunc(c.at.conns, func(other *connection) bool { return other != c && other.usable() })
		}
		if !spare {
			b.retireLater(c)
			return
		}
		if c.load.calls > 0 || len(c.at.conns) == 1 {
			return
		}
		c.at.conns = slices.Delete(c.at.conns, i, i+1)
		c.close()
		b.update()
	})
	c.retiring = timer
}
