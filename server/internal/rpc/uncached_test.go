package rpc

import (
	"context"

	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// uncached is a Live over a test's own store, which every read asks. reads is the limit for watches; 0: 16.
type uncached struct {
	store.Store
	hub   *hub.Hub
	reads int
}

func (u uncached) Hub() *hub.Hub { return u.hub }

func (u uncached) Peek(string, int32) *verification.Session { return nil }

func (u uncached) Session(ctx context.Context, id string, _ int32) (verification.Session, error) {
	return u.Get(ctx, id)
}

func (u uncached) Tail(int, store.Position, int) ([]store.Entry, bool) { return nil, false }

func (u uncached) PeekAt(store.Entry) *verification.Session { return nil }

func (u uncached) SessionAt(ctx context.Context, entry store.Entry) (verification.Session, error) {
	return u.Get(ctx, entry.SessionID)
}

func (u uncached) Limited() live.Sessions {
	if u.reads == 0 {
		u.reads = 16
	}
	return live.Limit(u, u.reads)
}
