package access

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"example.com/verification-status/server/internal/shares"
)

// Unary returns an error for the caller if it may not make the call. ctx is from Identify. method is full
// ("/package.Service/Method").
func (a *Access) Unary(ctx context.Context, method string, request any) error {
	if isHealth(method) {
		return nil
	}
	who := a.callerOf(ctx)
	refused := a.begin(who.caller)
	if refused == nil {
		refused = a.check(who, pathOf(method, request))
	}
	if refused != nil {
		return a.refuse(ctx, method, refused)
	}
	return nil
}

// Stream returns an error for the caller if it may not open the stream. The right that a watch needs depends on its
// request, so the returned stream checks it when the request arrives. It checks again at the first message after a change
// of rights, and returns an error if the caller has lost its right. The context of the stream derives from ctx. Call leave
// once, at the end.
func (a *Access) Stream(ctx context.Context, method string, stream grpc.ServerStream) (checked grpc.ServerStream, leave func(), err error) {
	if isHealth(method) {
		return a.health(ctx, method, stream)
	}
	who := a.callerOf(ctx)
	refused := a.beginStream(who, method)
	if refused == nil {
		leave, refused = a.limits.openStream(who.caller.holder)
	}
	if refused != nil {
		return nil, nil, a.refuse(ctx, method, refused)
	}
	if a.isOpen() {
		return stream, leave, nil
	}
	return &guarded{ServerStream: stream, ctx: ctx, access: a, method: method, generation: who.generation}, leave, nil
}

// health admits a health watch within its limits. Every caller may open one. The health watch of an unauthenticated caller
// can be evicted for another one.
func (a *Access) health(ctx context.Context, method string, stream grpc.ServerStream) (checked grpc.ServerStream, leave func(), err error) {
	holder, evict, until := a.Holder(ctx), func() {}, ctx
	if holder.IsPeer() {
		cancelable, cancel := context.WithCancelCause(ctx)
		evict = func() { cancel(a.refuse(ctx, method, evicted())) }
		until = cancelable
	}
	leave, refused := a.limits.watchHealth(holder, evict)
	if refused != nil {
		return nil, nil, a.refuse(ctx, method, refused)
	}
	return &evictable{stream, until}, leave, nil
}

// Holder returns the holder that a health watch counts for, and a call before it is admitted: its caller, else the holder of
// the connection's certificate, else the address. ctx is from Identify. It is the zero Holder while access control is off.
func (a *Access) Holder(ctx context.Context) shares.Holder {
	if a.isOpen() {
		return shares.Holder{}
	}
	if who := a.callerOf(ctx); who.caller.problem == "" {
		return who.caller.holder
	}
	if a.config.ClientCAFile != "" {
		if certificate := verified(ctx); certificate != nil {
			if who := identifyCertificate(certificate); who.problem == "" {
				return who.holder
			}
		}
	}
	from, _ := peer.FromContext(ctx)
	if from == nil {
		return shares.Peer(nil)
	}
	return shares.Peer(from.Addr)
}

// evictable is a health watch whose context can be canceled with a cause, to evict it.
type evictable struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (e *evictable) Context() context.Context { return e.ctx }

// begin refuses unidentified callers and callers over their rate.
func (a *Access) begin(c *caller) *refusal {
	if c.problem != "" {
		return unauthenticated(c.problem)
	}
	if after, ok := a.limits.call(c.principal); !ok {
		return rateLimited(c.principal, after)
	}
	return nil
}

// beginStream refuses the same, and callers that have no right to the method, whatever the request.
func (a *Access) beginStream(who *identified, method string) *refusal {
	if refused := a.begin(who.caller); refused != nil {
		return refused
	}
	paths := pathsOf(method)
	if !slices.ContainsFunc(paths, func(path string) bool { return a.check(who, path) == nil }) {
		return denied(who.caller.principal, paths[0])
	}
	return nil
}

// check returns why a caller has no right to a path, or nil if it has.
func (a *Access) check(who *identified, path string) *refusal {
	switch c := who.caller; {
	case c.problem != "":
		return unauthenticated(c.problem)
	case a.isOpen():
		return nil
	case c.token != nil && c.token.allows(path):
		return nil
	case c.token == nil && a.policy.Load().allows(who, path):
		return nil
	}
	return denied(who.caller.principal, path)
}

// refuse reports a refusal to Config.Shed or Config.Observe, and returns its error.
func (a *Access) refuse(ctx context.Context, method string, refused *refusal) error {
	if refused.limit != "" {
		a.config.Shed(ctx, method, refused.limit)
	} else {
		a.config.Observe(refused.reason)
	}
	return refused.err()
}

// anonymous is the caller of every request while access control is off.
var anonymous = &identified{context.Background(), &caller{}, 0}

// callerOf returns the caller of a call. Without a call of Identify the caller is unidentified.
func (a *Access) callerOf(ctx context.Context) *identified {
	if a.isOpen() {
		return anonymous
	}
	if i, ok := ctx.Value(callerKey{}).(*identified); ok {
		return i
	}
	return &identified{ctx, unidentified("the caller is not identified"), 0}
}

// guarded is a stream that checks the right that its request needs, and checks again when rights have changed. Its handler
// must not receive and send at the same time; no method of this service does.
type guarded struct {
	grpc.ServerStream
	ctx    context.Context
	access *Access
	method string

	path       string // the right that the request needs
	generation uint64 // of the rights at the last check
}

// Context implements grpc.ServerStream.
func (g *guarded) Context() context.Context { return g.ctx }

// RecvMsg returns an error if the caller may not make the request.
func (g *guarded) RecvMsg(message any) error {
	if err := g.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	g.path = pathOf(g.method, message)
	return g.authorize()
}

// SendMsg returns an error, and sends nothing, if the caller has lost its right.
func (g *guarded) SendMsg(message any) error {
	if g.access.generation.Load() != g.generation {
		if err := g.authorize(); err != nil {
			return err
		}
	}
	return g.ServerStream.SendMsg(message)
}

// authorize checks the path. If rights have changed since the last check, it identifies the caller again: its token can be
// gone or have other rights.
func (g *guarded) authorize() error {
	ctx, now := g.ctx, g.access.generation.Load()
	if now != g.generation {
		ctx = g.access.Identify(ctx)
	}
	if refused := g.access.check(g.access.callerOf(ctx), g.path); refused != nil {
		return g.access.refuse(g.ctx, g.method, refused)
	}
	g.generation = now
	return nil
}
