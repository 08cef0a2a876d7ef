package verification

import "strings"

// KnowsThin reports whether the session has had a thin event, or the snapshot event of the same change.
func (s Session) KnowsThin(event Event) bool {
	return s.knows(event) || event.Snapshot != "" && s.Knows(event.Snapshot)
}

// ApplyThin applies a thin event by a read that began after the event arrived. It is ApplyRead with a position that is at
// least the event's, also if the read changes nothing, and the history entry is that of the event. outcome.Dropped is true
// if another input overtook the read. An event that the session has had before, in either style, changes nothing.
//
// A read shows only the last of several failures. The snapshot events, which a catch-up brings, count the others.
func ApplyThin(current Session, event Event, read Read) (Session, Outcome) {
	if current.KnowsThin(event) {
		return duplicate(current, event)
	}
	if current.Applied != read.Applied {
		return current, Outcome{Dropped: true}
	}
	next, shows := current.withRead(read, event.position())
	corrects := next.Reference != current.Reference || next.Type != current.Type
	second := max(next.Second, read.AsOf, event.position())
	if !shows && (corrects || second > next.Second || read.AsOf > next.AsOf) {
		next.Second, next.AsOf = second, max(next.AsOf, read.AsOf)
		next.Applied++ // so that a read that began earlier cannot undo what this one has confirmed
	}
	entry := Entry{
		EventID: event.ID, EventType: event.Type, Source: event.Source, Effect: EffectStale,
		EventTime: event.Second, RecordTime: event.RecordTime,
		Status: read.Object.Status, Error: read.Object.Error,
	}
	if shows || !sameSeen(next.State, current.State) {
		entry.Effect = EffectApplied
	}
	next.record(current, entry)
	return next, Outcome{Effect: entry.Effect, Write: true}
}

// sameChange is the greatest difference, in seconds, between the times of the two events of one change. Stripe makes them in one
// action, and gives each its own time.
const sameChange = 1

// HasSnapshotOf reports whether the session has had the snapshot event of the change that a thin event announced. It returns true
// if the record no longer tells.
func (s Session) HasSnapshotOf(thin Event) bool {
	return s.detailsErased() || s.had(strings.TrimPrefix(thin.Type, ThinPrefix), thin.Second)
}

// wasAnnounced reports whether the session has had a thin event of the change of a snapshot event.
func (s Session) wasAnnounced(event Event) bool { return s.had(ThinPrefix+event.Type, event.Second) }

// had reports whether the history has an event of a type and about a second. An entry whose time is erased matches every second.
func (s Session) had(eventType string, second int64) bool {
	for i := range s.History {
		entry := &s.History[i]
		if entry.EventType == eventType && (entry.EventTime == 0 || max(entry.EventTime-second, second-entry.EventTime) <= sameChange) {
			return true
		}
	}
	return false
}
