package store

import "context"

// CatchUp stores what is needed to make up for missed and lost events. It is safe for concurrent use. It returns the errors
// of Store.
type CatchUp interface {
	Jobs
	// Due returns at most limit session ids of a partition whose records are due at the Unix second by (see
	// verification.Session.DueAt). The one that has been due longest comes first. Due leaves out the first skip of them.
	Due(ctx context.Context, partition int, by int64, skip, limit int) ([]string, error)
	// Absent returns at most limit session ids of a partition whose records are absent (see verification.Session.IsAbsent),
	// always in the same order. Absent leaves out the first skip of them.
	Absent(ctx context.Context, partition, skip, limit int) ([]string, error)
	// Accounts returns the connected accounts of which a session is stored, in no order.
	Accounts(ctx context.Context) ([]string, error)
	// Cursor returns the Unix second up to which an account's events have been caught up. The platform has the empty
	// name. It returns 0 if there is no cursor, or if the store has lost it. It returns ErrCorrupt if the cursor cannot be
	// read.
	Cursor(ctx context.Context, account string) (int64, error)
	// SetCursor stores the cursor of an account. A cursor never decreases: SetCursor ignores a smaller second.
	SetCursor(ctx context.Context, account string, second int64) error
}
