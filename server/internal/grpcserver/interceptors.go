package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
)

// Access decides who may call. Its methods are safe for concurrent use.
type Access interface {
	// Credentials are what to speak TLS with; nil for plain text.
	Credentials() credentials.TransportCredentials
	// Identify notes in a call's context who makes it and for which holder it counts (shares.HolderOf), and
	// Principal tells that name; empty where callers have none. None of these methods waits for anything.
	Identify(ctx context.Context) context.Context
	Principal(ctx context.Context) string
	// Unary refuses a call that may not be made.
	Unary(ctx context.Context, method string, request any) error
	// Stream refuses a stream that may not be opened. What it returns goes to the handler, with ctx, or a
	// context made from it, for its context; leave is called once, at the end. If that context ends with a
	// status for its cause, a health watch ends with that status.
	Stream(ctx context.Context, method string, stream grpc.ServerStream) (checked grpc.ServerStream, leave func(), err error)
}

// everyone is an Access that lets everyone do everything, in plain text.
type everyone struct{}

func (everyone) Credentials() credentials.TransportCredentials { return nil }
func (everyone) Identify(ctx context.Context) context.Context  { return ctx }
func (everyone) Principal(context.Context) string              { return "" }
func (everyone) Unary(context.Context, string, any) error      { return nil }
func (everyone) Stream(_ context.Context, _ string, stream grpc.ServerStream) (grpc.ServerStream, func(), error) {
	return stream, func() {}, nil
}

// unary is all that is done around a unary call, in one function: each interceptor of a chain would cost
// a closure and a piece of the stack. Only a call that was let in takes a place: callers without credentials
// hold none. What callers send is looked at only where panics are caught.
func (s *Server) unary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	c := callOf(ctx)
	var lease connlimit.Lease
	defer func() {
		if p := recover(); p != nil {
			response, err = nil, s.panicked(ctx, c, p)
		}
		lease.Release()
		c.place.Release()
		err = s.finish(ctx, c, err)
	}()
	ctx = s.access.Identify(ctx)
	if err := s.access.Unary(ctx, c.method.full, request); err != nil {
		return nil, err
	}
	if err := s.takePlace(ctx, c); err != nil {
		return nil, err
	}
	lease = c.lease(ctx)
	ctx = s.startSpan(ctx, c)
	return handler(ctx, request)
}

// stream is the same around a stream. It stands on the stack of each that is open: what is needed only
// at the beginning or the end is done elsewhere.
func (s *Server) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	in := &incoming{ServerStream: stream, ctx: stream.Context(), leave: func() {}}
	c := callOf(in.ctx)
	var lease connlimit.Lease
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(in.ctx, c, p)
		}
		lease.Release()
		in.leave()
		err = s.finish(in.ctx, c, err)
	}()
	if err := in.admit(s, c.method.full); err != nil {
		return err
	}
	lease = c.lease(in.ctx)
	if c.method.full == healthWatch {
		return s.watchHealth(srv, in, handler)
	}
	return handler(srv, in)
}

// finish gives every error that leaves a call a code, writes the call's line, and tells the caller under
// which name it is found.
func (s *Server) finish(ctx context.Context, c *call, err error) error {
	err = s.withStatus(ctx, c, err)
	if !c.shed {
		s.logCall(ctx, c, time.Since(c.began), err)
	}
	if s.tracer != nil && !c.method.stream {
		endSpan(ctx, err)
	}
	if trailer := c.trailer(); trailer != nil {
		_ = grpc.SetTrailer(ctx, trailer) // it fails only where the caller is gone
	}
	return err
}

// lease keeps the connection of a call that was let in from being closed to make room for others. It is
// nothing for health, which strangers may watch for as long as they like: a connection for each of such
// watches would keep all callers out. That of a caller with a name only shows that the connection is of use: a
// client watches the server's health before its first call, and a flood of connections must not close it in between.
func (c *call) lease(ctx context.Context) connlimit.Lease {
	holder := shares.HolderOf(ctx)
	if !c.method.grpcs {
		return connlimit.Acquire(c.peer, holder)
	}
	if holder != (shares.Holder{}) {
		connlimit.Acquire(c.peer, holder).Release()
	}
	return connlimit.Lease{}
}
