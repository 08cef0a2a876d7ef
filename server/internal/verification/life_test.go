package verification

import (
	"slices"
	"testing"
)

// The builders of the tests. Times are small numbers of seconds. The id of an event says what the event is.

var (
	mismatch  = Error{Code: "selfie_face_mismatch", Reason: "The face is not the document's."}
	expired   = Error{Code: "document_expired", Reason: "The document has expired."}
	abandoned = Error{Code: CodeAbandoned, Reason: "Begun and left."}
)

func object(status string, e Error, report string) Object {
	return Object{ID: "vs_1", Account: "acct_1", Livemode: true, Type: "document",
		Status: status, Error: e, Report: report, Created: 1, Reference: "person-1"}
}

func event(id, eventType string, second int64, o Object) Event {
	return Event{ID: id, Type: eventType, Source: SourceWebhook, Second: second,
		RecordTime: 1000 * (second + 1000), Object: o}
}

func created(id string, second int64) Event {
	return event(id, EventCreated, second, object(StatusRequiresInput, Error{}, ""))
}

func processing(id string, second int64, report string) Event {
	return event(id, EventProcessing, second, object(StatusProcessing, Error{}, report))
}

func verified(id string, second int64, report string) Event {
	return event(id, EventVerified, second, object(StatusVerified, Error{}, report))
}

func failed(id string, second int64, report string, e Error) Event {
	return event(id, EventRequiresInput, second, object(StatusRequiresInput, e, report))
}

func canceled(id string, second int64, report string) Event {
	return event(id, EventCanceled, second, object(StatusCanceled, Error{}, report))
}

func redacted(id string, second int64, status string, redaction Redaction) Event {
	o := object(status, Error{}, "vr_1")
	o.Redaction = redaction
	return event(id, EventRedacted, second, o)
}

// read returns a GET that began with the given record.
func read(begun Session, asOf int64, o Object) Read {
	return Read{Object: o, AsOf: asOf, Applied: begun.Applied, RecordTime: 1000 * (asOf + 1000)}
}

// after returns the record after the events in this order. Ambiguous events get no answer of Stripe.
func after(events ...Event) Session {
	var s Session
	for _, e := range events {
		s, _ = Transition(s, e)
	}
	return s
}

// lastEntry returns the entry of the newest input.
func lastEntry(t *testing.T, s Session) Entry {
	t.Helper()
	if len(s.History) == 0 {
		t.Fatal("no entry")
	}
	return s.History[len(s.History)-1]
}

// shows checks the three fields that always come from the same input.
func shows(t *testing.T, s Session, status string, e Error, report string) {
	t.Helper()
	if s.Status != status || s.Error != e || s.Report != report {
		t.Errorf("shows %s %+v %q, want %s %+v %q", s.Status, s.Error, s.Report, status, e, report)
	}
}

// deepCopy returns a copy that shares no memory with its argument, not even spare capacity.
func deepCopy(s Session) Session {
	s.Failures = slices.Clone(s.Failures)
	s.TrimmedEvents = slices.Clone(s.TrimmedEvents)
	s.Erased = slices.Clone(s.Erased)
	s.Comparisons = slices.Clone(s.Comparisons)
	s.Extra = slices.Clone(s.Extra)
	s.History = slices.Clone(s.History)
	for i := range s.History {
		s.History[i].Extra = slices.Clone(s.History[i].Extra)
	}
	return s
}

// roomy gives every slice spare capacity. A careless append would then write into another record.
func roomy(s Session) Session {
	s = deepCopy(s)
	s.Failures = slices.Grow(s.Failures, 4)
	s.TrimmedEvents = slices.Grow(s.TrimmedEvents, 4)
	s.History = slices.Grow(s.History, 4)
	return s
}
