package grpcserver

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
)

// gate is an Access that knows one caller, and refuses every call.
type gate struct {
	identify func(context.Context) context.Context
}

type nameKey struct{}

func (gate) Credentials() credentials.TransportCredentials  { return nil }
func (g gate) Identify(ctx context.Context) context.Context { return g.identify(ctx) }
func (gate) Principal(ctx context.Context) string {
	name, _ := ctx.Value(nameKey{}).(string)
	return name
}
func (gate) Holder(ctx context.Context) shares.Holder { return shares.HolderOf(ctx) }
func (gate) Unary(context.Context, string, any) error {
	return status.Error(codes.PermissionDenied, "no")
}

func (gate) Stream(context.Context, string, grpc.ServerStream) (grpc.ServerStream, func(), error) {
	return nil, nil, status.Error(codes.PermissionDenied, "no")
}

// welcome is a gate that admits every call.
type welcome struct{ gate }

func (welcome) Unary(context.Context, string, any) error { return nil }

func (welcome) Stream(ctx context.Context, _ string, stream grpc.ServerStream) (grpc.ServerStream, func(), error) {
	return contextStream{stream, ctx}, func() {}, nil
}

// callerNamed adds a caller's name to a context.
func callerNamed(name string) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context { return context.WithValue(ctx, nameKey{}, name) }
}

// never is a service that must not be reached.
func never(t *testing.T) *fake {
	return &fake{
		get: func(context.Context, *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			t.Error("a refused call came to its handler")
			return nil, nil
		},
		watch: func(grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			t.Error("a refused stream came to its handler")
			return nil
		},
	}
}

// TestTheLogNamesTheRefusedCaller: the line of a refused call has the caller's name.
func TestTheLogNamesTheRefusedCaller(t *testing.T) {
	s := startOnPipe(t, Config{Access: gate{callerNamed("token:web")}}, never(t))
	if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
	if err := watchResult(t, s); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
	eventually(t, "both lines", func() bool { return strings.Count(s.log.String(), "principal=token:web") == 2 })
}

// TestAPanicInAccessIsRecovered: a panic in Identify ends its call only.
func TestAPanicInAccessIsRecovered(t *testing.T) {
	s := startOnPipe(t, Config{Access: gate{func(context.Context) context.Context { panic("planted") }}}, never(t))
	_, err := s.client.GetStatus(patient(t), sessionRequest("vs_1"))
	wantInternal(t, err)
	wantInternal(t, watchResult(t, s))
}
