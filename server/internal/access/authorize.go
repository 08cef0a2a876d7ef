package access

import (
	"context"
	"net"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// Unary refuses calls that may not be made, before their handler runs. Identify comes first.
func (a *Access) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if isHealth(info.FullMethod) {
			return handler(ctx, request)
		}
		if refused := a.begin(ctx); refused != nil {
			return nil, a.refuse(refused)
		}
		if refused := a.check(ctx, pathOf(info.FullMethod, request)); refused != nil {
			return nil, a.refuse(refused)
		}
		return handler(ctx, request)
	}
}

// Stream does the same for streams. What a watch needs shows in its request: it is checked when that
// arrives. A stream whose caller loses the right to it ends at the next message.
func (a *Access) Stream() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if isHealth(info.FullMethod) {
			return a.health(srv, stream, handler)
		}
		if refused := a.beginStream(stream.Context(), info.FullMethod); refused != nil {
			return a.refuse(refused)
		}
		leave, refused := a.limits.enter(callerOf(stream.Context()).principal)
		if refused != nil {
			return a.refuse(refused)
		}
		defer leave()
		if a.open() {
			return handler(srv, stream)
		}
		return handler(srv, &guarded{
			ServerStream: stream, access: a, method: info.FullMethod, generation: callerOf(stream.Context()).generation,
		})
	}
}

// health lets a health watch through, within its limits.
func (a *Access) health(srv any, stream grpc.ServerStream, handler grpc.StreamHandler) error {
	var connection net.Addr
	if from, ok := peer.FromContext(stream.Context()); ok {
		connection = from.Addr
	}
	leave, refused := a.limits.watchHealth(connection)
	if refused != nil {
		return a.refuse(refused)
	}
	defer leave()
	return handler(srv, stream)
}

// begin refuses callers who are nobody, and those who call too often.
func (a *Access) begin(ctx context.Context) *refusal {
	c := callerOf(ctx)
	if c.unknown != "" {
		return unauthenticated(c.unknown)
	}
	if after, ok := a.limits.call(c.principal); !ok {
		return rateLimited(c.principal, after)
	}
	return nil
}

// beginStream refuses also those who may not make the call whatever the request.
func (a *Access) beginStream(ctx context.Context, method string) *refusal {
	if refused := a.begin(ctx); refused != nil {
		return refused
	}
	paths := pathsOf(method)
	if !slices.ContainsFunc(paths, func(path string) bool { return a.check(ctx, path) == nil }) {
		return denied(callerOf(ctx).principal, paths[0])
	}
	return nil
}

// check refuses a caller without the right to a path.
func (a *Access) check(ctx context.Context, path string) *refusal {
	c := callerOf(ctx)
	switch {
	case c.unknown != "":
		return unauthenticated(c.unknown)
	case a.open():
		return nil
	case c.token != nil && c.token.opens(path):
		return nil
	case c.token == nil && a.policy.Load().allows(ctx, path):
		return nil
	}
	return denied(c.principal, path)
}

// refuse counts a refusal and makes it an error.
func (a *Access) refuse(refused *refusal) error {
	a.config.Observe(refused.reason)
	return refused.err()
}

// callerOf is who makes a call; nobody where Identify did not look.
func callerOf(ctx context.Context) caller {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok {
		return caller{unknown: "this server does not know who calls"}
	}
	return c
}

// guarded is a stream that checks what its request needs, and looks again when rights have changed.
// Its handler receives and sends in turn: no method of this service does both at once.
type guarded struct {
	grpc.ServerStream
	access *Access
	method string

	path       string // what the request needs
	generation uint64 // of the rights that the caller was last judged by
}

// RecvMsg refuses a request that the caller may not make.
func (g *guarded) RecvMsg(message any) error {
	if err := g.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	g.path = pathOf(g.method, message)
	return g.judge()
}

// SendMsg sends nothing to who may not see it any more.
func (g *guarded) SendMsg(message any) error {
	if g.access.generation.Load() != g.generation {
		if err := g.judge(); err != nil {
			return err
		}
	}
	return g.ServerStream.SendMsg(message)
}

// judge checks the path. Where rights have changed since the caller was looked at, the token may have
// gone, or have other rights.
func (g *guarded) judge() error {
	ctx, now := g.Context(), g.access.generation.Load()
	if now != g.generation {
		ctx = g.access.Identify(ctx)
	}
	if refused := g.access.check(ctx, g.path); refused != nil {
		return g.access.refuse(refused)
	}
	g.generation = now
	return nil
}
