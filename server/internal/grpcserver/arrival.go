package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
)

// requestTimeout is how long a request may take to arrive after its headers, as an HTTP server's read
// timeout: without it a client may open calls, send half of a request and wait for ever.
const requestTimeout = 10 * time.Second

// shortDeadline is a caller's deadline that bounds that wait well enough: gRPC ends the call then. Most
// callers have one, and are spared a timer.
const shortDeadline = 30 * time.Second

// arrival waits for a request.
type arrival struct {
	late   *time.Timer // ends the stream
	unwait func() bool // undoes the stopping of late at the stream's end
}

type arrivalKey struct{}

// expectRequest begins the time that a request may take to arrive. It is the tap: gRPC calls it for
// each stream when its headers are there.
func expectRequest(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= shortDeadline {
		return ctx, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(requestTimeout, cancel)
	// A stream that is reset before must not be kept in memory until then.
	unwait := context.AfterFunc(ctx, func() { late.Stop() })
	return context.WithValue(ctx, arrivalKey{}, arrival{late, unwait}), nil
}

// arrived ends that time.
func arrived(ctx context.Context) {
	if a, ok := ctx.Value(arrivalKey{}).(arrival); ok {
		a.late.Stop()
		a.unwait()
	}
}

// arrivedUnary: gRPC calls the interceptors of a unary call once its request is there.
func arrivedUnary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	arrived(ctx)
	return handler(ctx, request)
}

// arrivedStream: a stream's handler asks for the request itself.
func arrivedStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, arrivingStream{stream})
}

type arrivingStream struct{ grpc.ServerStream }

func (s arrivingStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	arrived(s.Context())
	return err
}
