package clienttest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

// NewVirtual is New with connections in memory, for a bubble of testing/synctest: heartbeats, backoffs and leases pass in the
// bubble's time. Make the server inside the bubble. Only clients of [Server.Client] reach it. The address for Listen can be any
// text that names no other replica.
func NewVirtual(tb testing.TB, options ...grpc.ServerOption) *Server {
	tb.Helper()
	s := &Server{options: options, state: newState(), memory: &memory{listeners: make(map[string]*bufconn.Listener)}}
	s.state.virtual = true
	first, err := s.Listen("first")
	if err != nil {
		tb.Fatal(err)
	}
	s.Replica = first
	tb.Cleanup(s.Close)
	return s
}

// memory is a network in memory.
type memory struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
}

// memoryBuffer is the size of the buffer of a connection, in bytes.
const memoryBuffer = 1 << 16

func (m *memory) listen(address string) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners[address] = bufconn.Listen(memoryBuffer)
	return m.listeners[address]
}

func (m *memory) dial(ctx context.Context, address string) (net.Conn, error) {
	m.mu.Lock()
	listener := m.listeners[address]
	m.mu.Unlock()
	if listener == nil {
		return nil, fmt.Errorf("clienttest: nothing listens at %q", address)
	}
	return listener.DialContext(ctx)
}

// listen listens in memory or on the network.
func (s *Server) listen(address string) (net.Listener, string, error) {
	if s.memory != nil {
		return s.memory.listen(address), address, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("clienttest: %w", err)
	}
	return listener, listener.Addr().String(), nil
}
