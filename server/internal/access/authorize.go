package access

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"example.com/verification-status/server/internal/shares"
)

// Unary refuses a call that may not be made. ctx is from Identify, method is full
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

// Stream does the same for a stream. What a watch needs shows in its request: the stream that is
// returned, whose context is made from ctx, checks that when it arrives, and ends at the next message once its
// caller has lost the right to it. leave is to be called once, at the end.
func (a *Access) Stream(ctx context.Context, method string, stream grpc.ServerStream) (checked grpc.ServerStream, leave func(), err error) {
	if isHealth(method) {
		return a.health(ctx, method, stream)
	}
	who := a.callerOf(ctx)
	refused := a.beginStream(who, method)
	if refused == nil {
		leave, refused = a.limits.enter(who.caller.holder)
	}
	if refused != nil {
		return nil, nil, a.refuse(ctx, method, refused)
	}
	if a.open() {
		return stream, leave, nil
	}
	return &guarded{ServerStream: stream, ctx: ctx, access: a, method: method, generation: who.generation}, leave, nil
}

// health lets a health watch through, within its limits. Everybody may open one, but only those of callers with
// credentials are kept until they end.
func (a *Access) health(ctx context.Context, method string, stream grpc.ServerStream) (checked grpc.ServerStream, leave func(), err error) {
	holder, evict, until := a.holderOf(ctx), func() {}, ctx
	if holder.IsPeer() {
		cancelable, cancel := context.WithCancelCause(ctx)
		evict = func() { cancel(a.refuse(ctx, method, evicted())) }
		until = cancelable
	}
	leave, refused := a.limits.watchHealth(holder, evict)
	if refused != nil {
		return nil, nil, a.refuse(ctx, method, refused)
	}
	return &ending{stream, until}, leave, nil
}

// holderOf is what the health watch of a call is counted for: its caller, else the holder of the connection's
// certificate, else the address.
func (a *Access) holderOf(ctx context.Context) shares.Holder {
	if a.open() {
		return shares.Holder{}
	}
	if who := a.callerOf(ctx); who.caller.unknown == "" {
		return who.caller.holder
	}
	if a.config.ClientCAFile != "" {
		if certificate := verified(ctx); certificate != nil {
			if who := identifyCertificate(certificate); who.unknown == "" {
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

// ending is a stream whose context ends with a cause before its caller or its handler ends it.
type ending struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (e *ending) Context() context.Context { return e.ctx }

// begin refuses callers who are nobody, and those who call too often.
func (a *Access) begin(c *caller) *refusal {
	if c.unknown != "" {
		return unauthenticated(c.unknown)
	}
	if after, ok := a.limits.call(c.principal); !ok {
		return rateLimited(c.principal, after)
	}
	return nil
}

// beginStream refuses also those who may not make the call whatever the request.
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

// check refuses a caller without the right to a path.
func (a *Access) check(who *identified, path string) *refusal {
	switch c := who.caller; {
	case c.unknown != "":
		return unauthenticated(c.unknown)
	case a.open():
		return nil
	case c.token != nil && c.token.opens(path):
		return nil
	case c.token == nil && a.policy.Load().allows(who, path):
		return nil
	}
	return denied(who.caller.principal, path)
}

// refuse tells of a refusal and makes it an error.
func (a *Access) refuse(ctx context.Context, method string, refused *refusal) error {
	if refused.limit != "" {
		a.config.Shed(ctx, method, refused.limit)
	} else {
		a.config.Observe(refused.reason)
	}
	return refused.err()
}

// anybody is who calls where everyone may.
var anybody = &identified{context.Background(), &caller{}, 0}

// callerOf is who makes a call; nobody where Identify did not look.
func (a *Access) callerOf(ctx context.Context) *identified {
	if a.open() {
		return anybody
	}
	if i, ok := ctx.Value(callerKey{}).(*identified); ok {
		return i
	}
	return &identified{ctx, nobody("this server does not know who calls"), 0}
}

// guarded is a stream that checks what its request needs, and looks again when rights have changed.
// Its handler receives and sends in turn: no method of this service does both at once.
type guarded struct {
	grpc.ServerStream
	ctx    context.Context
	access *Access
	method string

	path       string // what the request needs
	generation uint64 // of the rights that the caller was last judged by
}

// Context implements grpc.ServerStream.
func (g *guarded) Context() context.Context { return g.ctx }

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
