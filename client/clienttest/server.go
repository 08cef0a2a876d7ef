package clienttest

import (
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

// Server is a fake verification-status at one or more addresses. Its methods are safe for concurrent use. Open streams get
// each change at once.
type Server struct {
	// Replica is the first address.
	*Replica

	options []grpc.ServerOption
	state   state
	memory  *memory // nil: the network

	mu       sync.Mutex
	replicas []*Replica
	clients  []*client.Client
}

// New starts a Server that is closed when the test ends. The options go to the gRPC server, such as credentials and
// interceptors.
func New(tb testing.TB, options ...grpc.ServerOption) *Server {
	tb.Helper()
	s, err := Start(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start is New without a test, for examples. Close the Server in the end.
func Start(options ...grpc.ServerOption) (*Server, error) {
	s := &Server{options: options, state: newState()}
	first, err := s.Listen("127.0.0.1:0")
	s.Replica = first
	return s, err
}

// Listen serves the same sessions at another address, such as "127.0.0.2:0", as another replica of the service does.
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

// Client returns a client of all current addresses, in plain text. Its backoff is milliseconds in place of seconds. It is closed
// with the Server. Client panics if options contradict each other.
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
	if s.memory != nil {
		quick = append(quick, client.WithDialOptions(grpc.WithContextDialer(s.memory.dial)))
	}
	c, err := client.Dial("clienttest:///"+s.Target(), append(quick, options...)...)
	if err != nil {
		panic(err)
	}
	s.clients = append(s.clients, c)
	return c
}

// Close stops the replicas, closes the clients, and returns when no goroutine of them is left.
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

// Target returns the address, as host:port.
func (r *Replica) Target() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.address
}

// Start serves at the address again after Stop. If it is served already, Start does nothing.
func (r *Replica) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.grpc != nil {
		return nil
	}
	listener, address, err := r.server.listen(r.address)
	if err != nil {
		return err
	}
	r.address = address
	r.grpc = grpc.NewServer(append(r.server.options,
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 4 * time.Second, PermitWithoutStream: true}))...)
	r.health = health.NewServer()
	healthpb.RegisterHealthServer(r.grpc, r.health)
	verificationv1.RegisterVerificationServiceServer(r.grpc, &service{state: &r.server.state})
	verificationv1.RegisterFeedServiceServer(r.grpc, &feedService{state: &r.server.state})
	verificationv1.RegisterOperatorServiceServer(r.grpc, &operatorService{state: &r.server.state})
	verificationv1.RegisterComparisonServiceServer(r.grpc, &comparisonService{state: &r.server.state})
	r.setReady(true)
	r.served = make(chan struct{})
	go func(server *grpc.Server, served chan struct{}) {
		defer close(served)
		_ = server.Serve(listener) // only the error of a closed listener
	}(r.grpc, r.served)
	return nil
}

// Stop cuts all connections and stops listening, as a crash does.
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

// SetReady sets what the health service reports. Clients send no new calls to an address that is not ready. Open streams
// continue.
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
