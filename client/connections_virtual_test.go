package client

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// fakeConn is gRPC's side of the balancer. The test sets the states of its connections.
type fakeConn struct {
	balancer.ClientConn
	t     *testing.T
	subs  []*fakeSub
	state balancer.State
}

type fakeSub struct {
	balancer.SubConn
	listener func(balancer.SubConnState)
	connects int
	last     time.Time // of the connects
	closed   bool
}

func (f *fakeConn) NewSubConn(_ []resolver.Address, options balancer.NewSubConnOptions) (balancer.SubConn, error) {
	sub := &fakeSub{listener: options.StateListener}
	f.subs = append(f.subs, sub)
	return sub, nil
}
func (f *fakeConn) UpdateState(s balancer.State)          { f.state = s }
func (f *fakeConn) ResolveNow(resolver.ResolveNowOptions) {}
func (s *fakeSub) Connect()                               { s.connects, s.last = s.connects+1, time.Now() }
func (s *fakeSub) Shutdown()                              { s.closed = true }
func (s *fakeSub) becomes(state connectivity.State) {
	s.listener(balancer.SubConnState{ConnectivityState: state})
}

// newFake returns a balancer with one address, or with the given ones. The announced stream limit is so small that no health
// watch begins and each connection has room for one call.
func newFake(t *testing.T, addresses ...string) (*fakeConn, *connections) {
	f := &fakeConn{t: t}
	if len(addresses) == 0 {
		addresses = []string{"one"}
	}
	var endpoints []resolver.Endpoint
	for _, address := range addresses {
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}})
	}
	b := policy{}.Build(f, balancer.BuildOptions{}).(*connections)
	if err := b.UpdateClientConnState(balancer.ClientConnState{
		ResolverState:  resolver.State{Endpoints: endpoints},
		BalancerConfig: policyConfig{ReconnectWithin: time.Second, ReconnectMax: 3 * time.Second},
	}); err != nil {
		t.Fatal(err)
	}
	return f, b
}

func (f *fakeConn) ready(b *connections, n int) {
	for c := range b.all {
		if c.sub == f.subs[n] {
			c.streams.known.Store(1)
		}
	}
	f.subs[n].becomes(connectivity.Ready)
}

// says sets the health of connection n.
func (f *fakeConn) says(b *connections, n int, h health) {
	for c := range b.all {
		if c.sub == f.subs[n] {
			c.health = h
		}
	}
}

// pick begins a watch. Done of the result ends it.
func (f *fakeConn) pick() (balancer.PickResult, error) {
	return f.state.Picker.Pick(balancer.PickInfo{FullMethodName: verificationv1.VerificationService_WatchStatus_FullMethodName, Ctx: f.t.Context()})
}

func (f *fakeConn) mustPick(n int) (end func()) {
	f.t.Helper()
	result, err := f.pick()
	if err != nil || result.SubConn != f.subs[n] {
		f.t.Fatalf("picked %v, %v; want connection %d", result.SubConn, err, n)
	}
	return func() { result.Done(balancer.DoneInfo{}) }
}

func TestFurtherConnectionsAreClosedWhenTheyHadNoCallForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFake(t)
		defer b.Close()
		f.ready(b, 0)
		endFirst := f.mustPick(0)
		if _, err := f.pick(); err != balancer.ErrNoSubConnAvailable || len(f.subs) != 2 {
			t.Fatalf("beyond the limit: %v, %d connections; want a wait for the second", err, len(f.subs))
		}
		if _, err := f.pick(); err != balancer.ErrNoSubConnAvailable || len(f.subs) != 2 {
			t.Fatalf("while one is on the way: %v, %d connections; want no third", err, len(f.subs))
		}
		f.ready(b, 1)
		endSecond := f.mustPick(1)
		endSecond()
		time.Sleep(linger - time.Second)
		endSecond = f.mustPick(1) // in time
		time.Sleep(time.Hour)
		if f.subs[1].closed {
			t.Fatal("a connection with a watch was closed")
		}
		endSecond()
		time.Sleep(linger + time.Second)
		synctest.Wait()
		if !f.subs[1].closed || f.subs[0].closed {
			t.Errorf("closed: the first %v, the second %v; want the second alone", f.subs[0].closed, f.subs[1].closed)
		}
		endFirst()
		time.Sleep(time.Hour)
		synctest.Wait()
		if f.subs[0].closed {
			t.Error("the only connection was closed")
		}
	})
}

// TestAFurtherConnectionWithoutAnyCallIsClosed: the call that needed it took another connection or ended.
func TestAFurtherConnectionWithoutAnyCallIsClosed(t *testing.T) {
	for name, reach := range map[string]func(*fakeConn, *connections){
		"ready":   func(f *fakeConn, b *connections) { f.ready(b, 1) },
		"failing": func(f *fakeConn, _ *connections) { f.subs[1].becomes(connectivity.TransientFailure) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := newFake(t)
				defer b.Close()
				f.ready(b, 0)
				end := f.mustPick(0)
				_, _ = f.pick() // opens a second one
				reach(f, b)
				end()
				time.Sleep(linger + time.Second)
				synctest.Wait()
				if f.subs[0].closed == f.subs[1].closed {
					t.Fatalf("closed: the first %v, the second %v; want one of them", f.subs[0].closed, f.subs[1].closed)
				}
				if name == "failing" && !f.subs[1].closed {
					t.Error("the usable connection was closed")
				}
				attempts := f.subs[1].connects
				f.subs[1].becomes(connectivity.Idle)
				if f.subs[1].closed && f.subs[1].connects != attempts {
					t.Error("a closed connection was tried again")
				}
			})
		})
	}
}

// TestAFailingConnectionIsTriedWhileCallsNeedIt: its backoff continues, and calls fail with its error.
func TestAFailingConnectionIsTriedWhileCallsNeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFake(t)
		defer b.Close()
		f.ready(b, 0)
		f.mustPick(0)
		_, _ = f.pick() // opens a second one
		f.subs[1].becomes(connectivity.TransientFailure)
		for range 10 {
			time.Sleep(linger / 2)
			if _, err := f.pick(); err == nil || err == balancer.ErrNoSubConnAvailable {
				t.Fatalf("the second connection fails: %v; want the failure", err)
			}
		}
		b.mu.Lock()
		closed := f.subs[1].closed
		b.mu.Unlock()
		if closed {
			t.Error("the second connection was closed while calls needed it")
		}
		time.Sleep(2*linger + time.Second)
		synctest.Wait()
		if !f.subs[1].closed {
			t.Error("the second connection was not closed after the last need")
		}
	})
}

// TestALostConnectionBeginsWithoutCalls: streams of a connection that got a GOAWAY end later. They take no room on the
// connection that replaces it.
func TestALostConnectionBeginsWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFake(t)
		defer b.Close()
		f.ready(b, 0)
		endOld := f.mustPick(0)
		time.Sleep(provenAfter)
		f.subs[0].becomes(connectivity.Idle)
		time.Sleep(time.Second)
		synctest.Wait()
		if f.subs[0].connects != 2 || f.state.ConnectivityState != connectivity.Connecting {
			t.Fatalf("after a loss: %d attempts to connect, state %v", f.subs[0].connects, f.state.ConnectivityState)
		}
		f.ready(b, 0)
		endNew := f.mustPick(0)
		endOld()
		if _, err := f.pick(); err != balancer.ErrNoSubConnAvailable {
			t.Errorf("the end of an old stream made room: %v", err)
		}
		endNew()
		f.mustPick(0)()
	})
}

// TestCallsGetTheReasonForNoConnection: calls fail with the last failure until a connection is ready.
func TestCallsGetTheReasonForNoConnection(t *testing.T) {
	f, b := newFake(t)
	defer b.Close()
	if _, err := f.pick(); err != balancer.ErrNoSubConnAvailable {
		t.Errorf("at first: %v; want a wait", err)
	}
	for _, state := range []connectivity.State{connectivity.TransientFailure, connectivity.Idle, connectivity.Connecting} {
		f.subs[0].becomes(state)
		if _, err := f.pick(); err == nil || err == balancer.ErrNoSubConnAvailable || f.state.ConnectivityState != connectivity.TransientFailure {
			t.Errorf("%v: %v, state %v; want the failure", state, err, f.state.ConnectivityState)
		}
	}
	f.ready(b, 0)
	end := f.mustPick(0)
	defer end()
	_, _ = f.pick() // opens a second one
	f.subs[1].becomes(connectivity.TransientFailure)
	if _, err := f.pick(); err == nil || err == balancer.ErrNoSubConnAvailable || len(f.subs) != 2 {
		t.Errorf("a further connection that cannot be opened: %v, %d connections; want the failure", err, len(f.subs))
	}
}

// TestAFurtherConnectionOfPoorerHealthIsUsed: behind a proxy each connection has the health of some replica, and a server can
// refuse further health watches. Calls that the first connection has no room for are served, and no third connection is
// opened for them.
func TestAFurtherConnectionOfPoorerHealthIsUsed(t *testing.T) {
	f, b := newFake(t)
	defer b.Close()
	f.ready(b, 0)
	end := f.mustPick(0)
	_, _ = f.pick() // opens a second one
	f.ready(b, 1)
	healths := []health{healthServing, healthNotServing}
	for c := range b.all {
		c.health, healths = healths[0], healths[1:]
	}
	f.mustPick(1)()
	end()
	f.mustPick(0)() // the healthier first
	if len(f.subs) != 2 {
		t.Errorf("%d connections; want 2", len(f.subs))
	}
}

// TestAFullAddressThatCannotGrowLeavesCallsToTheNext: a further connection to the ready address fails. Calls then go
// to the address that is not ready and has room.
func TestAFullAddressThatCannotGrowLeavesCallsToTheNext(t *testing.T) {
	f, b := newFake(t, "one", "two")
	defer b.Close()
	f.ready(b, 0)
	f.ready(b, 1)
	f.says(b, 0, healthServing)
	f.says(b, 1, healthNotServing)
	f.mustPick(0)
	if _, err := f.pick(); err != balancer.ErrNoSubConnAvailable || len(f.subs) != 3 {
		t.Fatalf("the ready address is full: %v, %d connections; want a wait for the third", err, len(f.subs))
	}
	f.subs[2].becomes(connectivity.TransientFailure)
	f.mustPick(1)
	// Now the other address is full too, and gets a further connection.
	if _, err := f.pick(); err != balancer.ErrNoSubConnAvailable || len(f.subs) != 4 {
		t.Fatalf("both addresses are full: %v, %d connections; want a wait for the fourth", err, len(f.subs))
	}
	f.subs[3].becomes(connectivity.TransientFailure)
	if _, err := f.pick(); err == nil || err == balancer.ErrNoSubConnAvailable {
		t.Errorf("no address has room or can grow: %v; want the failure", err)
	}
}

// TestAServingConnectionWithRoomComesFirst: an address has a full connection that is ready and another one with room
// that is not. Calls go to the ready connection of the other address.
func TestAServingConnectionWithRoomComesFirst(t *testing.T) {
	f, b := newFake(t, "one", "two")
	defer b.Close()
	f.ready(b, 0)
	f.ready(b, 1)
	f.says(b, 0, healthServing)
	f.says(b, 1, healthNotServing)
	f.mustPick(0)
	_, _ = f.pick() // opens a second connection to the first address
	f.ready(b, 2)
	f.says(b, 2, healthNotServing)
	f.says(b, 1, healthServing)
	for range 4 { // wherever the round robin stands
		f.mustPick(1)()
	}
}

// TestLostConnectionsAreNotTriedAgainInStep: many clients lose one server at the same moment. A connection that is closed
// before its attempt is not opened again.
func TestLostConnectionsAreNotTriedAgainInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 1000
		var fakes [clients]*fakeConn
		for i := range fakes {
			f, b := newFake(t)
			defer b.Close()
			f.ready(b, 0)
			f.subs[0].becomes(connectivity.Idle)
			fakes[i] = f
		}
		closed, b := newFake(t)
		closed.ready(b, 0)
		closed.subs[0].becomes(connectivity.Idle)
		b.Close()
		lost := time.Now()
		time.Sleep(time.Second)
		synctest.Wait()
		early := 0
		for i, f := range fakes {
			if n := f.subs[0].connects; n != 2 {
				t.Fatalf("client %d: %d attempts to connect; want 2", i, n)
			}
			if f.subs[0].last.Sub(lost) < time.Second/2 {
				early++
			}
		}
		if early < 400 || early > 600 {
			t.Errorf("%d of %d connections were tried in the first half of the time; want some 500", early, clients)
		}
		if n := closed.subs[0].connects; n != 1 {
			t.Errorf("a closed connection was tried again: %d attempts; want 1", n)
		}
	})
}

// TestAUnaryCallConnectsAtOnce: a proxy ended the only connection after a number of calls. A watch waits for the random
// moment, a unary call does not, and the attempt is not repeated.
func TestAUnaryCallConnectsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFake(t)
		defer b.Close()
		f.ready(b, 0)
		f.answerUnary()
		f.subs[0].becomes(connectivity.Idle)
		_, _ = f.pick()
		if n := f.subs[0].connects; n != 1 {
			t.Fatalf("after a watch: %d attempts; want the 1 of the beginning", n)
		}
		if _, err := f.pickUnary(); err != balancer.ErrNoSubConnAvailable || f.subs[0].connects != 2 {
			t.Fatalf("a unary call: %v, %d attempts; want a wait and 2", err, f.subs[0].connects)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := f.subs[0].connects; n != 2 {
			t.Errorf("%d attempts; want 2", n)
		}
	})
}

// TestTheBackoffReachesThePolicy: through the service configuration.
func TestTheBackoffReachesThePolicy(t *testing.T) {
	var service struct{ LoadBalancingConfig []map[string]json.RawMessage }
	if err := json.Unmarshal(fmt.Appendf(nil, serviceConfig, balancingPolicy, defaultBackoff.base, defaultBackoff.max), &service); err != nil {
		t.Fatal(err)
	}
	config, err := policy{}.ParseConfig(service.LoadBalancingConfig[0][balancingPolicy])
	if want := (policyConfig{ReconnectWithin: defaultBackoff.base, ReconnectMax: defaultBackoff.max}); err != nil || config != want {
		t.Errorf("ParseConfig: %v, %v; want %v", config, err, want)
	}
	if config, err := (policy{}).ParseConfig([]byte(`{"reconnectWithin": -1}`)); err == nil {
		t.Errorf("ParseConfig of a negative time: %v; want an error", config)
	}
}
