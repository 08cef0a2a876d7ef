package store

import (
	"context"

	"example.com/verification-status/server/internal/verification"
)

// Lists finds sessions by their condition or reference. It is safe for concurrent use. It returns the errors of Store.
type Lists interface {
	// List returns one page of a list. The newest session comes first: by update time or, if Reference is set, by creation
	// time; then by id, the greatest first. A page is not a snapshot. It can be short or empty although more sessions
	// follow. Its cost does not depend on the number of sessions outside the list. An entry that contradicts the record
	// is left out. A record that cannot be read is logged and left out.
	List(ctx context.Context, query ListQuery) (ListPage, error)
}

// ListRepairs repairs the lists. Every commit updates them under the retry policy that the store was opened with. A session
// that was written under another policy, or by a version without lists, can be in the wrong lists. It is safe for
// concurrent use. It returns the errors of Store.
type ListRepairs interface {
	// ListsRepaired returns when RepairLists last and first completed with the policy and the layout of this store, in
	// Unix seconds. It returns 0 if RepairLists never completed.
	ListsRepaired(ctx context.Context) (last, first int64, err error)
	// RepairLists checks all sessions and all lists once. It can run at the same time as commits and as another
	// RepairLists. It calls step before each step, which takes some milliseconds, and ends with an error of step.
	RepairLists(ctx context.Context, step func(context.Context) error) (ListRepair, error)
}

// ListQuery selects a page of a list.
type ListQuery struct {
	// Reference selects the sessions with this reference. If it is empty, List selects the list.
	Reference string
	// List is the list to read.
	List verification.List
	// NotAfter leaves out the sessions that were updated after this Unix second. nil leaves out none; 0 is a bound like
	// every other number. It has no effect if Reference is set.
	NotAfter *int64
	// After is the cursor after which the page begins: ListPage.Next of the page before, or zero for the first page.
	After ListCursor
	// Limit is the number of sessions, at least 1.
	Limit int
}

// ListCursor is a cursor: the position after one session in a list. The zero value is the beginning of the list.
type ListCursor struct {
	// Second is the update time of the session or, if the query has a reference, its creation time, in Unix seconds.
	Second int64
	// ID is the id of the session.
	ID string
}

// ListPage is one page of a list.
type ListPage struct {
	Sessions []verification.Session
	// Next is the cursor for the next page. It is zero if this is the last page.
	Next ListCursor
}

// ListRepair is the result of a repair of the lists.
type ListRepair struct {
	// Sessions counts the sessions that were checked.
	Sessions int
	// Added counts the entries that were missing or had another time. Removed counts the entries that did not belong in
	// their list.
	Added, Removed int
	// Busy counts the sessions that were written at every check. They can still be in the wrong lists.
	Busy int
}
