package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestReadyIsAnAnswer of the service, not of its connection or of a proxy. The call names no session.
func TestReadyIsAnAnswer(t *testing.T) {
	var calls, named atomic.Int32
	var dead, proxy atomic.Bool
	backend := clienttest.New(t, grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		calls.Add(1)
		if r, ok := request.(*verificationv1.GetStatusRequest); !ok || r.GetSubject() != nil {
			named.Add(1)
		}
		switch {
		case dead.Load():
			<-ctx.Done()
			return nil, ctx.Err()
		case proxy.Load():
			return nil, status.Error(codes.InvalidArgument, "a proxy's")
		}
		return next(ctx, request)
	}))
	c := backend.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := range 3 {
		if err := c.Ready(ctx); err != nil {
			t.Fatalf("question %d: %v", n, err)
		}
	}
	if calls.Load() != 3 || named.Load() != 0 {
		t.Errorf("%d calls, %d of another kind; want 3 and 0", calls.Load(), named.Load())
	}
	proxy.Store(true)
	if err := c.Ready(ctx); err == nil {
		t.Error("a proxy's refusal is an answer of the service")
	}
	dead.Store(true)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.Ready(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind a connection that is alone: %v; want DEADLINE_EXCEEDED", err)
	}
	backend.Stop()
	short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.Ready(short); !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the service: %v; want UNAVAILABLE", err)
	}
}
