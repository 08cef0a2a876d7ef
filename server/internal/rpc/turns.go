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
//
// Looks that nothing has asked for, the net under a lost wake-up, have a quarter of the places: with
// more watches than memory holds sessions, those that were woken would stand in line behind them.
type turns struct {
	store.Store
	recent       Recent
	places, idle chan struct{}
}

func newTurns(s store.Store, recent Recent, places int) turns {
	return turns{s, recent, make(chan struct{}, places), make(chan struct{}, max(1, places/4))}
}

// idleKey marks the context of a look that nothing has asked for.
type idleKey struct{}

func (t turns) take(ctx context.Context) (leave func(), err error) {
	if ctx.Value(idleKey{}) == nil {
		return t.leave, enter(ctx, t.places)
	}
	if err := enter(ctx, t.idle); err != nil {
		return nil, err
	}
	if err := enter(ctx, t.places); err != nil {
		<-t.idle
		return nil, err
	}
	return t.leaveIdle, nil
}

func enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) leave() { <-t.places }

func (t turns) leaveIdle() {
	<-t.places
	<-t.idle
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
	leave, err := t.take(ctx)
	if err != nil {
		return verification.Session{}, err
	}
	defer leave()
	return t.recent.Recent(ctx, id, least)
}

// Get implements store.Store.
func (t turns) Get(ctx context.Context, id string) (verification.Session, error) {
	leave, err := t.take(ctx)
	if err != nil {
		return verification.Session{}, err
	}
	defer leave()
	return t.Store.Get(ctx, id)
}

// Newest implements store.Store.
func (t turns) Newest(ctx context.Context, reference string) (string, error) {
	leave, err := t.take(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return t.Store.Newest(ctx, reference)
}

// Head implements store.Store.
func (t turns) Head(ctx context.Context, partition int) (store.Position, error) {
	leave, err := t.take(ctx)
	if err != nil {
		return store.Position{}, err
	}
	defer leave()
	return t.Store.Head(ctx, partition)
}

// ReadFeed implements store.Store.
func (t turns) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	leave, err := t.take(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return t.Store.ReadFeed(ctx, partition, after, limit)
}
