package store

import (
	"context"
	"time"
)

// Jobs keeps replicas from doing the same work at once, and remembers how far the work has come. It is
// safe for concurrent use; errors are those of Store.
type Jobs interface {
	// Lease takes or prolongs the lease of a name for a holder; false: another one has it. It keeps
	// replicas from doing the same work at once. Nothing's correctness may depend on it: it ends when
	// the store loses it, and while its holder still works.
	Lease(ctx context.Context, name, holder string, duration time.Duration) (bool, error)
	// Release gives a lease up, if the holder has it.
	Release(ctx context.Context, name, holder string) error
	// Marks returns the numbers that were noted under names, in the order of the names. A mark is 0 if
	// none was noted, if the store has lost it, or if it is no number.
	Marks(ctx context.Context, names ...string) ([]int64, error)
	// SetMark notes a number under a name, in place of the number before.
	SetMark(ctx context.Context, name string, value int64) error
}
