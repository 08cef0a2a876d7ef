// Package clienttest is a verification-status to test against: a real gRPC server on loopback that
// keeps what the test sets, pushes it into open streams, and fails when it is told to. A program under
// test uses the real client, with its connections, resuming and errors.
//
//	func TestGreetsTheVerified(t *testing.T) {
//		server := clienttest.New(t)
//		server.Set(&verificationv1.Verification{
//			SessionId: "vs_1", Status: verificationv1.Status_STATUS_VERIFIED,
//		})
//		greet(server.Client(), "vs_1")
//	}
//
// It keeps the contract's promises: revisions from 1 without gaps, resume tokens, reasons and details of
// errors, retries and replacements as with the service's default settings, lists. The service's own tests
// send the same requests to both and compare the answers. The package refuses to know Stripe and the rules
// by which events become a status: that is for the test to say.
package clienttest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Server is one verification-status, at one or more addresses. Its methods are safe for concurrent
// use; a stream sees each change at once.
type Server struct {
	// Replica is the first address.
	*Replica

	options []grpc.ServerOption
	state   state

	mu       sync.Mutex
	replicas []*Replica
	clients  []*client.Client
}

// New starts a Server that is closed when the test ends. The options are for the gRPC server, such as
// credentials and interceptors.
func New(tb testing.TB, options ...grpc.ServerOption) *Server {
	tb.Helper()
	s, err := Start(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start is New for where there is no test, such as examples. Close the Server in the end.
func Start(options ...grpc.ServerOption) (*Server, error) {
	s := &Server{options: options, state: newState()}
	first, err := s.Listen("127.0.0.1:0")
	s.Replica = first
	return s, err
}

// Listen serves the same sessions at another address, such as "127.0.0.2:0", as another replica of the
// real service would.
func (s *Server) Listen(address string) (*Replica, error) {
	r := &Replica{server: s, address: address}
	if err := r.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, r)
	return r, nil
}

// Client connects to all addresses that are served by now, in plain text, and waits milliseconds where
// it would wait seconds. It is closed with the Server. Options that contradict each other panic.
func (s *Server) Client(options ...client.Option) *client.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	addresses := manual.NewBuilderWithScheme("clienttest")
	var all resolver.State
	for _, r := range s.replicas {
		all.Addresses = append(all.Addresses, resolver.Address{Addr: r.Target()})
	}
	addresses.InitialState(all)
	quick := []client.Option{
		client.WithPlaintext(),
		client.WithBackoff(2*time.Millisecond, 50*time.Millisecond),
		client.WithDialOptions(grpc.WithResolvers(addresses)),
	}
	c, err := client.Dial("clienttest:///"+s.Target(), append(quick, options...)...)
	if err != nil {
		panic(err)
	}
	s.clients = append(s.clients, c)
	return c
}

// Close stops everything and returns when nothing runs any more.
func (s *Server) Close() {
	s.mu.Lock()
	replicas, clients := s.replicas, s.clients
	s.replicas, s.clients = nil, nil
	s.mu.Unlock()
	for _, c := range clients {
		_ = c.Close()
	}
	for _, r := range replicas {
		r.Stop()
	}
}

// Replica is one address of a Server. Its methods are safe for concurrent use.
type Replica struct {
	server *Server

	mu      sync.Mutex
	address string
	grpc    *grpc.Server // nil: stopped
	health  *health.Server
	served  chan struct{}
}

// Target is the address, as host:port.
func (r *Replica) Target() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.address
}

// Start serves at the address again after Stop. While it serves, it does nothing.
func (r *Replica) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.grpc != nil {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", r.address)
	if err != nil {
		return fmt.Errorf("clienttest: %w", err)
	}
	r.address = listener.Addr().String()
	r.grpc = grpc.NewServer(append(r.server.options,
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 4 * time.Second, PermitWithoutStream: true}))...)
	r.health = health.NewServer()
	healthpb.RegisterHealthServer(r.grpc, r.health)
	verificationv1.RegisterVerificationServiceServer(r.grpc, &service{state: &r.server.state})
	r.setReady(true)
	r.served = make(chan struct{})
	go func(server *grpc.Server, served chan struct{}) {
		defer close(served)
		_ = server.Serve(listener) // only of a listener that was closed
	}(r.grpc, r.served)
	return nil
}

// Stop cuts all connections and closes the address, as a crash does.
func (r *Replica) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.grpc == nil {
		return
	}
	r.grpc.Stop()
	<-r.served
	r.grpc = nil
}

// SetReady says what the health service reports. Clients send no new calls to an address that is not
// ready; open streams stay.
func (r *Replica) SetReady(ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setReady(ready)
}

func (r *Replica) setReady(ready bool) {
	serving := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		serving = healthpb.HealthCheckResponse_SERVING
	}
	r.health.SetServingStatus(verificationv1.VerificationService_ServiceDesc.ServiceName, serving)
}
