package grpcserver

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Access decides who may call. Its methods are safe for concurrent use.
type Access interface {
	// Credentials are what to speak TLS with; nil for plain text.
	Credentials() credentials.TransportCredentials
	// Identify notes in a call's context who makes it, and Principal tells that name; empty where
	// callers have none.
	Identify(ctx context.Context) context.Context
	Principal(ctx context.Context) string
	// Unary and Stream refuse calls that may not be made.
	Unary() grpc.UnaryServerInterceptor
	Stream() grpc.StreamServerInterceptor
}

// identifyUnary and identifyStream come before the log, which names the caller, also of a call that is
// refused. What callers send is looked at here already, so panics are caught here too.
func identifyUnary(access Access) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(access.Identify(ctx), request)
	}
}

func identifyStream(access Access) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, contextStream{stream, access.Identify(stream.Context())})
	}
}

// unaryInterceptors are in the order in which they see a call. Limits come first, so that what is over
// them costs next to nothing. The log comes before those whose panics and errors it tells, and right
// after who calls and the call's name, which are in its line. A connection is held for calls that were
// let in, and for no others.
func unaryInterceptors(config Config) []grpc.UnaryServerInterceptor {
	log := WithCall(config.Logger)
	named := []grpc.UnaryServerInterceptor{nameUnary, logUnary(config), statusUnary(log), recoverUnary(log)}
	limits := []grpc.UnaryServerInterceptor{arrivedUnary, shedUnary(config.Logger, config.MaxInFlight)}
	deadline := deadlineUnary(config.UnaryDeadline, config.MethodDeadlines)
	if config.Access == nil {
		return slices.Concat(limits, named, []grpc.UnaryServerInterceptor{holdUnary, deadline})
	}
	return slices.Concat(limits, []grpc.UnaryServerInterceptor{recoverUnary(log), identifyUnary(config.Access)}, named,
		[]grpc.UnaryServerInterceptor{config.Access.Unary(), holdUnary, deadline})
}

func (s *Server) streamInterceptors(config Config) []grpc.StreamServerInterceptor {
	log := WithCall(config.Logger)
	named := []grpc.StreamServerInterceptor{nameStream, logStream(config), statusStream(log), recoverStream(log)}
	limits := []grpc.StreamServerInterceptor{arrivedStream}
	ending := endHealthWatches(s.stopping)
	if config.Access == nil {
		return slices.Concat(limits, named, []grpc.StreamServerInterceptor{holdStream, ending})
	}
	return slices.Concat(limits, []grpc.StreamServerInterceptor{recoverStream(log), identifyStream(config.Access)}, named,
		[]grpc.StreamServerInterceptor{config.Access.Stream(), holdStream, ending})
}

// principal is the name of who makes a call.
func (c Config) principal(ctx context.Context) string {
	if c.Access == nil {
		return ""
	}
	return c.Access.Principal(ctx)
}
