package verification

import (
	"slices"
	"time"
)

// CodeAbandoned is the error of a submission that was begun and never made.
const CodeAbandoned = "abandoned"

// DefaultDenyCodes are the errors that trying again cannot mend: Stripe bills each submission, and
// the person needs another way or a person to talk to.
func DefaultDenyCodes() []string {
	return []string{"consent_declined", "country_not_supported", "selfie_manipulated", "under_supported_age"}
}

// RetryPolicy says how often and when a person may try again.
type RetryPolicy struct {
	// MaxRetries is how many retries are granted over a chain of replaced sessions; 0 grants none.
	MaxRetries int32
	// DenyCodes are Stripe's error codes for which no retry is granted.
	DenyCodes []string
	// Cooldown is the least time from a failure to a retry; 0: none.
	Cooldown time.Duration
}

// Denial says why a retry is refused. The numbers are the contract's.
type Denial uint8

// The denials; DenialNone is no denial.
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
)

// Decision is what a policy says about a retry.
type Decision struct {
	Denial Denial
	// NextRetry is from when on, with DenialCooldown.
	NextRetry time.Time
}

// Remaining is how many retries may still be granted.
func (p RetryPolicy) Remaining(state State) int32 {
	return max(0, p.MaxRetries-state.RetriesGranted)
}

// Judge says what RetryVerification would answer, in the fixed order of the denials. A failure that
// has its grant is past the last three: repeating a call uses nothing.
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
	case state.Status != StatusRequiresInput:
		return Decision{Denial: DenialProcessing}
	case state.ShownGranted:
		return Decision{}
	case p.denies(state.Error.Code):
		return Decision{Denial: DenialNotRetryable}
	}
	failure := state.judged()
	switch {
	// Without a counted failure a link is given and nothing is used.
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

// GrantRetry grants a retry for the failure that is judged (the one shown, else the newest counted),
// once: the same failure asked for again has its grant, and nothing is used. Where no failure is
// counted there is nothing to grant and the person may continue. principal is who asked, by name; the
// history keeps it. changed says that the record must be stored.
func GrantRetry(current Session, policy RetryPolicy, now time.Time, principal string) (next Session, decision Decision, changed bool) {
	decision = policy.Judge(current.State, now)
	failure := current.judged()
	if decision.Denial != DenialNone || failure.ID == 0 || failure.Granted {
		return current, decision, false
	}
	next = current.clone()
	next.grant(failure.ID)
	next.RetriesGranted++
	next.recordGrant(current, now, principal)
	return next, Decision{}, true
}

// recordOwn adds the entry of something that this service did itself. Stripe knows nothing of it, so
// there is no time at Stripe.
func (s *Session) recordOwn(before Session, source Source, now time.Time) {
	s.record(before, s.ownEntry(source, now))
}

// recordGrant adds the entry of a grant, with the name of who got it.
func (s *Session) recordGrant(before Session, now time.Time, principal string) {
	entry := s.ownEntry(SourceRetry, now)
	entry.Principal = principal
	s.record(before, entry)
}

func (s *Session) ownEntry(source Source, now time.Time) Entry {
	return Entry{Source: source, Effect: EffectApplied, RecordTime: now.UnixMilli(), Status: s.Status, Error: s.Error}
}
