package verification

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
)

// Entry is one input that reached a session and left a trace.
type Entry struct {
	// Revision is the one that it made; 0: none.
	Revision int32
	// EventID and EventType are Stripe's; empty where the input was no event.
	EventID   string
	EventType string
	Source    Source
	Effect    Effect
	// EventTime is when it happened at Stripe, in Unix seconds.
	EventTime int64
	// RecordTime is when this service recorded it, in Unix milliseconds.
	RecordTime int64
	// Status and Error are what it carried.
	Status string
	Error  Error
	// Principal is the name of the service that a retry was granted to, 255 bytes at the most; empty
	// in every other entry, and where callers have no names.
	Principal string
	// Result is the state after it, where it made a revision. Any earlier revision is derived from
	// here, so nothing is stored twice.
	Result State

	// Extra is what a newer version wrote; see Session.Extra.
	Extra []byte
}

// Change is one revision of a session.
type Change struct {
	Revision int32
	State    State
}

// Knows reports whether an event has reached the session before.
func (s Session) Knows(eventID string) bool {
	for _, entry := range s.History {
		if entry.EventID == eventID {
			return true
		}
	}
	if len(s.Forgotten) == 0 {
		return false
	}
	id := FailureID(s.ID, eventID)
	return slices.ContainsFunc(s.Forgotten, func(f Forgotten) bool { return f.ID == id })
}

// record adds an entry, with a revision if what is seen differs from before.
func (s *Session) record(before Session, entry Entry) {
	if !before.Exists() || !sameSeen(s.State, before.State) {
		s.Revision++
		entry.Revision, entry.Result = s.Revision, s.State
		entry.Result.LastFailure = LastFailure{}
	}
	if before.Reference != "" && s.Reference != "" && before.Reference != s.Reference {
		s.Moved = s.Revision
	}
	if s.Tombstone() && !before.Tombstone() {
		s.redactHistory()
	}
	if entry.EventID != "" && s.Applied == before.Applied && before.Stub() {
		s.Archived = s.Revision // a late event counts a failure, and brings nothing back
	}
	// No reason comes back with a late input. The first input of a session is none, though no entry tells yet
	// how the session came to its state.
	if s.Tombstone() || before.Exists() && s.Stub() {
		entry = entry.redacted()
	}
	s.History = append(s.History, entry)
	s.trim(entry.RecordTime / 1000)
}

// redactHistory leaves of the history what a redaction and the archive leave: event ids and effects, to know them
// again, and the fingerprints of revisions, so that a resume token of before a loss of data is still told
// from one of before the erasure.
func (s *Session) redactHistory() {
	var kept []Entry
	for _, entry := range s.History {
		if entry.Revision > 0 {
			s.Erased = append(s.Erased, ErasedRevision{entry.Revision, s.fingerprint(entry)})
		}
		if entry.EventID != "" {
			kept = append(kept, Entry{EventID: entry.EventID, EventType: entry.EventType, Effect: entry.Effect})
		}
	}
	s.History = kept
	s.Erased = s.Erased[max(0, len(s.Erased)-MaxHistory):]
}

// erased reports whether an entry is as redactHistory leaves it. Every other entry has a source.
func (e Entry) erased() bool { return e.Source == 0 && e.RecordTime == 0 && e.Status == "" }

// redacted is an entry without what it carried. Its result holds no personal data any more.
func (e Entry) redacted() Entry {
	e.Status, e.Error, e.EventTime, e.Principal, e.Extra = "", Error{}, 0, "", nil
	return e
}

// trim keeps the history within its bound; the event ids of what goes stay known for a while. now is
// in Unix seconds.
func (s *Session) trim(now int64) {
	for len(s.History) > MaxHistory {
		if id := s.History[0].EventID; id != "" {
			s.Forgotten = append(s.Forgotten, Forgotten{ID: FailureID(s.ID, id), Until: now + RememberFor})
		}
		s.History = s.History[1:]
	}
	s.Forgotten = slices.DeleteFunc(s.Forgotten, func(f Forgotten) bool { return f.Until < now })
	if extra := len(s.Forgotten) - MaxRemembered; extra > 0 {
		s.Forgotten = s.Forgotten[extra:]
	}
}

// ChangesAfter returns the revisions above the given one that can still be told, in order. The last
// one is the current state. They have no hole, but begin later than revision+1 where a redaction or
// the bound of the history took entries away; see Floor.
func (s Session) ChangesAfter(revision int32) []Change {
	var changes []Change
	var last LastFailure // as far as the history tells
	for _, entry := range s.History {
		if entry.Revision <= 0 {
			continue
		}
		state := entry.Result
		if state.ShownFailure != 0 {
			last = state.judged()
		}
		last.Granted = last.Granted || entry.Source == SourceRetry
		state.LastFailure = last
		if entry.Revision == s.Revision {
			state = s.State
		}
		if entry.Revision > revision {
			changes = append(changes, Change{Revision: entry.Revision, State: state})
		}
	}
	if s.Revision > revision && (len(changes) == 0 || changes[len(changes)-1].Revision < s.Revision) {
		changes = append(changes, Change{Revision: s.Revision, State: s.State}) // its entry was cut off
	}
	return changes
}

// Floor is the smallest revision that ChangesAfter can tell; 0 for a session that is not known.
func (s Session) Floor() int32 {
	for _, entry := range s.History {
		if entry.Revision > 0 {
			return entry.Revision
		}
	}
	return s.Revision
}

// Fingerprint tells one making of a revision from another: where the store lost writes, the same
// number may come again with other content. ok is false where the revision can no longer be told.
func (s Session) Fingerprint(revision int32) (fingerprint uint32, ok bool) {
	for _, entry := range s.History {
		if entry.Revision == revision && revision != 0 {
			return s.fingerprint(entry), true
		}
	}
	return 0, false
}

// ErasedFingerprint is the Fingerprint of a revision whose content was erased. ok is false where it is not
// held: the revision can be told, was cut from the history, or was erased by a version that kept none.
func (s Session) ErasedFingerprint(revision int32) (fingerprint uint32, ok bool) {
	for _, erased := range s.Erased {
		if erased.Revision == revision {
			return erased.Fingerprint, true
		}
	}
	return 0, false
}

func (s Session) fingerprint(entry Entry) uint32 {
	hash := fnv.New32a()
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:8], uint64(entry.RecordTime))
	binary.BigEndian.PutUint32(numbers[8:12], uint32(entry.Revision))
	numbers[12], numbers[13] = byte(entry.Source), byte(entry.Effect)
	hash.Write(numbers[:])
	hash.Write([]byte(s.ID + "\x00" + entry.EventID))
	return hash.Sum32()
}

// Strayed reports whether the session had another reference than the given one at a revision after the
// given one. Where both are erased it is what Moved still tells.
func (s Session) Strayed(reference string, revision int32) bool {
	if s.Moved > revision || s.Reference != "" && s.Reference != reference {
		return true
	}
	return slices.ContainsFunc(s.History, func(e Entry) bool {
		return e.Revision > revision && e.Result.Reference != "" && e.Result.Reference != reference
	})
}
