package live

import (
	"context"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Limited is Sessions with a limit on the reads of the store that are under way at once. A read beyond the
// limit waits for a slot until its context ends. Answers from the cache need no slot, nor do writes.
//
// Watches read through it: one change can wake thousands of them, and a call or a webhook must not wait behind
// all their reads. The wait costs a watch nothing, since each read shows all that it has missed.
//
// Background reads (see Background) get at most a quarter of the slots: with more watches than cached sessions,
// watches that a change has woken would wait behind them.
type Limited struct {
	Sessions
	slots, background chan struct{}
}

// Limit returns sessions with a limit of so many reads at once.
func Limit(sessions Sessions, reads int) *Limited {
	return &Limited{sessions, make(chan struct{}, reads), make(chan struct{}, max(1, reads/4))}
}

type backgroundKey struct{}

// Background returns a context for a read that no change has caused: a watch reads now and then by itself, in
// case a wake-up was lost, and a watch of all sessions can begin with old changes.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// IsBackground reports whether a context is from Background.
func IsBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// acquire takes a slot, and returns the context's error if that ends first.
func (l *Limited) acquire(ctx context.Context) (release func(), err error) {
	if !IsBackground(ctx) {
		return l.release, enter(ctx, l.slots)
	}
	if err := enter(ctx, l.background); err != nil {
		return nil, err
	}
	if err := enter(ctx, l.slots); err != nil {
		<-l.background
		return nil, err
	}
	return l.releaseBackground, nil
}

func enter(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Limited) release() { <-l.slots }

func (l *Limited) releaseBackground() {
	<-l.slots
	<-l.background
}

// Session implements Sessions. A session that was cached while the call waited for a slot would be found too:
// the View looks into the cache again.
func (l *Limited) Session(ctx context.Context, id string, minRevision int32) (verification.Session, error) {
	if session := l.Peek(id, minRevision); session != nil {
		return *session, nil
	}
	release, err := l.acquire(ctx)
	if err != nil {
		return verification.Session{}, err
	}
	defer release()
	return l.Sessions.Session(ctx, id, minRevision)
}

// SessionAt implements Sessions, as Session does.
func (l *Limited) SessionAt(ctx context.Context, entry store.Entry) (verification.Session, error) {
	if session := l.PeekAt(entry); session != nil {
		return *session, nil
	}
	release, err := l.acquire(ctx)
	if err != nil {
		return verification.Session{}, err
	}
	defer release()
	return l.Sessions.SessionAt(ctx, entry)
}

// Get implements store.Store.
func (l *Limited) Get(ctx context.Context, id string) (verification.Session, error) {
	release, err := l.acquire(ctx)
	if err != nil {
		return verification.Session{}, err
	}
	defer release()
	return l.Sessions.Get(ctx, id)
}

// Newest implements store.Store.
func (l *Limited) Newest(ctx context.Context, reference string) (string, error) {
	release, err := l.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return l.Sessions.Newest(ctx, reference)
}

// Head implements store.Feed.
func (l *Limited) Head(ctx context.Context, partition int) (store.Position, error) {
	release, err := l.acquire(ctx)
	if err != nil {
		return store.Position{}, err
	}
	defer release()
	return l.Sessions.Head(ctx, partition)
}

// ReadFeed implements store.Feed.
func (l *Limited) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	release, err := l.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return l.Sessions.ReadFeed(ctx, partition, after, limit)
}
