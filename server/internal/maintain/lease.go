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
	// LeaseFor is how long a lease lasts, and so how long other replicas wait after its holder has died. It is prolonged after a
	// third of that time, so that a step of 40 s still ends before the lease.
	LeaseFor = time.Minute
	// releaseTimeout bounds the release, which is also made if the work was canceled.
	releaseTimeout = 2 * time.Second
)

// Errors of Lease.Do.
var (
	// ErrElsewhere means that another replica has the lease. Nothing was done.
	ErrElsewhere = errors.New("another replica is doing it")
	// ErrLost means that the lease ended while a step hung, and that another replica has it now. That replica does the rest of the
	// work.
	ErrLost = errors.New("another replica took the lease over")
)

// Keep prolongs a lease if a third of it is over. A job calls it before each step, and stops if it returns an error: ErrLost if another
// replica has the lease now, or the context's error.
type Keep func(context.Context) error

// Lease lets one replica at a time do some work.
type Lease struct {
	Store store.Jobs
	// Name is the name of the lease in the store.
	Name string
	// Holder is the unique name of this process.
	Holder string
	// Clock returns the time, by which the lease is prolonged. The store decides when it ends.
	Clock func() time.Time
	// Logger gets debug lines only.
	Logger *slog.Logger
}

// Do takes the lease, does the work and releases the lease. It returns ErrElsewhere, the store's error or the error of work.
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
		// If the clock was set back, prolong the lease.
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
