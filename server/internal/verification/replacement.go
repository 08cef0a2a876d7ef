package verification

import "time"

// ReplacesKey is the metadata key under which a session that this service made holds the id of the session
// that it replaces. So whatever learns of it first learns whose counts are due.
const ReplacesKey = "verification_status_replaces"

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

// claim keeps the session that an input says this one replaces. The first claim stays, and none is kept
// beside counts that were inherited already.
func (s *Session) claim(object Object) {
	if s.Replaces == "" && s.Predecessor == "" && object.Replaces != s.ID {
		s.Replaces = object.Replaces
	}
}

// Claim notes the session that this one was made to replace. Stripe's answer to the creation has said so:
// it stands above what the metadata claims, which may be copied from another session.
func Claim(current Session, predecessor string) (next Session, changed bool) {
	if current.Predecessor != "" || current.Replaces == predecessor || current.ID == predecessor {
		return current, false
	}
	next = current
	next.Replaces = predecessor
	return next, true
}

// Owes returns the session whose counts this one may still have to inherit, or which may still have to
// name this one as its successor; empty: none. Whether it has to is Accepts' to say.
func (s Session) Owes() string {
	switch {
	case s.Inherited != Inheritance{}:
		return ""
	case s.Predecessor != "": // by an older version, which notes the successor last and no amounts
		return s.Predecessor
	}
	return s.Replaces
}

// Accepts reports whether a session that claims to replace this one does so. Anyone who can set metadata
// can claim: so only a session that was granted its replacement and names no other successor accepts,
// within its account and mode, a younger one.
func (s Session) Accepts(claimant Session) bool {
	switch {
	case !s.Exists(), s.ID == claimant.ID, s.ID != claimant.Owes():
		return false
	case s.SupersededBy != "":
		return s.SupersededBy == claimant.ID
	case s.Account != claimant.Account, s.Livemode != claimant.Livemode:
		return false
	case s.Created != 0 && claimant.Created != 0 && claimant.Created < s.Created:
		return false
	}
	return s.Replacement.Granted
}

// Inherit gives a replacement the counts of the session that it replaces, once.
func Inherit(current, predecessor Session, now time.Time) (next Session, changed bool) {
	amounts := Inheritance{predecessor.FailedAttempts, predecessor.RetriesGranted}
	byOlder := current.Predecessor == predecessor.ID // the counts are there, the amounts are not noted
	if current.Inherited != (Inheritance{}) || current.Predecessor != "" && !byOlder || byOlder && amounts == (Inheritance{}) {
		return current, false
	}
	next = current.clone()
	next.Inherited = amounts
	if byOlder {
		return next, true
	}
	next.Predecessor = predecessor.ID
	next.FailedAttempts += amounts.FailedAttempts
	next.RetriesGranted += amounts.RetriesGranted
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

// Replace is Supersede for a successor that Stripe has just made. That used the grant, also if another
// call, which Stripe refused, has taken it back meanwhile.
func Replace(current Session, successor string, now time.Time) (next Session, changed bool) {
	if current.SupersededBy == "" && !current.Replacement.Granted {
		current.Replacement.Granted = true
		current.RetriesGranted++
	}
	return Supersede(current, successor, now)
}
