package verification

import "slices"

// Listed is a session as a page of Stripe's list of sessions shows it.
type Listed struct {
	// Object is the session at the time of the page.
	Object Object
	// AsOf is Read.AsOf of the page.
	AsOf int64
	// RecordTime is when this service recorded the session, in Unix milliseconds.
	RecordTime int64
}

// importedFailure is the identity of a failure that an import counted and that has no report. It is no event id: it has
// spaces.
const importedFailure = "the failure that an import showed"

// importedSlack is how long after Listed.AsOf, in seconds, the page can have been made: an answer takes ten seconds at
// most, and AsOf is its Date less the duration of the call and a second.
const importedSlack = 12

// ApplyImport begins the record of a session that this service does not know. The record has one entry and one revision.
// Its position is that of a read at AsOf: an older event is stale, and a newer one applies. A list shows no earlier
// failures, so ApplyImport counts the failure that the session shows and no other.
//
// ApplyImport changes no session that is known. If such a session differs from the list (see Differs), read the session:
// nothing tells whether the page or the record is newer.
func ApplyImport(current Session, listed Listed) (Session, Outcome) {
	if current.Exists() {
		return current, Outcome{}
	}
	object := listed.Object
	next := current.clone()
	next.identify(object)
	next.Redaction = object.Redaction
	next.show(object, listed.AsOf)
	next.AsOf = listed.AsOf
	next.describe(current, object, true)
	next.count(object, importedFailure, next.Second, true)
	next.redact()
	next.record(current, Entry{
		Source: SourceImport, Effect: EffectApplied,
		EventTime: listed.AsOf, RecordTime: listed.RecordTime,
		Status: object.Status, Error: object.Error,
	})
	return next, Outcome{Effect: EffectApplied, Write: true}
}

// Differs reports whether a list shows something of the session that the record lacks. What is final or was erased here
// is no difference: a canceled session stays canceled, a redaction never decreases, and an erased detail stays erased.
func (s Session) Differs(object Object) bool {
	erased := s.detailsErased()
	says := object
	if erased {
		says = says.redacted()
	}
	claims := object.Replaces != "" && object.Replaces != s.ID && s.Replaces == "" && s.Predecessor == ""
	switch {
	case object.Redaction > s.Redaction, s.Created == 0 && object.Created != 0, claims:
		return true
	case says.Type != "" && says.Type != s.Type && !erased, says.Reference != "" && says.Reference != s.Reference:
		return true
	}
	return s.Status != StatusCanceled && !says.saysState(s.State)
}

// identifyImported gives the failure that an import counted without a report the identity of its event: otherwise the event
// would count it again. Of several earlier events that carry the same error any will do, because each of the others is
// then counted under its own id. An event that is newer than the import carries another failure.
func (s *Session) identifyImported(id uint64, event Object, second int64) {
	imported := FailureID(s.ID, importedFailure)
	at := slices.IndexFunc(s.Failures, func(f Failure) bool { return f.ID == imported })
	if at < 0 || slices.ContainsFunc(s.Failures, func(f Failure) bool { return f.ID == id }) {
		return
	}
	if until, shown := s.imported(); second > until || shown != (Error{}) && shown != event.Error {
		return
	}
	s.Failures[at].ID = id
	if s.ShownFailure == imported {
		s.ShownFailure = id
	}
	if s.LastFailure.ID == imported {
		s.LastFailure.ID = id
	}
	s.moveAllowance(imported, id)
	for i := range s.History { // so that an earlier revision shows the failure that its allowance is for
		result := &s.History[i].Result
		if result.ShownFailure == imported {
			result.ShownFailure = id
		}
		if result.Allowance.Failure == imported {
			result.Allowance.Failure = id
		}
	}
}

// imported returns the last second of which the import can have shown something, and the error that it showed. Once the
// entry of the import is erased or trimmed, the newest counted failure bounds the second, and the error is zero: then a late
// event of another failure can be taken for the imported one, and the count of a record without details is one too low.
func (s Session) imported() (until int64, shown Error) {
	for _, entry := range s.History {
		if entry.Source == SourceImport && entry.EventTime != 0 {
			return entry.EventTime + importedSlack, entry.Error
		}
	}
	return s.LastFailure.Second + importedSlack, Error{}
}
