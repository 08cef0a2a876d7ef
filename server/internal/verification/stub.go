package verification

import "time"

// StubLife is how long a stub must still be kept, in seconds: by then Stripe can no longer send, nor
// list, an event of the session that the stub would have to know again.
const StubLife = RememberFor + 24*60*60

// Stub reports whether a session was shrunk by Shrink and has not changed since: nothing can be told
// of how it came to its state. Only settled ones are shrunk, and what leaves that state makes a
// revision: a session that waits for somebody is none, though its history was filled up by inputs
// that changed nothing.
func (s Session) Stub() bool {
	if !s.Exists() || s.Tombstone() || !s.Settled() {
		return false
	}
	for _, entry := range s.History {
		if entry.Revision != 0 {
			return false
		}
	}
	return true
}

// Shrink makes a stub of a session that has been settled for longer than keep: what a tombstone has
// (status, revision, position, counts, event ids and effects, failure hashes), and no reason,
// reference, report or history detail. As that is seen, it makes a revision where there was any of it.
// A session in doubt, a tombstone and a stub stay as they are. keep of 0 or less keeps for ever.
func Shrink(current Session, keep time.Duration, now time.Time) (next Session, changed bool) {
	settled := current.Exists() && current.Settled() && !current.Pending && !current.Tombstone()
	if keep <= 0 || !settled || current.Stub() || now.Sub(time.Unix(current.lastHeard(), 0)) < keep {
		return current, false
	}
	next = current.clone()
	next.History = purged(current.History)
	next.Error, next.Report, next.Reference = Error{}, "", ""
	next.LastFailure.Code = ""
	next.Replacement.ReturnURL = ""
	next.Extra = nil
	if !sameSeen(next.State, current.State) {
		next.Revision++
	}
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
