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

// linger is the time without a call after which a further connection is closed.
const linger = time.Minute

// picker is a balancer.Picker. gRPC needs a new one for each update.
type picker struct{ *connections }

// Pick returns a connection with room for the call, of the best health over all addresses. If all connections of that health
// are full, the call waits for a further connection to one of their addresses. Pick tries the next health only if no further
// connection can be opened.
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

// withRoom returns a connection of this health with room, from the next address that has one, or nil. The lock is held.
func (b *connections) withRoom(h health, isStream bool) *connection {
	for range b.order {
		b.next = (b.next + 1) % len(b.order)
		if c := b.order[b.next].withRoom(isStream); c != nil && c.health == h {
			return c
		}
	}
	return nil
}

// health returns the best health of the address's connections. Behind a proxy, each can lead to another replica.
func (a *address) health() health {
	best := healthPending
	for _, c := range a.conns {
		if c.usable() {
			best = max(best, c.health)
		}
	}
	return best
}

// withRoom returns the healthiest connection with room for a call, or nil if all are full. Of several it returns the first, so
// that those after it become empty.
func (a *address) withRoom(isStream bool) *connection {
	var found *connection
	for _, c := range a.conns {
		if c.usable() && c.load.calls < c.streams.room(isStream) && (found == nil || c.health > found.health) {
			found = c
		}
	}
	return found
}

// noConnection returns why there is no usable connection. The lock is held.
func (b *connections) noConnection() error {
	for c := range b.all {
		if c.state != connectivity.TransientFailure {
			return balancer.ErrNoSubConnAvailable // it is connecting
		}
	}
	return fmt.Errorf("no connection: %w", b.failure)
}

// grow opens a further connection to an address of this health, unless one is connecting already. It returns whether one is
// connecting. Of several full addresses it chooses the one with the fewest connections. It skips an address with a connection
// that failed, which gRPC opens again. The lock is held.
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

// take assigns a call to a connection. The lock is held.
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
	return balancer.PickResult{SubConn: c.sub, Done: func(info balancer.DoneInfo) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended(c, taken, info)
	}}
}

// retireLater closes a connection after it has had no call for a minute (linger), unless it is the only one of its address. A
// connection that is not usable stays while calls need it. A usable one stays if its address has no other usable one. The
// lock is held.
func (b *connections) retireLater(c *connection) {
	if len(c.address.conns) == 1 || c.retiring != nil || b.ctx.Err() != nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(linger, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		i := slices.Index(c.address.conns, c)
		if i < 0 || c.retiring != timer {
			return // it was closed or used meanwhile
		}
		c.retiring = nil
		spare := time.Since(c.address.needed) >= linger
		if c.usable() {
			spare = slices.ContainsFunc(c.address.conns, func(other *connection) bool { return other != c && other.usable() })
		}
		if !spare {
			b.retireLater(c)
			return
		}
		if c.load.calls > 0 || len(c.address.conns) == 1 {
			return
		}
		c.address.conns = slices.Delete(c.address.conns, i, i+1)
		c.close()
		b.update()
	})
	c.retiring = timer
}
