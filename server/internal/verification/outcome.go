package verification

import "slices"

// OutcomeID is the name of an outcome: the same outcome of the same session always has the same one, also if the store has lost
// it and it arrived again. The zero value is no name.
type OutcomeID [16]byte

// OutcomeKey is the key under which a program acts once on an outcome. An outcome is what an input made of status, error and
// report. Grants, counts, references, redaction and the archive change no outcome.
type OutcomeKey struct {
	// Revision is the newest revision at which status, error or report came to differ from those of the revision before.
	// The first revision is one. 0 means that the session does not exist.
	Revision int32
	// ID is the name of the outcome.
	ID OutcomeID
}

// Filter selects changes of a watch of all sessions. The zero value selects all.
type Filter struct {
	// OutcomesOnly leaves out changes that brought no outcome, and those that an import made.
	OutcomesOnly bool
	// Statuses leaves out changes after which the status is not one of these. Empty: any.
	Statuses []string
}

// IsZero reports whether the filter selects every change.
func (f Filter) IsZero() bool { return !f.OutcomesOnly && len(f.Statuses) == 0 }

// hasStatus reports whether the filter selects a status.
func (f Filter) hasStatus(status string) bool {
	return len(f.Statuses) == 0 || slices.Contains(f.Statuses, status)
}
