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

// Pick finds a connection for a call.
func (p picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	b := p.connections
	b.mu.Lock()
	defer b.mu.Unlock()
	best := healthPending
	for _, a := range b.order {
		best = max(best, a.health())
	}
	if best == healthPending {
		return balancer.PickResult{}, b.noConnection()
	}
	isStream := info.FullMethodName == verificationv1.VerificationService_WatchStatus_FullMethodName
	for range b.order {
		b.next = (b.next + 1) % len(b.order)
		if a := b.order[b.next]; a.health() == best {
			if c := a.withRoom(isStream); c != nil {
				return b.take(info.Ctx, c), nil
			}
		}
	}
	b.starved = true
	return balancer.PickResult{}, b.grow(best)
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

// grow opens one more connection to the address that has the fewest, unless one is on the way. All connections
// of the addresses that are considered are full. The lock is held.
func (b *connections) grow(best health) error {
	var fewest *address
	for _, a := range b.order {
		if a.health() != best {
			continue
		}
		fails := false
		for _, c := range a.conns {
			if !c.usable() && c.state != connectivity.TransientFailure {
				return balancer.ErrNoSubConnAvailable
			}
			fails = fails || c.state == connectivity.TransientFailure // it is tried again by itself
		}
		if !fails && (fewest == nil || len(a.conns) < len(fewest.conns)) {
			fewest = a
		}
	}
	if fewest == nil {
		return fmt.Errorf("each connection carries its fill of calls, and a further one cannot be opened: %w", b.failure)
	}
	b.open(fewest)
	return balancer.ErrNoSubConnAvailable
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

// retireLater closes a further connection when it has had no call for a while. The lock is held.
func (b *connections) retireLater(c *connection) {
	if len(c.at.conns) == 1 || c.retiring != nil || b.ctx.Err() != nil {
		return
	}
	c.retiring = time.AfterFunc(linger, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		i := slices.Index(c.at.conns, c)
		if i < 0 || c.load.calls > 0 || len(c.at.conns) == 1 {
			return
		}
		c.at.conns = slices.Delete(c.at.conns, i, i+1)
		c.close()
		b.update()
	})
}
