package client_test

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// connectionsSeen is a server option that collects the addresses from which watches come.
func connectionsSeen() (count func() int, option grpc.ServerOption) {
	var seen sync.Map
	count = func() (n int) {
		seen.Range(func(any, any) bool { n++; return true })
		return n
	}
	return count, grpc.ChainStreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if from, ok := peer.FromContext(stream.Context()); ok {
			seen.Store(from.Addr.String(), true)
		}
		return handler(server, stream)
	})
}

// watchMany opens n watches of vs_1 and returns when each has had its first update. They end with the test.
func watchMany(t *testing.T, c *client.Client, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var watches sync.WaitGroup
	t.Cleanup(func() { cancel(); watches.Wait() })
	var served atomic.Int32
	each := make(chan struct{}, n)
	for range n {
		watches.Go(func() {
			first := true
			for _, err := range c.Watch(ctx, client.Session("vs_1")) {
				if err == nil && first {
					first = false
					served.Add(1)
					each <- struct{}{}
				}
			}
		})
	}
	deadline := time.After(soon)
	for range n {
		select {
		case <-each:
		case <-deadline:
			t.Fatalf("%d of %d watches have an update after %v", served.Load(), n, soon)
		}
	}
}

// TestMoreWatchesThanAConnectionCarries: the server announces a stream limit, as nginx (128) and HAProxy (100) do. Further
// watches get further connections, and unary calls are answered beside them.
func TestMoreWatchesThanAConnectionCarries(t *testing.T) {
	id := newIdentity(t)
	for name, test := range map[string]struct {
		limit        uint32
		watches      int
		fewest, most int // connections
		transport    client.Option
		server       grpc.ServerOption
	}{
		"two":           {2, 6, 6, 6, client.WithPlaintext(), grpc.EmptyServerOption{}},
		"ten":           {10, 40, 5, 5, client.WithPlaintext(), grpc.EmptyServerOption{}},
		"ten, by TLS":   {10, 40, 5, 5, client.WithTLS(&tls.Config{RootCAs: id.pool}), grpc.Creds(credentials.NewServerTLSFromCert(&id.pair))},
		"as HAProxy":    {100, 300, 4, 4, client.WithPlaintext(), grpc.EmptyServerOption{}},
		"as the server": {10_000, 300, 1, 1, client.WithPlaintext(), grpc.EmptyServerOption{}},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			count, option := connectionsSeen()
			server := clienttest.New(t, grpc.MaxConcurrentStreams(test.limit), option, test.server)
			server.Set(session("vs_1", verified))
			c, err := client.Dial(server.Target(), test.transport)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			watchMany(t, c, test.watches)
			if got := count(); got < test.fewest || got > test.most {
				t.Errorf("%d watches over %d connections; want %d to %d", test.watches, got, test.fewest, test.most)
			}
			var calls sync.WaitGroup
			for range 20 { // at once: more than the room that is left
				calls.Go(func() {
					if _, err := c.Status(within(t), client.Session("vs_1")); err != nil {
						t.Errorf("a call beside the watches: %v", err)
					}
				})
			}
			calls.Wait()
		})
	}
}
