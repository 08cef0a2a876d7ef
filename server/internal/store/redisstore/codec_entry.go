package redisstore

import (
	"google.golang.org/protobuf/encoding/protowire"

	"example.com/verification-status/server/internal/verification"
)

// Fields of a history entry. Fields 1 to 7 and 16 to 26, in codec_state.go, say how its result differs from the one before.
const (
	entryRevision    protowire.Number = 8
	entryEventID     protowire.Number = 9  // without "evt_"
	entryEventType   protowire.Number = 10 // code; see eventTypes
	entryEventTime   protowire.Number = 11 // less the event time of the entry before
	entryRecordTime  protowire.Number = 12 // in milliseconds, less the event time
	entrySource      protowire.Number = 13 // absent for the webhook
	entryEffect      protowire.Number = 14 // absent for applied
	entryEventText   protowire.Number = 32 // an event type without a code
	entryStatus      protowire.Number = 33 // of the input; absent if it equals the last result
	entryStatusText  protowire.Number = 34
	entryErrorCode   protowire.Number = 35 // of the input; absent if it equals the last result
	entryErrorText   protowire.Number = 39
	entryErrorReason protowire.Number = 36
	entryHasResult   protowire.Number = 37 // a result although the revision is 0
	entryEventIDText protowire.Number = 38 // an event id that does not begin with "evt_"
	entryPrincipal   protowire.Number = 40 // the caller that got a retry
	entryOutcomeTime protowire.Number = 41 // in seconds; every version keeps it
	entryKept        protowire.Number = 42 // the outcome of the entry's revision, as in sessionKept; every version keeps it
	entryCompared    protowire.Number = 43 // the bits of the compared fields; since format 3
	entryOperation   protowire.Number = 44 // what an operator did; since format 3
)

// eventTypes holds the event types with a number. Never change or extend it: see codec_state.go.
var eventTypes = [7]string{
	"", verification.EventCreated, verification.EventProcessing, verification.EventRequiresInput,
	verification.EventVerified, verification.EventCanceled, verification.EventRedacted,
}

// progress holds the values of the entries so far that predict the next entry.
type progress struct {
	result verification.State // the last result
	second int64              // the last event time

	kept verification.KeptOutcome // of the entry that holds it
}

// encodeEntry writes what prior does not predict, and updates prior.
func encodeEntry(w *writer, prior *progress, failures []verification.Failure, e *verification.Entry) {
	w.intIf(entryRevision, int64(e.Revision))
	if e.EventID != "" {
		encodeID(w, eventPrefix, entryEventID, entryEventIDText, e.EventID)
	}
	if e.EventType != "" {
		encodeCode(w, eventTypes[:], entryEventType, entryEventText, e.EventType)
	}
	w.intIf(entryEventTime, e.EventTime-prior.second)
	w.intIf(entryRecordTime, e.RecordTime-e.EventTime*1000)
	if e.Source != verification.SourceWebhook {
		w.uint(entrySource, uint64(e.Source))
	}
	if e.Effect != verification.EffectApplied {
		w.uint(entryEffect, uint64(e.Effect))
	}
	w.textIf(entryPrincipal, e.Principal)
	w.intIf(entryOutcomeTime, e.OutcomeTime)
	if e.Compared != 0 {
		w.uint(entryCompared, uint64(e.Compared))
	}
	if e.Operation != verification.OperationNone {
		w.uint(entryOperation, uint64(e.Operation))
	}
	prior.second = e.EventTime

	none := e.Result == verification.State{}
	if e.Revision != 0 || !none {
		w.trueIf(entryHasResult, e.Revision == 0)
		encodeState(w, prior.result, e.Result, e.EventTime, failures)
		encodeOperated(w, prior.result, e.Result, false)
		prior.result = e.Result
	}
	if e.Status != prior.result.Status {
		encodeCode(w, statusCodes[:], entryStatus, entryStatusText, e.Status)
	}
	if e.Error.Code != prior.result.Error.Code {
		encodeCode(w, errorCodes[:], entryErrorCode, entryErrorText, e.Error.Code)
	}
	textDiff(w, entryErrorReason, prior.result.Error.Reason, e.Error.Reason)
	w.buf = append(w.buf, e.Extra...)
}

// decodeEntry reverses encodeEntry in three passes: the fields that do not depend on others, the result, and the fields that the
// result predicts.
func decodeEntry(r *reader, prior *progress, failures []verification.Failure, buf []byte) verification.Entry {
	e := verification.Entry{Source: verification.SourceWebhook, Effect: verification.EffectApplied}
	hasResult := false
	if err := eachField(buf, func(f field) { decodeOwn(r, f, &e, &hasResult, &prior.kept) }); err != nil {
		r.fail("an entry")
		return e
	}
	e.EventTime += prior.second
	e.RecordTime += e.EventTime * 1000
	prior.second = e.EventTime

	result := prior.result
	_ = eachField(buf, func(f field) { // the first pass has returned every error
		if !decodeStateField(r, f, &result, e.EventTime, failures) && !isEntryField(f.num) {
			e.Extra = append(e.Extra, f.raw...)
		}
	})
	if hasResult || e.Revision != 0 {
		e.Result, prior.result = result, result
	}

	e.Status, e.Error = prior.result.Status, prior.result.Error
	_ = eachField(buf, func(f field) { decodeCarried(r, f, &e) })
	return e
}

// decodeOwn reads a field that does not depend on others, or a time that is relative to another one.
func decodeOwn(r *reader, f field, e *verification.Entry, hasResult *bool, kept *verification.KeptOutcome) {
	switch f.num {
	case entryRevision:
		e.Revision = r.int32(f)
	case entryEventID:
		e.EventID = eventPrefix + r.text(f)
	case entryEventIDText:
		e.EventID = r.text(f)
	case entryEventType:
		e.EventType = r.code(f, eventTypes[:])
	case entryEventText:
		e.EventType = r.text(f)
	case entryEventTime:
		e.EventTime = r.int64(f)
	case entryRecordTime:
		e.RecordTime = r.int64(f)
	case entrySource: // an unknown source or effect is kept
		e.Source = verification.Source(r.uint(f, 255))
	case entryEffect:
		e.Effect = verification.Effect(r.uint(f, 255))
	case entryPrincipal:
		e.Principal = r.text(f)
	case entryOutcomeTime:
		e.OutcomeTime = r.int64(f)
	case entryKept:
		*kept = decodeKept(r, r.bytes(f))
	case entryCompared:
		e.Compared = verification.ComparedFields(r.uint(f, 1<<16-1))
	case entryOperation: // an unknown one is kept
		e.Operation = verification.Operation(r.uint(f, 255))
	case entryHasResult:
		*hasResult = r.bool(f)
	}
}

// decodeCarried reads a field of the status or error that the input carried.
func decodeCarried(r *reader, f field, e *verification.Entry) {
	switch f.num {
	case entryStatus:
		e.Status = r.code(f, statusCodes[:])
	case entryStatusText:
		e.Status = r.text(f)
	case entryErrorCode:
		e.Error.Code = r.code(f, errorCodes[:])
	case entryErrorText:
		e.Error.Code = r.text(f)
	case entryErrorReason:
		e.Error.Reason = r.text(f)
	}
}

func isEntryField(num protowire.Number) bool {
	return num >= entryRevision && num <= entryEffect || num >= entryEventText && num <= entryOperation
}
