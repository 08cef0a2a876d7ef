package grpcserver

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"example.com/verification-status/server/internal/connlimit"
)

// requestTimeout is how long a request may take to arrive after its headers, as an HTTP server's read
// timeout: without it a client may open calls, send half of a request and wait for ever.
const requestTimeout = 10 * time.Second

// shortDeadline is a caller's deadline that bounds that wait well enough: gRPC ends the call then. Most
// callers have one, and are spared a timer.
const shortDeadline = 30 * time.Second

// maxUnproven is how many calls may wait so long for their requests on connections on which no call was
// let in yet, all together. Who calls is looked at when the request is there, and until then each takes
// 14 KiB, and up to 64 more for what was sent of it: strangers could fill the memory from one
// connection. Further ones get hurriedTimeout, in which whoever sends requests whole has sent them.
const (
	maxUnproven    = 2048
	hurriedTimeout = 100 * time.Millisecond
)

// arrivals waits for the requests of one server's calls.
type arrivals struct{ unproven atomic.Int64 }

// arrival waits for a request.
type arrival struct {
	late     *time.Timer // ends the stream
	unwait   func() bool // undoes what is to be done at the stream's end
	unproven *atomic.Int64
}

type arrivalKey struct{}

// expectRequest begins the time that a request may take to arrive. It is the tap: gRPC calls it for
// each stream when its headers are there.
func (all *arrivals) expectRequest(ctx context.Context, _ *tap.Info) (context.Context, error) {
	caller, _ := peer.FromContext(ctx)
	proven := caller == nil || connlimit.Proven(caller.Addr)
	if deadline, ok := ctx.Deadline(); proven && ok && time.Until(deadline) <= shortDeadline {
		return ctx, nil
	}
	var a arrival
	patience := requestTimeout
	if !proven {
		a.unproven = &all.unproven
		if a.unproven.Add(1) > maxUnproven {
			patience = hurriedTimeout
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	a.late = time.AfterFunc(patience, cancel)
	// A stream that is reset before must not be kept in memory until then.
	a.unwait = context.AfterFunc(ctx, a.end)
	return context.WithValue(ctx, arrivalKey{}, a), nil
}

// end is called once for each arrival.
func (a arrival) end() {
	a.late.Stop()
	if a.unproven != nil {
		a.unproven.Add(-1)
	}
}

// arrived ends that time.
func arrived(ctx context.Context) {
	if a, ok := ctx.Value(arrivalKey{}).(arrival); ok && a.unwait() {
		a.end()
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
