package verification

import "time"

// ReplacesKey is the metadata key under which a session that this service created names the session that it replaces.
// So the first input about the new session also says which session's counts it inherits.
const ReplacesKey = "verification_status_replaces"

// judgeReplacement is Judge for the replacement of a closed session. The conditions superseded and canceled are not
// denials here. The newest counted failure decides, because the cancel cleared the failure that the state showed.
func (p RetryPolicy) judgeReplacement(s Session, now time.Time) Decision {
	last := s.LastFailure
	switch {
	case s.Redaction > RedactionNone:
		return Decision{Denial: DenialRedacted}
	case s.Status == StatusVerified && !s.Replacement.Granted: // the session is not closed after all
		return Decision{Denial: DenialAlreadyVerified}
	case s.Resolution.Kind != ResolutionNone:
		return Decision{Denial: DenialResolved}
	case s.Replacement.Granted:
		return Decision{}
	case s.Status != StatusCanceled && s.Status != StatusRequiresInput:
		return Decision{Denial: DenialProcessing}
	case s.OverrideOpen():
		return Decision{}
	case !last.Granted && p.denies(last.Code):
		return Decision{Denial: DenialNotRetryable}
	case p.Remaining(s.State) == 0:
		return Decision{Denial: DenialLimitReached}
	case last.ID == 0 || last.Granted:
		return Decision{}
	}
	return p.cooldown(last.Second, now)
}

// GrantReplacement grants the one replacement of a canceled session and uses one retry. A repeated call finds the grant
// and the return URL of the first call. principal is as in GrantRetry. changed is true if the record must be stored.
func GrantReplacement(current Session, policy RetryPolicy, now time.Time, principal, returnURL string) (next Session, decision Decision, changed bool) {
	decision = policy.judgeReplacement(current, now)
	if decision.Denial != DenialNone || current.Replacement.Granted {
		return current, decision, false
	}
	next = current.clone()
	next.Replacement = Replacement{Granted: true, ReturnURL: returnURL}
	next.RetriesGranted++
	if current.OverrideOpen() {
		next.Replacement.Used = next.useAllowance()
	}
	next.recordGrant(current, now, principal)
	return next, Decision{}, true
}

// RevokeReplacement revokes the grant of a replacement that Stripe refused to create. It changes nothing if the grant
// has another return URL, or if the session has a successor.
func RevokeReplacement(current Session, returnURL string, now time.Time) (next Session, changed bool) {
	if !current.Replacement.Granted || current.Replacement.ReturnURL != returnURL || current.SupersededBy != "" {
		return current, false
	}
	next = current.clone()
	next = next.WithAllowanceBack()
	next.Replacement = Replacement{}
	next.RetriesGranted--
	next.recordOwn(current, SourceReplacement, now)
	return next, true
}

// claim notes the session that this one replaces according to an input. The first claim stays. A session that has
// inherited counts takes no claim.
func (s *Session) claim(object Object) {
	if s.Replaces == "" && s.Predecessor == "" && object.Replaces != s.ID {
		s.Replaces = object.Replaces
	}
}

// Claim notes the session that this one was created to replace. Stripe's answer to the creation proves it, so it
// overrides the claim in the metadata, which might be copied from another session.
func Claim(current Session, predecessor string) (next Session, changed bool) {
	if current.Predecessor != "" || current.Replaces == predecessor || current.ID == predecessor {
		return current, false
	}
	next = current
	next.Replaces = predecessor
	return next, true
}

// UnfinishedPredecessor returns the predecessor with which the replacement might be incomplete: this session might not
// have inherited its counts, or the predecessor might not name this session as its successor. It returns "" if there is
// no such predecessor. Accepts decides whether the replacement is valid.
func (s Session) UnfinishedPredecessor() string {
	switch {
	case s.Inherited != Inheritance{}:
		return ""
	case s.Predecessor != "": // from an older version: it notes the successor last, and no amounts
		return s.Predecessor
	}
	return s.Replaces
}

// Accepts reports whether a session that claims to replace this one really does. Everybody with access to the metadata
// can claim, so this session accepts only if its replacement was granted and it names no other successor. The claimant
// must have the same account and mode, and must not be older.
func (s Session) Accepts(claimant Session) bool {
	switch {
	case !s.Exists(), s.ID == claimant.ID, s.ID != claimant.UnfinishedPredecessor():
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

// Inherit adds the counts of the replaced session to those of its replacement, once.
func Inherit(current, predecessor Session, now time.Time) (next Session, changed bool) {
	amounts := Inheritance{predecessor.FailedAttempts, predecessor.RetriesGranted, predecessor.Overrides}
	byOlder := current.Predecessor == predecessor.ID // an older version added the counts and noted no amounts
	if current.Inherited != (Inheritance{}) || current.Predecessor != "" && !byOlder || byOlder && amounts == (Inheritance{}) {
		return current, false
	}
	next = current.clone()
	next.Inherited = amounts
	if byOlder {
		next.Overrides = max(next.Overrides, amounts.Overrides) // the older version did not know them
		return next, true
	}
	next.Predecessor = predecessor.ID
	next.FailedAttempts += amounts.FailedAttempts
	next.RetriesGranted += amounts.RetriesGranted
	next.Overrides += amounts.Overrides
	next.recordOwn(current, SourceReplacement, now)
	return next, true
}

// inheritedAt returns the revision at which the session inherited the counts of its predecessor. It returns 0 if the record no
// longer tells it, and if the session has no predecessor.
func (s *Session) inheritedAt() int32 {
	if s.Predecessor == "" {
		return 0
	}
	var before State
	for i := range s.History {
		entry := &s.History[i]
		if entry.Revision == 0 {
			continue
		}
		after := entry.Result
		more := after.FailedAttempts > before.FailedAttempts || after.RetriesGranted > before.RetriesGranted
		if entry.Source == SourceReplacement && more && after.SupersededBy == before.SupersededBy {
			return entry.Revision
		}
		before = after
	}
	return 0
}

// Supersede notes the session that replaced this one. The first successor stays.
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

// Replace is Supersede for a successor that Stripe has just created. The creation used the grant, even if another call,
// which Stripe refused, has revoked it meanwhile.
func Replace(current Session, successor string, now time.Time) (next Session, changed bool) {
	if current.SupersededBy == "" && !current.Replacement.Granted {
		current.Replacement.Granted = true
		current.RetriesGranted++
		if current.OverrideOpen() {
			current.Replacement.Used = current.useAllowance()
		}
	}
	return Supersede(current, successor, now)
}
