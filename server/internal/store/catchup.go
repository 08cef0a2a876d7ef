package store

import "context"

// CatchUp is what must be remembered to make up for missed and lost events. It is safe for
// concurrent use; errors are those of Store.
type CatchUp interface {
	Jobs
	// Due returns the sessions of a partition whose record asks to be read from Stripe again by a
	// time in Unix seconds (see verification.Session.DueAt), the longest due first without the first skip
	// of them, limit at the most.
	Due(ctx context.Context, partition int, by int64, skip, limit int) ([]string, error)
	// Accounts returns the connected accounts of which a session is known, in no order.
	Accounts(ctx context.Context) ([]string, error)
	// Cursor returns the Unix second up to which an account's events (the platform's own with an
	// empty name) have been caught up; 0: never, or the store has lost it.
	Cursor(ctx context.Context, account string) (int64, error)
	// SetCursor notes how far an account's events have been caught up. It never falls.
	SetCursor(ctx context.Context, account string, second int64) error
}
