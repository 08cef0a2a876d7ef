package verification

import "time"

// List is a list in which sessions can be found by what they are.
type List uint8

// The lists. A session has one status, at most one denial, and may be in doubt beside: it is in up to
// three of them.
const (
	ListRequiresInput List = iota
	// ListProcessing also has the sessions of a status that is not known: somebody must look.
	ListProcessing
	ListVerified
	ListCanceled
	// ListLimitReached and ListNotRetryable are those whom a RetryPolicy denies a retry.
	ListLimitReached
	ListNotRetryable
	// ListInDoubt are the pending ones.
	ListInDoubt

	// ListCount is the number of lists.
	ListCount = iota
)

// Lists is a set of lists. The zero value is none.
type Lists uint8

// Has reports whether a list is in the set.
func (l Lists) Has(list List) bool { return l&(1<<list) != 0 }

func (l Lists) with(list List) Lists { return l | 1<<list }

// Lists says in which lists a session belongs under a policy. The clock has no say: a cooldown passes
// without an input, and a list is kept by inputs. What was redacted or shrunk is in none.
func (p RetryPolicy) Lists(s Session) Lists {
	var in Lists
	if !s.Exists() || s.Tombstone() || s.Stub() {
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
	default: // passes by itself, or follows from the status
	}
	if s.Pending {
		in = in.with(ListInDoubt)
	}
	return in
}
