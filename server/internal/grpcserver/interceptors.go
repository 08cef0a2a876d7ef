package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
)

// Access decides which calls are allowed. Its methods are safe for concurrent use.
type Access interface {
	// Credentials returns the TLS credentials of the server, or nil for plain text.
	Credentials() credentials.TransportCredentials
	// Identify returns ctx with the caller and with the holder that the call counts for (shares.HolderOf). It is called
	// when the headers have arrived, and again when the request has: the second time it can return ctx itself. Principal
	// returns the caller's name from such a context, or "" if callers have no names. No method of Access does I/O.
	Identify(ctx context.Context) context.Context
	Principal(ctx context.Context) string
	// Holder returns the holder that a call counts for before it is admitted: its caller, or the peer of a call
	// without valid credentials. ctx is from Identify.
	Holder(ctx context.Context) shares.Holder
	// Unary returns an error with a gRPC code if the caller may not make the call.
	Unary(ctx context.Context, method string, request any) error
	// Stream returns an error with a gRPC code if the caller may not open the stream. Otherwise the handler gets the
	// stream that it returns, whose context is ctx or derives from it, and leave is called once, at the end. If that
	// context ends with a status as its cause, a health watch ends with that status.
	Stream(ctx context.Context, method string, stream grpc.ServerStream) (checked grpc.ServerStream, leave func(), err error)
}

// openAccess is an Access that admits every call, in plain text.
type openAccess struct{}

func (openAccess) Credentials() credentials.TransportCredentials { return nil }
func (openAccess) Identify(ctx context.Context) context.Context  { return ctx }
func (openAccess) Principal(context.Context) string              { return "" }
func (openAccess) Holder(context.Context) shares.Holder          { return shares.Holder{} }
func (openAccess) Unary(context.Context, string, any) error      { return nil }
func (openAccess) Stream(_ context.Context, _ string, stream grpc.ServerStream) (grpc.ServerStream, func(), error) {
	return stream, func() {}, nil
}

// unary runs everything around a unary call, in one function: each interceptor of a chain would cost a closure and stack.
// Only a call that Access admits takes a slot, so callers without credentials hold none. Everything that reads what a
// caller sends runs below the recover.
func (s *Server) unary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	c := callOf(ctx)
	var lease connlimit.Lease
	defer func() {
		if p := recover(); p != nil {
			response, err = nil, s.panicked(ctx, c, p)
		}
		lease.Release()
		c.slot.Release()
		err = s.finish(ctx, c, err)
	}()
	ctx = s.access.Identify(ctx)
	if err := s.access.Unary(ctx, c.method.full, request); err != nil {
		return nil, err
	}
	if err := s.takeSlot(ctx, c); err != nil {
		return nil, err
	}
	lease = c.lease(ctx)
	ctx = s.startSpan(ctx, c)
	return handler(ctx, request)
}

// stream runs everything around a stream. Its frame stays on the stack of each open stream, so functions that it calls
// do what is needed only at the beginning or the end.
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

// finish logs the end of a call, sends the caller the request id if the log has it, and returns err with a gRPC code.
func (s *Server) finish(ctx context.Context, c *call, err error) error {
	if err != nil && c.tooMany.Load() { // else the caller would take it for its own cancellation, and not try again
		c.shed, err = true, errHalfTaken
	}
	err = s.withStatus(ctx, c, err)
	if !c.shed {
		s.logCall(ctx, c, time.Since(c.began), err)
	}
	if s.tracer != nil && !c.method.stream {
		endSpan(ctx, err)
	}
	if trailer := c.trailer(); trailer != nil {
		_ = grpc.SetTrailer(ctx, trailer) // it fails only if the caller is gone
	}
	return err
}

// lease keeps the connection of an admitted call open while other connections are closed for new ones. A health watch has
// no lease: unauthenticated callers may open one and keep it, and with leases their connections would shut all callers
// out. A health watch of a named caller marks its connection as used, no more: a client watches the health of a server
// before its first call, and a flood of connections must not close the client's own in between.
func (c *call) lease(ctx context.Context) connlimit.Lease {
	holder := shares.HolderOf(ctx)
	if !c.method.builtIn {
		return connlimit.Acquire(c.peer, holder)
	}
	if holder != (shares.Holder{}) {
		connlimit.Acquire(c.peer, holder).Release()
	}
	return connlimit.Lease{}
}
