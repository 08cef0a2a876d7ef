package store

import (
	"context"

	"example.com/verification-status/server/internal/verification"
)

// Lists finds sessions by what they are. It is safe for concurrent use; errors are those of Store.
type Lists interface {
	// List returns one page of a list, the newest first: by update time, the sessions of a reference
	// by creation time, then by id, greatest first. A page is no snapshot. It may be short, or empty,
	// although there is more. It costs the same however many sessions are not in the list. What a list
	// holds and the record denies is not told; a record that cannot be read is logged and left out.
	List(ctx context.Context, query ListQuery) (ListPage, error)
}

// ListRepairs puts right what the lists lack. Every commit keeps them, under the retry policy that the
// store was opened with; what was written under another policy, or by a version without lists, is not
// in the right ones. It is safe for concurrent use; errors are those of Store.
type ListRepairs interface {
	// ListsRepaired is when RepairLists came to its end, the last time and the first time, with the
	// policy and the layout of this store, in Unix seconds; 0: never yet.
	ListsRepaired(ctx context.Context) (last, first int64, err error)
	// RepairLists looks through all sessions and all lists once. It may race with commits, and with
	// itself. step is called before each step, which takes some milliseconds; its error ends the
	// repair.
	RepairLists(ctx context.Context, step func(context.Context) error) (ListRepair, error)
}

// ListQuery says what to list.
type ListQuery struct {
	// Reference lists the sessions that bear it; empty: List does.
	Reference string
	// List is the list to read.
	List verification.List
	// NotAfter leaves out sessions that were updated after it, in Unix seconds; nil: none. Every number is a
	// bound, 0 too. Not by reference.
	NotAfter *int64
	// After is the place after which the page begins: the Next of the page before, or zero.
	After ListPlace
	// Limit is the number of sessions, at least 1.
	Limit int
}

// ListPlace is a place in a list: behind one session. The zero value is the beginning.
type ListPlace struct {
	// Second is its update time, or creation time by reference, in Unix seconds.
	Second int64
	// ID is the session's.
	ID string
}

// ListPage is one page of a list.
type ListPage struct {
	Sessions []verification.Session
	// Next is where the next page begins; zero: there is none.
	Next ListPlace
}

// ListRepair says what a repair of the lists has found.
type ListRepair struct {
	// Sessions were looked at.
	Sessions int
	// Added entries were missing, or stood at another time; Removed ones did not belong there.
	Added, Removed int
	// Busy sessions were written each time that they were looked at, and may still be in wrong lists.
	Busy int
}
