package verification

import "time"

// judgeReplacement is Judge for a closed session that shall be replaced: superseded and canceled are
// no denials, and the newest counted failure stands for the one that the cancel cleared.
func (p RetryPolicy) judgeReplacement(s Session, now time.Time) Decision {
	last := s.LastFailure
	switch {
	case s.Redaction > RedactionNone:
		return Decision{Denial: DenialRedacted}
	case s.Replacement.Granted:
		return Decision{}
	case s.Status == StatusVerified: // a caller whose session is not closed after all
		return Decision{Denial: DenialAlreadyVerified}
	case s.Status != StatusCanceled && s.Status != StatusRequiresInput:
		return Decision{Denial: DenialProcessing}
	case !last.Granted && p.denies(last.Code):
		return Decision{Denial: DenialNotRetryable}
	case p.Remaining(s.State) == 0:
		return Decision{Denial: DenialLimitReached}
	case last.ID == 0 || last.Granted:
		return Decision{}
	}
	return p.cooldown(last.Second, now)
}

// GrantReplacement grants the one replacement of a canceled session. It uses a retry. Asked for
// again it is found, with the return URL of the first caller. principal is as in GrantRetry.
func GrantReplacement(current Session, policy RetryPolicy, now time.Time, principal, returnURL string) (next Session, decision Decision, changed bool) {
	decision = policy.judgeReplacement(current, now)
	if decision.Denial != DenialNone || current.Replacement.Granted {
		return current, decision, false
	}
	next = current.clone()
	next.Replacement = Replacement{Granted: true, ReturnURL: returnURL}
	next.RetriesGranted++
	next.recordGrant(current, now, principal)
	return next, Decision{}, true
}

// RevokeReplacement takes back the grant of a replacement that Stripe refused to make, if it still is
// the one that was asked for with this return URL.
func RevokeReplacement(current Session, returnURL string, now time.Time) (next Session, changed bool) {
	if current.Replacement != (Replacement{Granted: true, ReturnURL: returnURL}) || current.SupersededBy != "" {
		return current, false
	}
	next = current.clone()
	next.Replacement = Replacement{}
	next.RetriesGranted--
	next.recordOwn(current, SourceReplacement, now)
	return next, true
}

// Inherit gives a replacement the counts of the session that it replaces, once.
func Inherit(current, predecessor Session, now time.Time) (next Session, changed bool) {
	if current.Predecessor != "" {
		return current, false
	}
	next = current.clone()
	next.Predecessor = predecessor.ID
	next.FailedAttempts += predecessor.FailedAttempts
	next.RetriesGranted += predecessor.RetriesGranted
	next.recordOwn(current, SourceReplacement, now)
	return next, true
}

// Supersede notes the session that replaced this one. The first one stays.
func Supersede(current Session, successor string, now time.Time) (next Session, changed bool) {
	if current.SupersededBy != "" {
		return current, false
	}
	next = current.clone()
	next.SupersededBy = successor
	next.Replacement.ReturnURL = ""
	next.recordOwn(current, SourceReplacement, now)
	return next, true
}
