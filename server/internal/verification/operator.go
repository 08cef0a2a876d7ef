package verification

import "time"

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
	// Failure is the FailureID of the failure that it is for. It is 0 for a failure that is not counted yet, and for the
	// replacement of a session without one.
	Failure uint64
	// Replacement is true if the session was closed when the operator gave it. It is then for the replacement alone, also if
	// the failure has its grant.
	Replacement bool
}

// judgedFailure returns the FailureID of the failure by which a retry is judged, and whether a retry was granted for it. The id
// is 0 for a failure that the state shows and that is not counted yet, and if there is no failure.
func (s State) judgedFailure() (id uint64, granted bool) {
	uncounted := s.ShownFailure == 0 && !s.Error.IsZero() && s.Error.Code != CodeAbandoned
	if uncounted {
		return 0, false
	}
	judged := s.judged()
	return judged.ID, judged.Granted
}

// OverrideOpen reports whether an operator's allowance is open: it is for the failure by which a retry is judged, no grant has
// used it, and nothing superseded or redacted the session.
func (s State) OverrideOpen() bool {
	if !s.Allowance.Given || s.SupersededBy != "" || s.Redaction > RedactionNone {
		return false
	}
	failure, granted := s.judgedFailure()
	if s.Allowance.Failure != failure {
		return false
	}
	if s.Allowance.Replacement {
		return s.Status == StatusCanceled
	}
	return !granted
}

// useAllowance notes that a grant uses the allowance, and returns the allowance.
func (s *Session) useAllowance() (used Allowance) {
	used, s.Allowance = s.Allowance, Allowance{}
	s.Overrides++
	return used
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
	next.recordOperator(current, now, principal)
	return next, Decision{}, true
}

// ResolveVerification notes how an operator dealt with the person elsewhere. ResolutionNone takes an earlier resolution back. It changes
// nothing if the session is resolved in that way already. principal is as in AllowRetry; a record without details keeps none.
// changed is true if the record must be stored.
func ResolveVerification(current Session, kind ResolutionKind, now time.Time, principal string) (next Session, changed bool) {
	if !current.Exists() || current.Resolution.Kind == kind {
		return current, false
	}
	next = current.clone()
	next.Resolution = Resolution{}
	if kind != ResolutionNone {
		next.Resolution = Resolution{Kind: kind, Principal: principal, Second: now.Unix()}
	}
	if current.detailsErased() {
		next.Resolution.Principal = ""
	}
	next.recordOperator(current, now, principal)
	return next, true
}

// recordOperator appends the entry of an operator. An absence at Stripe continues: the operator did not ask Stripe.
func (s *Session) recordOperator(before Session, now time.Time, principal string) {
	entry := s.ownEntry(SourceOperator, now)
	entry.Principal = principal
	s.record(before, entry)
	if before.Absence.Revision == before.Revision {
		s.Absence.Revision = s.Revision
	}
}

// Operation is what an operator did to a session.
type Operation uint8

// The operations. The API contract has the same numbers.
const (
	OperationNone       Operation = 0
	OperationAllowRetry Operation = 1
	OperationResolve    Operation = 2
	OperationTakeBack   Operation = 3
)

// Operation returns what the operator of an entry did. before is the state before the entry. It returns OperationNone for the entry
// of another source, and if its details are erased.
func (e Entry) Operation(before State) Operation {
	switch {
	case e.Source != SourceOperator || e.Revision == 0:
		return OperationNone
	case e.Result.Resolution == before.Resolution:
		return OperationAllowRetry
	case e.Result.Resolution.Kind == ResolutionNone:
		return OperationTakeBack
	default:
		return OperationResolve
	}
}
