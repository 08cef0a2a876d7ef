package verification

import "time"

// StubLife is how long a stub must still be kept, in seconds: by then Stripe can no longer send, nor
// list, an event of the session that the stub would have to know again.
const StubLife = RememberFor + 24*60*60

// Stub reports whether the session is archived: Shrink took the details, and nothing that came since brought
// any. Only settled sessions are archived.
func (s Session) Stub() bool {
	if !s.Exists() || s.Tombstone() || !s.Settled() {
		return false
	}
	return s.Archived == s.Revision || s.archivedUnmarked()
}

// archivedUnmarked reports whether a version that set no mark archived the session. That shows in the entry
// of the current revision, which is missing: only the bound of the history removes it too, and leaves a full
// history without a purged entry, because a purged one is older and was removed before it.
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

// detailsErased reports whether the details were taken, by a redaction or by the archive. An input that says
// what is shown then brings none of them back.
func (s Session) detailsErased() bool { return s.Tombstone() || s.Stub() }

// Shrink archives a session that has been settled for longer than keep: what a tombstone has remains
// (status, revision, position, counts, event ids and effects, failure hashes), and no reason,
// reference, report or history detail. As that is seen, it makes a revision where there was any of it.
// An ambiguous session, a tombstone and an archived session stay as they are. keep of 0 or less keeps for
// ever.
func Shrink(current Session, keep time.Duration, now time.Time) (next Session, changed bool) {
	settled := current.Exists() && current.Settled() && !current.Pending && !current.Tombstone()
	if keep <= 0 || !settled || current.Stub() || now.Sub(time.Unix(current.lastHeard(), 0)) < keep {
		return current, false
	}
	next = current.clone()
	next.redactHistory()
	next.Error, next.Report, next.Reference = Error{}, "", ""
	next.LastFailure.Code = ""
	next.Replacement.ReturnURL = ""
	next.Extra = nil
	if !sameSeen(next.State, current.State) {
		next.Revision++
		own := Entry{Revision: next.Revision, RecordTime: now.UnixMilli()}
		next.Erased = append(next.Erased, ErasedRevision{own.Revision, next.fingerprint(own)})
	}
	next.Archived = next.Revision
	return next, true
}

// lastHeard is when the session's newest input came, by Stripe's clock or by this service's, whichever
// is later: what the catch-up learned only today is not old.
func (s Session) lastHeard() int64 {
	last := s.UpdateTime
	for _, entry := range s.History {
		last = max(last, entry.RecordTime/1000)
	}
	return last
}
