package store

import (
	"context"
	"time"
)

// Jobs stores the leases and marks of the jobs that one replica does at a time. It is safe for concurrent use. It returns
// the errors of Store.
type Jobs interface {
	// Lease takes or prolongs the lease of a name for a holder. It returns false if another holder has the lease. A lease
	// prevents replicas from doing the same work at once. Correctness must not depend on it: the store can lose it, and
	// it can end while its holder still works.
	Lease(ctx context.Context, name, holder string, duration time.Duration) (bool, error)
	// Release ends a lease if the holder has it.
	Release(ctx context.Context, name, holder string) error
	// Marks returns the numbers that are stored under the names, in the order of the names. A mark is 0 if none was stored,
	// if the store has lost it, or if it is not a number.
	Marks(ctx context.Context, names ...string) ([]int64, error)
	// SetMark stores a number under a name and replaces the number before.
	SetMark(ctx context.Context, name string, value int64) error
}
