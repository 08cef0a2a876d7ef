package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// balancingPolicy is the name by which the service configuration asks for connections.
const balancingPolicy = "verification_status"

func init() { balancer.Register(policy{}) }

type policy struct{}

func (policy) Name() string { return balancingPolicy }

func (policy) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	b := &connections{cc: cc, addresses: resolver.NewAddressMapV2[*address](), next: rand.Int()}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// linger is how long a further connection stays open without a call.
const linger = time.Minute

// connections is gRPC's balancer of a Client: round robin over the addresses, and over as many connections
// to each as its calls need. gRPC itself has one connection for each address; a call beyond the number of
// streams that the other end allows there (nginx 128, HAProxy 100) would wait in silence.
//
// A connection whose health service answers NOT_SERVING, or does not answer, is used only if there is no
// better one: see [health].
type connections struct {
	cc   balancer.ClientConn
	ctx  context.Context // ends with the balancer
	stop context.CancelFunc

	mu        sync.Mutex
	addresses *resolver.AddressMapV2[*address]
	order     []*address
	next      int   // where the round robin continues
	starved   bool  // a call found no room and waits
	failure   error // of the name or of the last connection that could not be opened
}

// address is one address of the service. It has at least one connection.
type address struct {
	resolver.Address
	conns []*connection
}

// connection is one connection, which gRPC opens again if it is lost.
type connection struct {
	at        *address
	sub       balancer.SubConn
	state     connectivity.State // TransientFailure stays until Ready: attempts that follow are not told
	health    health
	endHealth context.CancelFunc
	streams   *streamLimit
	load      *load
	retiring  *time.Timer // nil: it has calls, or is the only one
}

// load counts the calls of one connection until it is lost or told to go away. The streams that end only
// after that count for nothing any more.
type load struct{ calls int }

// UpdateClientConnState takes over the addresses that the name resolves to.
func (b *connections) UpdateClientConnState(s balancer.ClientConnState) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.addresses
	b.addresses, b.order = resolver.NewAddressMapV2[*address](), nil
	for _, endpoint := range s.ResolverState.Endpoints {
		for _, resolved := range endpoint.Addresses {
			if _, twice := b.addresses.Get(resolved); twice {
				continue
			}
			a, known := before.Get(resolved)
			if !known {
				a = &address{Address: resolved}
				b.open(a)
			}
			b.addresses.Set(resolved, a)
			b.order = append(b.order, a)
		}
	}
	for resolved, a := range before.All() {
		if _, still := b.addresses.Get(resolved); !still {
			a.close()
		}
	}
	if len(b.order) == 0 {
		b.failure = errors.New("the name has no address")
		b.update()
		return balancer.ErrBadResolverState
	}
	b.update()
	return nil
}

// ResolverError matters only while there is no address: older ones can still be right.
func (b *connections) ResolverError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		b.failure = fmt.Errorf("the name cannot be resolved: %w", err)
		b.update()
	}
}

// UpdateSubConnState is not called: each SubConn has a listener.
func (b *connections) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle does nothing: no connection stays idle.
func (b *connections) ExitIdle() {}

// Close closes the connections.
func (b *connections) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
	for _, a := range b.order {
		a.close()
	}
	b.addresses, b.order = resolver.NewAddressMapV2[*address](), nil
}

// open begins another connection to an address. The lock is held.
func (b *connections) open(a *address) {
	c := &connection{at: a, state: connectivity.Connecting, endHealth: func() {}, streams: new(streamLimit), load: new(load)}
	target := a.Address
	target.Attributes = target.Attributes.WithValue(streamLimitKey{}, c.streams)
	sub, err := b.cc.NewSubConn([]resolver.Address{target}, balancer.NewSubConnOptions{
		StateListener: func(s balancer.SubConnState) { b.changed(c, s) },
	})
	if err != nil { // only while gRPC closes
		b.failure = err
		return
	}
	c.sub = sub
	a.conns = append(a.conns, c)
	sub.Connect()
}

func (a *address) close() {
	for _, c := range a.conns {
		c.close()
	}
	a.conns = nil
}

// close lets calls that have begun end.
func (c *connection) close() {
	c.endHealth()
	if c.retiring != nil {
		c.retiring.Stop()
	}
	c.sub.Shutdown()
}

// changed takes over a new state of a connection.
func (b *connections) changed(c *connection, s balancer.SubConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(c.at.conns, c) {
		return // closed meanwhile
	}
	if c.state == connectivity.Ready {
		c.endHealth()
		c.load = new(load)
		b.retireLater(c)
	}
	switch s.ConnectivityState {
	case connectivity.Ready:
		c.state = connectivity.Ready
		b.watchHealth(c)
	case connectivity.TransientFailure:
		c.state, b.failure = connectivity.TransientFailure, s.ConnectionError
		b.cc.ResolveNow(resolver.ResolveNowOptions{})
	case connectivity.Idle: // lost, or the pause after a failure is over
		if c.state == connectivity.Ready {
			c.state = connectivity.Connecting
			b.cc.ResolveNow(resolver.ResolveNowOptions{})
		}
		c.sub.Connect()
	}
	b.update()
}

// update tells gRPC the state of all, and lets the calls that wait pick again. The lock is held.
func (b *connections) update() {
	b.starved = false
	state := connectivity.TransientFailure
	for c := range b.all {
		switch {
		case c.usable():
			state = connectivity.Ready
		case c.state != connectivity.TransientFailure && state != connectivity.Ready:
			state = connectivity.Connecting
		}
	}
	b.cc.UpdateState(balancer.State{ConnectivityState: state, Picker: picker{b}})
}

func (b *connections) all(yield func(*connection) bool) {
	for _, a := range b.order {
		for _, c := range a.conns {
			if !yield(c) {
				return
			}
		}
	}
}

func (c *connection) usable() bool { return c.state == connectivity.Ready && c.health != healthPending }

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
