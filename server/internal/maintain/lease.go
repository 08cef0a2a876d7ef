package maintain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/store"
)

const (
	// LeaseFor is how long the other replicas wait for a replica that died. The lease is prolonged once
	// a third of it is over: a step of 40 s still ends before the lease.
	LeaseFor = time.Minute
	// releaseTimeout bounds the release, which is made also if the work was canceled.
	releaseTimeout = 2 * time.Second
)

// Errors of Lease.Do.
var (
	// ErrElsewhere: another replica has the lease. Nothing was done.
	ErrElsewhere = errors.New("another replica is doing it")
	// ErrLost: the lease ended while the work hung, and another replica has it now. The rest of the work
	// is that replica's.
	ErrLost = errors.New("another replica took the lease over")
)

// Keep prolongs a lease if a third of it is over. A job calls it before each step. It returns ErrLost
// if another replica has the lease now, and the context's error if that has ended: the job then stops.
type Keep func(context.Context) error

// Lease lets one replica at a time do some work.
type Lease struct {
	Store store.Jobs
	// Name is the lease's name in the store.
	Name string
	// Holder is the name of this process, unlike that of any other.
	Holder string
	// Clock says when the lease is to be prolonged. When it ends is up to the store.
	Clock func() time.Time
	// Logger gets what is of use in the search for an error only.
	Logger *slog.Logger
}

// Do takes the lease, does the work and gives the lease back. It returns ErrElsewhere, the store's
// error or that of the work.
func (l Lease) Do(ctx context.Context, work func(context.Context, Keep) error) error {
	held, err := l.Store.Lease(ctx, l.Name, l.Holder, LeaseFor)
	if err != nil {
		return fmt.Errorf("taking the lease: %w", err)
	}
	if !held {
		return ErrElsewhere
	}
	defer l.release(ctx)
	leased := l.Clock()
	return work(ctx, func(ctx context.Context) error {
		now := l.Clock()
		// A clock that was set back says nothing about the lease.
		if passed := now.Sub(leased); passed >= 0 && passed < LeaseFor/3 {
			return ctx.Err()
		}
		held, err := l.Store.Lease(ctx, l.Name, l.Holder, LeaseFor)
		if err != nil {
			return fmt.Errorf("prolonging the lease: %w", err)
		}
		if !held {
			return ErrLost
		}
		leased = now
		return nil
	})
}

func (l Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := l.Store.Release(ctx, l.Name, l.Holder); err != nil {
		l.Logger.Debug("a lease was not released; it ends by itself", "lease", l.Name, "error", err)
	}
}
