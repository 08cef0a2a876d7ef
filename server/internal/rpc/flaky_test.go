package rpc

import (
	"context"
	"sync"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// flakyStore is a store that is away, as a whole, while a test says so.
type flakyStore struct {
	store.Store
	mu   sync.Mutex
	fail error
}

func (f *flakyStore) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *flakyStore) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

func (f *flakyStore) Get(ctx context.Context, id string) (verification.Session, error) {
	if err := f.trouble(); err != nil {
		return verification.Session{}, err
	}
	return f.Store.Get(ctx, id)
}

func (f *flakyStore) Newest(ctx context.Context, ref string) (string, error) {
	if err := f.trouble(); err != nil {
		return "", err
	}
	return f.Store.Newest(ctx, ref)
}

func (f *flakyStore) List(ctx context.Context, query store.ListQuery) (store.ListPage, error) {
	if err := f.trouble(); err != nil {
		return store.ListPage{}, err
	}
	return f.Store.List(ctx, query)
}

func (f *flakyStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if err := f.trouble(); err != nil {
		return verification.Session{}, err
	}
	return f.Store.Update(ctx, id, fn)
}
