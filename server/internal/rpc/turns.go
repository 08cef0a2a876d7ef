package rpc

import (
	"context"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// turns is a Store, and a Recent, on which only so many reads are under way at once; the others wait, within their
// contexts. Watches read through it: a change may wake thousands of them, and a call or a webhook
// must not stand in line behind all their reads. Waiting is no loss to them, since each reads all
// that it has missed.
type turns struct {
	store.Store
	recent Recent
	places chan struct{}
}

func (t turns) take(ctx context.Context) error {
	select {
	case t.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Remembered implements Recent.
func (t turns) Remembered(id string, least int32) *verification.Session {
	return t.recent.Remembered(id, least)
}

// Recent implements Recent. What is in memory needs no turn, also if it has come there meanwhile.
func (t turns) Recent(ctx context.Context, id string, least int32) (verification.Session, error) {
	if session := t.recent.Remembered(id, least); session != nil {
		return *session, nil
	}
	if err := t.take(ctx); err != nil {
		return verification.Session{}, err
	}
	defer func() { <-t.places }()
	return t.recent.Recent(ctx, id, least)
}

// Get implements store.Store.
func (t turns) Get(ctx context.Context, id string) (verification.Session, error) {
	if err := t.take(ctx); err != nil {
		return verification.Session{}, err
	}
	defer func() { <-t.places }()
	return t.Store.Get(ctx, id)
}

// Newest implements store.Store.
func (t turns) Newest(ctx context.Context, reference string) (string, error) {
	if err := t.take(ctx); err != nil {
		return "", err
	}
	defer func() { <-t.places }()
	return t.Store.Newest(ctx, reference)
}

// Head implements store.Store.
func (t turns) Head(ctx context.Context, partition int) (store.Position, error) {
	if err := t.take(ctx); err != nil {
		return store.Position{}, err
	}
	defer func() { <-t.places }()
	return t.Store.Head(ctx, partition)
}

// ReadFeed implements store.Store.
func (t turns) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	if err := t.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-t.places }()
	return t.Store.ReadFeed(ctx, partition, after, limit)
}
