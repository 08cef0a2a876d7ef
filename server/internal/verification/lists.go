package verification

import "time"

// List is one of the lists that callers can read: the sessions in one condition.
type List uint8

// The lists. A session is in at most three of them: it has one status, at most one denial, and can be unresolved.
const (
	ListRequiresInput List = iota
	// ListProcessing also holds the sessions whose status this version does not know. An operator should look at them.
	ListProcessing
	ListVerified
	ListCanceled
	// ListLimitReached and ListNotRetryable hold the sessions for which a RetryPolicy denies a retry.
	ListLimitReached
	ListNotRetryable
	// ListInDoubt holds the unresolved sessions.
	ListInDoubt

	// ListCount is the number of lists.
	ListCount = iota
)

// Lists is a set of lists. The zero value is the empty set.
type Lists uint8

// Has reports whether a list is in the set.
func (l Lists) Has(list List) bool { return l&(1<<list) != 0 }

func (l Lists) with(list List) Lists { return l | 1<<list }

// Lists returns the lists that a session belongs in under the policy. The result does not depend on the clock, because
// only an input updates a list and a cooldown ends without one. Redacted, archived and absent sessions are
// in no list.
func (p RetryPolicy) Lists(s Session) Lists {
	var in Lists
	if !s.Exists() || s.Tombstone() || s.IsArchived() || s.IsAbsent() {
		return in
	}
	switch s.Status {
	case StatusRequiresInput:
		in = in.with(ListRequiresInput)
	case StatusVerified:
		in = in.with(ListVerified)
	case StatusCanceled:
		in = in.with(ListCanceled)
	default:
		in = in.with(ListProcessing)
	}
	switch p.Judge(s.State, time.Time{}).Denial {
	case DenialLimitReached:
		in = in.with(ListLimitReached)
	case DenialNotRetryable:
		in = in.with(ListNotRetryable)
	default: // the denial ends by itself, or follows from the status
	}
	if s.Unresolved {
		in = in.with(ListInDoubt)
	}
	return in
}
