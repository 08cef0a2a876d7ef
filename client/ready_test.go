package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// TestReadyCostsAConnectedServiceNothing, and says why a service that is away cannot be called.
func TestReadyCostsAConnectedServiceNothing(t *testing.T) {
	var calls atomic.Int32
	backend := clienttest.New(t, grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		calls.Add(1)
		return next(ctx, request)
	}))
	c := backend.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := range 10 {
		if err := c.Ready(ctx); err != nil {
			t.Fatalf("question %d: %v", n, err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls; want 1, which connects", calls.Load())
	}
	backend.Stop()
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	err := c.Ready(short)
	for err == nil && short.Err() == nil { // the end of the connection is on its way
		err = c.Ready(short)
	}
	if !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the service: %v; want UNAVAILABLE", err)
	}
}
