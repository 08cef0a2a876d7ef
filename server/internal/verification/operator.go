package verification

import (
	"fmt"
	"slices"
	"time"
)

// ResolutionKind is how an operator dealt with a person outside of Stripe Identity. The API contract has the same numbers.
type ResolutionKind uint8

// The kinds. ResolutionNone means that nobody dealt with the person.
const (
	ResolutionNone              ResolutionKind = 0
	ResolutionVerifiedElsewhere ResolutionKind = 1
	ResolutionDeclined          ResolutionKind = 2
	ResolutionClosed            ResolutionKind = 3
)

// Resolution is an operator's mark on a session: the person was dealt with elsewhere. It holds no free text, so that it holds
// nothing personal of the person.
type Resolution struct {
	Kind ResolutionKind
	// Principal is the name of the operator, at most 255 bytes. It is empty if callers have no names, and in a record without
	// details: a redaction and the archive erase it.
	Principal string
	// Second is when the operator said so, in Unix seconds of this service's clock.
	Second int64
}

// Allowance is an operator's permission for one more try, for one failure. The zero value is none.
type Allowance struct {
	// Given is true if there is an allowance.
	Given bool
	// Failure is the id of the failure that it is for: see State.judgedFailure. It is 0 for the replacement of a session that
	// has never failed.
	Failure uint64
	// Replacement is true if the session was closed when the operator gave it. It is then for the replacement alone, also if
	// the failure has its grant.
	Replacement bool
}

// MaxOperations is how many changes by operators one session takes within OperationWindow. More would push what happened to the
// session out of its history.
const (
	MaxOperations   = 32
	OperationWindow = time.Hour
)

// NextOperation returns when the next change by an operator is allowed. It returns the zero time if it is allowed now.
func (s Session) NextOperation(now time.Time) time.Time {
	var times []int64 // in Unix milliseconds
	for i := range s.History {
		entry := &s.History[i]
		age := now.Sub(time.UnixMilli(entry.RecordTime))
		if entry.Source == SourceOperator && age < OperationWindow && age > -OperationWindow { // the clock of a server was an hour ahead
			times = append(times, entry.RecordTime)
		}
	}
	if len(times) < MaxOperations {
		return time.Time{}
	}
	slices.Sort(times) // the clocks of servers differ
	return time.UnixMilli(times[len(times)-MaxOperations]).Add(OperationWindow)
}

// judgedFailure returns the id of the failure by which a retry is judged, and whether a retry was granted for it. The id is that of
// the counted failure that the state shows, or that of the failure that it shows and that is not counted yet, or that of the newest
// counted failure. It is 0 if there is no failure.
func (s State) judgedFailure() (id uint64, granted bool) {
	if uncounted := s.uncountedFailure(); uncounted != 0 {
		return uncounted, false
	}
	judged := s.judged()
	return judged.ID, judged.Granted
}

// uncountedFailure returns an id of the failure that the state shows, if it is not counted yet: a read brought it, and its event,
// which has its identity, is still to come. It returns 0 if there is no such failure. Only an allowance keeps this id.
func (s State) uncountedFailure() uint64 {
	if s.ShownFailure != 0 || s.Error.IsZero() || s.Error.Code == CodeAbandoned {
		return 0
	}
	return FailureID("", fmt.Sprintf("%d %s", s.UpdateTime, s.Error.Code))
}

// moveAllowance changes the id of the failure that an allowance is for. Before and after it is the same failure.
func (s *Session) moveAllowance(from, to uint64) {
	for _, allowance := range []*Allowance{&s.Allowance, &s.Replacement.Used} {
		if allowance.Given && allowance.Failure == from {
			allowance.Failure = to
		}
	}
}

// identifyUncounted moves an allowance for a failure that was not counted to the identity that an input has just given to the same
// failure. before is the record before the input, and second is Stripe's second of the input if it is an event, otherwise 0. An
// event that is later than the read which showed the failure is of another failure, even if that looks the same: one allowance
// must not be for two tries.
func (s *Session) identifyUncounted(before Session, second int64) {
	uncounted := before.uncountedFailure()
	if uncounted == 0 || second > before.UpdateTime || s.Status != before.Status || s.Error != before.Error || s.Report != before.Report {
		return
	}
	id, _ := s.judgedFailure() // the same failure can also be shown again at a later second, still uncounted
	s.moveAllowance(uncounted, id)
}

// OverrideOpen reports whether an operator's allowance is open: it is for the failure by which a retry is judged, no grant has
// used it, and nothing superseded or redacted the session.
func (s State) OverrideOpen() bool {
	if !s.Allowance.Given || s.SupersededBy != "" || s.Redaction > RedactionNone {
		return false
	}
	failure, granted := s.judgedFailure()
	return s.Allowance.Failure == failure && (s.Allowance.Replacement || !granted)
}

// useAllowance notes that a grant uses the allowance, and returns the allowance.
func (s *Session) useAllowance() (used Allowance) {
	used, s.Allowance = s.Allowance, Allowance{}
	s.Overrides++
	return used
}

// WithAllowanceBack returns the record without the use of an allowance by the grant of a replacement, which was revoked. The allowance
// is as before the grant, unless a redaction or the archive has erased for which failure it is.
func (s Session) WithAllowanceBack() Session {
	used := s.Replacement.Used
	if !used.Given {
		return s
	}
	if s.Replacement.Used = (Allowance{}); used.Failure != 0 || !s.detailsErased() {
		s.Allowance = used
	}
	s.Overrides--
	return s
}

// eraseUsed erases for which failure the grant of a replacement used an allowance. That it used one stays, for the counts.
func (s *Session) eraseUsed() {
	s.Replacement.Used = Allowance{Given: s.Replacement.Used.Given}
}

// AllowRetry lets the person try once more, for the failure by which a retry is judged or, if the session is closed, for its
// replacement. It lifts the denials limit_reached, not_retryable and cooldown. It changes nothing if a retry is allowed already,
// and if it is refused for another reason: then decision has the denial. principal is the name of the operator; the history
// keeps it. changed is true if the record must be stored.
func AllowRetry(current Session, policy RetryPolicy, now time.Time, principal string) (next Session, decision Decision, changed bool) {
	closed := current.Status == StatusCanceled && current.SupersededBy == ""
	if closed {
		decision = policy.judgeReplacement(current, now)
	} else {
		decision = policy.Judge(current.State, now)
	}
	switch decision.Denial {
	case DenialLimitReached, DenialNotRetryable, DenialCooldown:
	default:
		return current, decision, false
	}
	next = current.clone()
	failure, _ := current.judgedFailure()
	next.Allowance = Allowance{Given: true, Failure: failure, Replacement: closed}
	next.recordOperator(current, now, principal, OperationAllowRetry)
	return next, Decision{}, true
}

// ResolveVerification notes how an operator dealt with the person elsewhere. ResolutionNone takes an earlier resolution back. It
// changes nothing if the session is resolved in that way already. principal is as in AllowRetry; a record without details keeps
// none. changed is true if the record must be stored.
func ResolveVerification(current Session, kind ResolutionKind, now time.Time, principal string) (next Session, changed bool) {
	if !current.Exists() || current.Resolution.Kind == kind {
		return current, false
	}
	next = current.clone()
	next.Resolution = Resolution{Kind: kind, Principal: principal, Second: now.Unix()}
	operation := OperationResolve
	if kind == ResolutionNone {
		next.Resolution, operation = Resolution{}, OperationTakeBack
	}
	if current.detailsErased() {
		next.Resolution.Principal = ""
	}
	next.recordOperator(current, now, principal, operation)
	return next, true
}

// recordOperator appends the entry of an operator. An absence at Stripe continues: the operator did not ask Stripe.
func (s *Session) recordOperator(before Session, now time.Time, principal string, operation Operation) {
	entry := s.ownEntry(SourceOperator, now)
	entry.Principal, entry.Operation = principal, operation
	s.record(before, entry)
	if before.Absence.Revision == before.Revision {
		s.Absence.Revision = s.Revision
	}
}

// Operation is what an operator did to a session. The history of a record without details keeps it: it tells nothing of a person.
type Operation uint8

// The operations. The API contract has the same numbers.
const (
	OperationNone       Operation = 0
	OperationAllowRetry Operation = 1
	OperationResolve    Operation = 2
	OperationTakeBack   Operation = 3
)
