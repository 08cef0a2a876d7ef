package verification

import (
	"slices"
	"time"
)

// CodeAbandoned is Stripe's error code for a submission that the person began and never finished.
const CodeAbandoned = "abandoned"

// DefaultDenyCodes returns the error codes that another try cannot fix. Stripe bills each submission, and the person
// needs another way or somebody to talk to.
func DefaultDenyCodes() []string {
	return []string{"consent_declined", "country_not_supported", "selfie_manipulated", "under_supported_age"}
}

// RetryPolicy says how often and when a person may try again. The zero value grants no retry.
type RetryPolicy struct {
	// MaxRetries is how many retries are granted to a session and all sessions that it replaces. 0 grants none.
	MaxRetries int32
	// DenyCodes are Stripe's error codes for which no retry is granted.
	DenyCodes []string
	// Cooldown is the least time from a failure to a retry. 0 means no cooldown.
	Cooldown time.Duration
}

// Denial is the reason for which a retry is refused. The API contract has the same numbers.
type Denial uint8

// The denials. DenialNone means that the retry is not denied.
const (
	DenialNone            Denial = 0
	DenialProcessing      Denial = 1
	DenialAlreadyVerified Denial = 2
	DenialCanceled        Denial = 3
	DenialRedacted        Denial = 4
	DenialLimitReached    Denial = 5
	DenialNotRetryable    Denial = 6
	DenialSuperseded      Denial = 7
	DenialCooldown        Denial = 8
	DenialResolved        Denial = 9
)

// Decision is the decision of a policy about a retry.
type Decision struct {
	Denial Denial
	// NextRetry is the end of the cooldown. It is zero for every other denial.
	NextRetry time.Time
}

// Remaining returns how many retries can still be granted without an operator. Retries that an operator allowed do not count.
func (p RetryPolicy) Remaining(state State) int32 {
	return max(0, p.MaxRetries-(state.RetriesGranted-state.Overrides))
}

// Judge returns what RetryVerification would answer. The order of the denials is fixed. The denials not_retryable,
// limit_reached and cooldown do not apply to a failure that has its grant: a repeated call uses nothing. They do not apply
// either while an operator's allowance is open.
func (p RetryPolicy) Judge(state State, now time.Time) Decision {
	switch {
	case state.SupersededBy != "":
		return Decision{Denial: DenialSuperseded}
	case state.Redaction > RedactionNone:
		return Decision{Denial: DenialRedacted}
	case state.Status == StatusCanceled:
		return Decision{Denial: DenialCanceled}
	case state.Status == StatusVerified:
		return Decision{Denial: DenialAlreadyVerified}
	case state.Resolution.Kind != ResolutionNone:
		return Decision{Denial: DenialResolved}
	case state.Status != StatusRequiresInput:
		return Decision{Denial: DenialProcessing}
	case state.ShownGranted, state.OverrideOpen():
		return Decision{}
	case p.denies(state.Error.Code):
		return Decision{Denial: DenialNotRetryable}
	}
	failure := state.judged()
	switch {
	// Without a counted failure the caller gets a link and uses no retry.
	case failure.ID == 0, failure.Granted:
		return Decision{}
	case p.denies(failure.Code):
		return Decision{Denial: DenialNotRetryable}
	case p.Remaining(state) == 0:
		return Decision{Denial: DenialLimitReached}
	}
	return p.cooldown(failure.Second, now)
}

func (p RetryPolicy) denies(code string) bool {
	return code != "" && slices.Contains(p.DenyCodes, code)
}

func (p RetryPolicy) cooldown(failure int64, now time.Time) Decision {
	next := time.Unix(failure, 0).Add(p.Cooldown)
	if p.Cooldown > 0 && now.Before(next) {
		return Decision{Denial: DenialCooldown, NextRetry: next}
	}
	return Decision{}
}

// GrantRetry grants one retry for the failure that decides: the one that the state shows or, without one, the newest
// counted failure. A repeated call for the same failure finds its grant and uses nothing. If no failure is counted there
// is nothing to grant, and the person may continue. principal is the name of the caller; the history keeps it. changed
// is true if the record must be stored.
func GrantRetry(current Session, policy RetryPolicy, now time.Time, principal string) (next Session, decision Decision, changed bool) {
	decision = policy.Judge(current.State, now)
	failure := current.judged()
	// An operator can allow a try for a shown failure that is not counted yet. Its grant waits until it is.
	uncounted := current.OverrideOpen() && current.Allowance.Failure != failure.ID
	if decision.Denial != DenialNone || failure.ID == 0 || failure.Granted || uncounted {
		return current, decision, false
	}
	next = current.clone()
	next.grant(failure.ID)
	next.RetriesGranted++
	if current.OverrideOpen() {
		next.useAllowance()
	}
	next.recordGrant(current, now, principal)
	return next, Decision{}, true
}

// recordOwn appends the entry of something that this service did itself. It has no Stripe time, because Stripe does not
// know of it.
func (s *Session) recordOwn(before Session, source Source, now time.Time) {
	s.record(before, s.ownEntry(source, now))
}

// recordGrant appends the entry of a grant, with the name of the caller that got it.
func (s *Session) recordGrant(before Session, now time.Time, principal string) {
	entry := s.ownEntry(SourceRetry, now)
	entry.Principal = principal
	s.record(before, entry)
}

func (s *Session) ownEntry(source Source, now time.Time) Entry {
	return Entry{Source: source, Effect: EffectApplied, RecordTime: now.UnixMilli(), Status: s.Status, Error: s.Error}
}
