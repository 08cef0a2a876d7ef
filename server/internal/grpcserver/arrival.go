package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/server/internal/offstack"
)

const (
	// requestTimeout bounds the arrival of a request after its headers, as the read timeout of an HTTP server does.
	// Without it a client could open calls and send half of each request.
	requestTimeout = 10 * time.Second
	// maxUnauthenticated is how many calls, of all connections that have admitted no call yet, have requestTimeout.
	// Further ones have shortRequestTimeout, which is enough for a client that sends its request whole. Access
	// identifies a caller when the request has arrived. Until then each call takes 14 KiB, and up to 64 KiB more for
	// the part of the request that was sent: one connection without credentials could fill the memory.
	maxUnauthenticated  = 1024
	shortRequestTimeout = 100 * time.Millisecond
)

// limitArrival bounds the arrival of the request of a call whose connection has admitted no call yet.
func (c *call) limitArrival() {
	timeout := requestTimeout
	if c.server.unauthenticated.Add(1) > maxUnauthenticated {
		timeout = shortRequestTimeout
	}
	if c.cancel == nil {
		c.Context, c.cancel = context.WithCancel(c.Context)
	}
	c.requestAwaited.Store(true)
	c.late = time.AfterFunc(timeout, func() {
		c.stopAwaiting() // gRPC does not report the end of a call whose deadline had passed at its start
		c.cancel()
	})
}

// arrived records that the request has arrived, or that the call has ended without it.
func (c *call) arrived() {
	if c.stopAwaiting() {
		c.late.Stop()
	}
}

// stopAwaiting takes the call off the count of those that wait for their requests. It returns true the first time.
func (c *call) stopAwaiting() bool {
	first := c.requestAwaited.CompareAndSwap(true, false)
	if first {
		c.server.unauthenticated.Add(-1)
	}
	return first
}

// incoming is a stream whose request has not arrived yet, and afterwards passes everything on. Identifying the caller and
// receiving the request run in goroutines of their own: the goroutine of an open stream keeps the stack that it once
// needed.
type incoming struct {
	grpc.ServerStream                 // after admit: Access's stream, which checks the right that the request needs
	ctx               context.Context // after admit: with the caller
	leave             func()          // called at the end
	arrived           bool
}

// Context implements grpc.ServerStream.
func (s *incoming) Context() context.Context { return s.ctx }

// admit identifies the caller. It returns Access's error if the caller may not open the stream.
func (s *incoming) admit(server *Server, method string) error {
	admission := offstack.Go(func() error {
		s.ctx = server.access.Identify(s.ctx)
		checked, leave, err := server.access.Stream(s.ctx, method, s.ServerStream)
		if err == nil {
			s.ServerStream, s.leave = checked, leave
			s.ctx = server.continueTrace(checked.Context()) // Access may end the stream by it
		}
		return err
	})
	return (<-admission).Err() // it does no I/O, so it ends
}

// RecvMsg implements grpc.ServerStream. It returns DEADLINE_EXCEEDED if the request does not arrive in time, and the
// stream's own error if its context ends first. The goroutine that still waits for the request ends with the stream.
func (s *incoming) RecvMsg(message any) error {
	if s.arrived {
		return s.ServerStream.RecvMsg(message)
	}
	s.arrived = true
	received := offstack.Go(func() error { return s.ServerStream.RecvMsg(message) })
	late := time.NewTimer(requestTimeout)
	defer late.Stop()
	select {
	case t := <-received:
		return t.Err()
	case <-s.Context().Done():
		return endedBy(s.Context(), s.Context().Err())
	case <-late.C:
		return status.Error(codes.DeadlineExceeded, "the request did not arrive")
	}
}
