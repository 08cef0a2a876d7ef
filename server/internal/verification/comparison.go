package verification

import (
	"slices"
	"time"
)

// MaxComparisons is how many entries of comparisons a history keeps.
const MaxComparisons = 8

// comparisonWindow is the time, in seconds, in which a session can be compared as often as the limit says.
const comparisonWindow = 24 * 60 * 60

// ComparedFields is a set of the fields of a comparison. Bit n stands for the field number n+2 of the request in the API
// contract. It holds no values.
type ComparedFields uint16

// Compare notes that a caller compares verified outputs of the session. The caller notes it before Stripe is asked, so that
// callers at the same time on several servers cannot pass the limit. If the session was compared limit times within the last
// 24 hours, changed is false and again is when the next comparison is allowed. A limit of 0 allows none. changed is also false, and
// again zero, if the session is not known.
func Compare(current Session, limit int, now time.Time, principal string, fields ComparedFields) (next Session, again time.Time, changed bool) {
	if !current.Exists() {
		return current, time.Time{}, false
	}
	next = current.clone()
	next.Comparisons = slices.DeleteFunc(next.Comparisons, func(second int64) bool {
		age := now.Unix() - second
		return age >= comparisonWindow || age <= -comparisonWindow // the clock of a server was a day ahead
	})
	if count := len(next.Comparisons); count >= limit {
		again = now.Add(comparisonWindow * time.Second)
		if limit > 0 {
			again = time.Unix(next.Comparisons[count-limit]+comparisonWindow, 0)
		}
		return current, again, false
	}
	next.Comparisons = append(next.Comparisons, now.Unix())
	slices.Sort(next.Comparisons) // the clocks of servers differ
	next.trimComparisons()
	entry := next.ownEntry(SourceComparison, now)
	entry.Effect, entry.Principal, entry.Compared = 0, principal, fields
	next.record(current, entry)
	return next, time.Time{}, true
}

// trimComparisons makes room for one more entry of a comparison.
func (s *Session) trimComparisons() {
	entries := 0
	for _, entry := range s.History {
		if entry.Source == SourceComparison {
			entries++
		}
	}
	for i := 0; entries >= MaxComparisons && i < len(s.History); {
		if s.History[i].Source != SourceComparison {
			i++
			continue
		}
		s.History = slices.Delete(s.History, i, i+1)
		entries--
	}
}
