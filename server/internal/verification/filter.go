package verification

import "slices"

// Filter selects changes of a watch of all sessions. The zero value selects all.
type Filter struct {
	// OutcomesOnly leaves out changes that brought no outcome, and those that an import made.
	OutcomesOnly bool
	// Statuses leaves out changes after which the status is not one of these. Empty: any.
	Statuses []string
}

// IsZero reports whether the filter selects every change.
func (f Filter) IsZero() bool { return !f.OutcomesOnly && len(f.Statuses) == 0 }

// Select returns what a watch of all sessions sends for the feed entry of a revision, given the record as it is now. ok is false
// if it sends nothing: the filter leaves the change out, or a redaction or a cut of the history removed it, and a newer entry
// follows.
//
// A filter leaves a change out only if the record still tells the revision that brought its outcome. Otherwise Select returns
// the oldest change that the record still tells, with the key of its outcome, whatever the filter: the watch might never have
// shown an outcome of before. A filter that is not zero leaves out what an import found.
func (f Filter) Select(s Session, revision int32) (change Change, ok bool) {
	change, ok = s.firstAfter(revision - 1)
	if !ok || change.Revision != revision {
		return Change{}, false
	}
	if f.IsZero() {
		return change, true
	}
	brought := change.Outcome.Revision == revision
	floor := s.Floor()
	switch {
	case change.imported && brought:
		return Change{}, false
	// With statuses also if the oldest change brought an outcome: a change before it might have had one of them.
	case !change.imported && revision == floor && (change.Outcome.Revision < floor || floor > 1 && len(f.Statuses) > 0):
		return change, true
	case f.OutcomesOnly && !brought, !f.hasStatus(change.State.Status):
		return Change{}, false
	}
	return change, true
}

// hasStatus reports whether the filter selects a status.
func (f Filter) hasStatus(status string) bool {
	return len(f.Statuses) == 0 || slices.Contains(f.Statuses, status)
}
