package verification

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
)

// Entry is one input in the history of a session.
type Entry struct {
	// Revision is the revision that the input made. 0 means that it made none.
	Revision int32
	// EventID and EventType are Stripe's. They are empty if the input was not an event.
	EventID   string
	EventType string
	Source    Source
	Effect    Effect
	// EventTime is Stripe's time of the input, in Unix seconds. It is 0 for what this service did itself.
	EventTime int64
	// RecordTime is when this service recorded the input, in Unix milliseconds.
	RecordTime int64
	// Status and Error are what the input carried.
	Status string
	Error  Error
	// Principal is the name of the caller that got a retry, acted as an operator or compared, at most 255 bytes. It is empty in
	// every other entry, and if callers have no names.
	Principal string
	// Operation is what an operator did. It is OperationNone in every entry of another source.
	Operation Operation
	// Compared has the fields of a comparison.
	Compared ComparedFields
	// Result is the state after the input if the input made a revision. Earlier revisions are derived from it, so
	// no state is stored twice.
	Result State
	// OutcomeTime is Stripe's second of the input that brought the outcome, if EventTime does not say it: a read that confirms
	// an event has the time of the event, and the time of an erased entry is erased. 0 means EventTime.
	OutcomeTime int64

	// Extra holds the fields of a newer version. See Session.Extra.
	Extra []byte
}

// testEventID is the id of every event that Stripe's Dashboard sends as a test.
const testEventID = "evt_00000000000000"

// identity returns what tells the event from all other events of its session: its id or, of a test event, also its type and time.
func (e Event) identity() string {
	if e.ID != testEventID {
		return e.ID
	}
	return fmt.Sprintf("%s %s %d", e.ID, e.Type, e.Second)
}

// is reports whether the entry is that of an event. The times of erased entries are 0.
func (e *Entry) is(event *Event) bool {
	return e.EventID == event.ID && (e.EventID != testEventID || e.EventType == event.Type && (e.EventTime == event.Second || e.EventTime == 0))
}

// Knows reports whether the session has had an event before.
func (s Session) Knows(eventID string) bool { return s.knows(Event{ID: eventID}) }

// knows is Knows for a whole event.
func (s Session) knows(event Event) bool {
	for i := range s.History {
		if s.History[i].is(&event) {
			return true
		}
	}
	if len(s.TrimmedEvents) == 0 {
		return false
	}
	id := FailureID(s.ID, event.identity())
	return slices.ContainsFunc(s.TrimmedEvents, func(f TrimmedEvent) bool { return f.ID == id })
}

// record appends an entry to the history. It makes a revision if the visible state differs from the one before.
func (s *Session) record(before Session, entry Entry) {
	if !before.Exists() || !sameSeen(s.State, before.State) {
		s.Revision++
		entry.Revision, entry.Result = s.Revision, s.State
		if !s.OverrideOpen() {
			entry.Result.Allowance = Allowance{}
		}
		entry.Result.LastFailure = LastFailure{}
	}
	if before.Reference != "" && s.Reference != "" && before.Reference != s.Reference {
		s.ReferenceMoved = s.Revision
	}
	if s.Tombstone() && !before.Tombstone() {
		s.redactHistory()
	}
	if (entry.EventID != "" || entry.Source == SourceOperator) && s.Applied == before.Applied && before.IsArchived() {
		s.ArchivedAt = s.Revision // a late event counts a failure and restores no detail, and an operator restores none either
	}
	// A late input restores no reason. The first input of a session is not late, although the history is still empty.
	if s.Tombstone() || before.Exists() && s.IsArchived() {
		entry = entry.redacted()
	}
	s.History = append(s.History, entry)
	whole := *s
	if whole.Floor() == s.Revision {
		whole.Kept = s.outcomeSince(before, &entry)
	}
	s.trim(entry.RecordTime / 1000)
	s.keepOutcome(whole)
}

// redactHistory removes from the history what a redaction or the archive removes. It keeps event ids and effects, to
// recognize repetitions, and the fingerprints of revisions: they tell a resume token that is older than a loss of data
// from a token that is older than the erasure.
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

// erased reports whether redactHistory has emptied the entry. Every other entry has a source.
func (e Entry) erased() bool { return e.Source == 0 && e.RecordTime == 0 && e.Status == "" }

// redacted returns the entry without what the input carried. The result no longer holds personal data.
func (e Entry) redacted() Entry {
	if second := e.broughtSecond(); e.Revision > 0 && second != e.Result.UpdateTime {
		e.OutcomeTime = second
	}
	e.Status, e.Error, e.EventTime, e.Principal, e.Compared, e.Extra = "", Error{}, 0, "", 0, nil
	return e
}

// trim drops the oldest entries beyond MaxHistory. The session knows their event ids for EventIDLife longer. now is in
// Unix seconds.
func (s *Session) trim(now int64) {
	for len(s.History) > MaxHistory {
		if oldest := s.History[0]; oldest.EventID != "" {
			id := Event{ID: oldest.EventID, Type: oldest.EventType, Second: oldest.EventTime}.identity()
			s.TrimmedEvents = append(s.TrimmedEvents, TrimmedEvent{ID: FailureID(s.ID, id), Until: now + EventIDLife})
		}
		s.History = s.History[1:]
	}
	s.TrimmedEvents = slices.DeleteFunc(s.TrimmedEvents, func(f TrimmedEvent) bool { return f.Until < now })
	if extra := len(s.TrimmedEvents) - MaxKnownIDs; extra > 0 {
		s.TrimmedEvents = s.TrimmedEvents[extra:]
	}
}

// Fingerprint returns a hash of what made a revision. After the store lost writes, the same revision number can come
// again with other content and another fingerprint. ok is false if the history no longer holds the revision.
func (s Session) Fingerprint(revision int32) (fingerprint uint32, ok bool) {
	for i := range s.History { // an entry is large: no copies
		if s.History[i].Revision == revision && revision != 0 {
			return s.fingerprint(s.History[i]), true
		}
	}
	return 0, false
}

// ErasedFingerprint returns the Fingerprint of a revision whose content was erased. ok is false if there is none: the
// history holds the revision, trimmed it, or was erased by a version that kept no fingerprints.
func (s Session) ErasedFingerprint(revision int32) (fingerprint uint32, ok bool) {
	for _, erased := range s.Erased {
		if erased.Revision == revision {
			return erased.Fingerprint, true
		}
	}
	return 0, false
}

// Holds reports whether the record has the entry that a write to it made, also if the entry was erased since.
func (s Session) Holds(made Entry) bool {
	if erased, ok := s.ErasedFingerprint(made.Revision); ok && made.Revision > 0 {
		return erased == s.fingerprint(made)
	}
	return slices.ContainsFunc(s.History, func(e Entry) bool {
		return e.Revision == made.Revision && e.RecordTime == made.RecordTime && e.Source == made.Source &&
			e.Principal == made.Principal && e.Operation == made.Operation && e.Compared == made.Compared &&
			e.Result.Resolution == made.Result.Resolution // two calls of one caller can be in the same millisecond
	})
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

// HadOtherReference reports whether the session had another reference than the given one at any revision after the
// given one. If the references are erased, only ReferenceMoved shows it.
func (s Session) HadOtherReference(reference string, revision int32) bool {
	if s.ReferenceMoved > revision || s.Reference != "" && s.Reference != reference {
		return true
	}
	return slices.ContainsFunc(s.History, func(e Entry) bool {
		return e.Revision > revision && e.Result.Reference != "" && e.Result.Reference != reference
	})
}
