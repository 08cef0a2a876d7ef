package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// balancingPolicy is the name of the balancer in the service configuration.
const balancingPolicy = "verification_status"

func init() { balancer.Register(policy{}) }

type policy struct{}

func (policy) Name() string { return balancingPolicy }

func (policy) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	b := &connections{cc: cc, addresses: resolver.NewAddressMapV2[*address](), next: rand.IntN(1 << 16)}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// policyConfig is the configuration of the policy in the service configuration.
type policyConfig struct {
	serviceconfig.LoadBalancingConfig `json:"-"`

	// ReconnectWithin, in nanoseconds, is the longest random wait before a lost connection is opened again. gRPC itself
	// would connect at once, and so would all clients that lost the server at the same moment.
	ReconnectWithin time.Duration `json:"reconnectWithin"`

	// ReconnectMax, in nanoseconds, is the longest random wait after several connections in a row that were lost at once. It
	// is at least ReconnectWithin.
	ReconnectMax time.Duration `json:"reconnectMax"`
}

func (policy) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	var config policyConfig
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", balancingPolicy, err)
	}
	if config.ReconnectWithin < 0 {
		return nil, fmt.Errorf("the configuration of %s: reconnectWithin is negative", balancingPolicy)
	}
	return config, nil
}

// connections is gRPC's balancer of a Client: round robin over the addresses, with as many connections to each address as its
// calls need. gRPC's own balancers have one connection for each address. A call beyond the number of streams that the server
// or proxy allows on it (nginx 128, HAProxy 100) would wait in silence.
//
// A connection whose health service answers NOT_SERVING, or does not answer, is used only if there is no better one: see
// [health].
type connections struct {
	cc   balancer.ClientConn
	ctx  context.Context // ends with the balancer
	stop context.CancelFunc

	mu        sync.Mutex
	addresses *resolver.AddressMapV2[*address]
	order     []*address
	config    policyConfig
	next      int   // where the round robin continues
	starved   bool  // a call found no room and waits
	failure   error // the last one of the resolver or of a connection that could not be opened
}

// address is one address of the service. It has at least one connection.
type address struct {
	resolver.Address
	conns  []*connection
	needed time.Time // when all connections were last full at a call
}

// connection is one connection. If it is lost, it is opened again.
type connection struct {
	address   *address
	sub       balancer.SubConn
	reported  connectivity.State // by gRPC
	state     connectivity.State // TransientFailure stays until Ready, also during further attempts
	health    health
	endHealth context.CancelFunc
	streams   *streamLimit
	load      *load
	last      *load       // of the connection that this one replaces, or nil
	failures  int         // connections in a row that were lost at once
	reconnect *time.Timer // of connectLater, or nil
	retiring  *time.Timer // of retireLater, or nil
}

// UpdateClientConnState sets the addresses that the name resolves to.
func (b *connections) UpdateClientConnState(s balancer.ClientConnState) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if config, ok := s.BalancerConfig.(policyConfig); ok {
		b.config = config
	}
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

// ResolverError has an effect only while there is no address: earlier addresses can still be right.
func (b *connections) ResolverError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		b.failure = fmt.Errorf("the name cannot be resolved: %w", err)
		b.update()
	}
}

// UpdateSubConnState is never called: each SubConn has a listener.
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

// open starts another connection to an address. The lock is held.
func (b *connections) open(a *address) {
	c := &connection{address: a, state: connectivity.Connecting, endHealth: func() {}, streams: new(streamLimit), load: new(load)}
	target := a.Address
	target.Attributes = target.Attributes.WithValue(streamLimitKey{}, c.streams)
	//nolint:staticcheck // one address is what the future version supports
	sub, err := b.cc.NewSubConn([]resolver.Address{target}, balancer.NewSubConnOptions{
		StateListener: func(s balancer.SubConnState) { b.changed(c, s) },
	})
	if err != nil { // only while gRPC closes
		b.failure = err
		return
	}
	c.sub = sub
	a.conns = append(a.conns, c)
	b.retireLater(c)
	sub.Connect()
}

func (a *address) close() {
	for _, c := range a.conns {
		c.close()
	}
	a.conns = nil
}

// close closes the connection for new calls. Calls under way can end.
func (c *connection) close() {
	c.endHealth()
	if c.reconnect != nil {
		c.reconnect.Stop()
	}
	if c.retiring != nil {
		c.retiring.Stop()
	}
	c.sub.Shutdown()
}

// changed handles a new state of a connection.
func (b *connections) changed(c *connection, s balancer.SubConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(c.address.conns, c) {
		return // it was closed meanwhile
	}
	lost := c.reported == connectivity.Ready || c.reported == connectivity.Connecting && s.ConnectivityState == connectivity.Idle
	c.reported = s.ConnectivityState
	if lost {
		b.lost(c)
	}
	switch s.ConnectivityState {
	case connectivity.Ready:
		c.state, c.load.since = connectivity.Ready, time.Now()
		b.watchHealth(c)
	case connectivity.TransientFailure:
		c.state, b.failure = connectivity.TransientFailure, s.ConnectionError
		b.cc.ResolveNow(resolver.ResolveNowOptions{})
	case connectivity.Idle:
		if lost {
			b.connectLater(c)
		} else {
			c.sub.Connect() // gRPC's wait after a failure has ended
		}
	}
	b.update()
}

// update reports the state of all connections to gRPC and lets waiting calls pick again. The lock is held.
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
