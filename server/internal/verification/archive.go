package verification

import "time"

// ArchiveLife is how long an archived record must be kept, in seconds. After this time Stripe can neither send nor list an
// event that the record would have to recognize.
const ArchiveLife = EventIDLife + 24*60*60

// IsArchived reports whether the session is archived: Archive removed its details, and no later input brought new ones. Only
// settled sessions are archived.
func (s Session) IsArchived() bool {
	if !s.Exists() || s.Tombstone() || !s.settledAtStripe() {
		return false
	}
	return s.ArchivedAt == s.Revision || s.archivedUnmarked()
}

// archivedUnmarked reports whether a version that set no mark archived the session. Then the history has no entry of the
// current revision. The bound of the history can also remove that entry, but it leaves a full history that does not
// begin with an erased entry: an erased entry is older and is trimmed first.
func (s Session) archivedUnmarked() bool {
	if s.Reference != "" || s.Report != "" || !s.Error.IsZero() {
		return false
	}
	for _, entry := range s.History {
		if entry.Revision != 0 {
			return false
		}
	}
	return len(s.History) < MaxHistory || s.History[0].erased()
}

// detailsErased reports whether a redaction or the archive removed the details. An input that repeats the state then
// restores none of them.
func (s Session) detailsErased() bool { return s.Tombstone() || s.IsArchived() }

// Archive archives a session that has been settled for longer than keep. It keeps what a tombstone has: status, revision,
// position, counts, event ids and effects, and failure hashes. It removes the reason, the reference, the report and the
// details of the history, and makes a revision if that changes the visible state. It changes no unresolved session, no
// tombstone and no archived session. If keep is 0 or less it archives nothing.
func Archive(current Session, keep time.Duration, now time.Time) (next Session, changed bool) {
	settled := current.Exists() && current.settledAtStripe() && !current.Unresolved && !current.Tombstone()
	if keep <= 0 || !settled || current.IsArchived() || now.Sub(time.Unix(current.lastHeard(), 0)) < keep {
		return current, false
	}
	next = current.clone()
	next.redactHistory()
	next.Error, next.Report, next.Reference = Error{}, "", ""
	next.Resolution.Principal = ""
	if !next.OverrideOpen() {
		next.Allowance = Allowance{} // its id can be made of an error code
	}
	if next.Replacement.Used.Failure != next.LastFailure.ID { // so can this one, unless it is that of a counted failure
		next.eraseUsed()
	}
	next.LastFailure.Code = ""
	next.Replacement.ReturnURL = ""
	next.Extra = nil
	if !sameSeen(next.State, current.State) {
		next.Revision++
		own := Entry{Revision: next.Revision, RecordTime: now.UnixMilli()}
		next.Erased = append(next.Erased, ErasedRevision{own.Revision, next.fingerprint(own)})
	}
	next.ArchivedAt = next.Revision
	next.Kept = current.outcomeAt(current.Revision)
	next.Kept.At = next.Revision
	return next, true
}

// lastHeard returns the Unix second of the session's newest input: the later one of Stripe's time and this service's. An
// old event that the catch-up found only today makes the session young. Operators and comparisons do not: what they do must not
// keep personal data for longer.
func (s Session) lastHeard() int64 {
	last := s.UpdateTime
	for _, entry := range s.History {
		if entry.Source != SourceOperator && entry.Source != SourceComparison {
			last = max(last, entry.RecordTime/1000)
		}
	}
	return last
}
