package redisstore

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"

	"example.com/verification-status/server/internal/verification"
)

// During a rolling update a replica of an older version reads what this version writes. These tests fix what both versions
// must understand in the same way. If a test fails here, the change breaks the update. Do not change the expectation: find
// a form that an older version keeps, such as a text or a new field.

// TestTablesOfCodesNeverChange: an older version refuses a record with an index that its table does not have.
func TestTablesOfCodesNeverChange(t *testing.T) {
	for name, c := range map[string]struct{ got, want []string }{
		"statuses": {statusCodes[:], []string{"", "requires_input", "processing", "verified", "canceled"}},
		"event types": {eventTypes[:], []string{
			"", "identity.verification_session.created", "identity.verification_session.processing", "identity.verification_session.requires_input",
			"identity.verification_session.verified", "identity.verification_session.canceled", "identity.verification_session.redacted",
		}},
		"error codes": {errorCodes[:], []string{
			"", "abandoned", "consent_declined", "country_not_supported", "device_not_supported", "document_expired",
			"document_type_not_supported", "document_unverified_other", "email_unverified_other",
			"email_verification_declined", "id_number_insufficient_document_data", "id_number_mismatch",
			"id_number_unverified_other", "phone_unverified_other", "phone_verification_declined",
			"selfie_document_missing_photo", "selfie_face_mismatch", "selfie_manipulated", "selfie_unverified_other",
			"under_supported_age",
		}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("the table of %s changed (-want +got):\n%s", name, diff)
		}
	}
}

// TestWhatHasNoCodeIsStoredAsText: the contract's code address_mismatch is newer than the table. It and all future codes of
// Stripe are stored as text, so that every version can read them.
func TestWhatHasNoCodeIsStoredAsText(t *testing.T) {
	for _, code := range []string{"address_mismatch", "a_code_to_come"} {
		failed := verification.Error{Code: code, Reason: "Because."}
		state := verification.State{Status: "a_status_to_come", Error: failed, UpdateTime: 7}
		session := verification.Session{
			ID: "vs_a", State: state, Revision: 1, Second: 7,
			History: []verification.Entry{
				{Revision: 1, EventID: "evt_1", EventType: "a_type_to_come", Source: 1, Effect: 1, EventTime: 7, Status: "a_status_to_come", Error: failed, Result: state},
				{EventID: "evt_2", Source: 1, Effect: 2, EventTime: 6, Status: "another_status", Error: verification.Error{Code: code + "_2"}},
			},
		}
		session.LastFailure = verification.LastFailure{Second: 7, Code: code}
		roundTrip(t, session)
		body, err := appendBody(nil, session, format)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{code, code + "_2", "a_status_to_come", "another_status", "a_type_to_come"} {
			if !bytes.Contains(body, []byte(text)) {
				t.Errorf("the record does not hold %q as text", text)
			}
		}
		wrong := func(where string, coded ...protowire.Number) func(field) {
			return func(f field) {
				if slices.Contains(coded, f.num) {
					t.Errorf("%s: %s has a place in a table in field %d", code, where, f.num)
				}
			}
		}
		if err := eachField(body[1:], wrong("the session", stateStatus, stateErrorCode, sessionLastCode)); err != nil {
			t.Fatal(err)
		}
		_ = eachField(body[1:], func(f field) {
			if f.num == sessionEntry {
				_ = eachField(f.text, wrong("an entry", stateStatus, stateErrorCode, entryEventType, entryStatus, entryErrorCode))
			}
		})
	}
}

// TestNumbersToComeAreKept: sources, effects and redactions are numbers of the contract. An unknown number is kept and
// returned, and an unknown redaction still counts as a redaction.
func TestNumbersToComeAreKept(t *testing.T) {
	session := verification.Session{
		ID: "vs_a", State: verification.State{Status: "verified", Redaction: 200}, Revision: 1,
		History: []verification.Entry{{Revision: 1, Source: 201, Effect: 202, Result: verification.State{Status: "verified", Redaction: 200}, Status: "verified"}},
	}
	roundTrip(t, session)
	if !session.Tombstone() {
		t.Error("a redaction to come is none")
	}
	for name, number := range map[string][2]uint8{
		"webhook": {uint8(verification.SourceWebhook), 1}, "API": {uint8(verification.SourceStripeAPI), 2}, "retry": {uint8(verification.SourceRetry), 3},
		"replacement": {uint8(verification.SourceReplacement), 4}, "applied": {uint8(verification.EffectApplied), 1}, "stale": {uint8(verification.EffectStale), 2},
		"import": {uint8(verification.SourceImport), 6}, "counted": {uint8(verification.EffectCounted), 3}, "pending": {uint8(verification.EffectPending), 4}, "no redaction": {uint8(verification.RedactionNone), 0},
		"redaction in process": {uint8(verification.RedactionProcessing), 1}, "redacted": {uint8(verification.RedactionRedacted), 2},
	} {
		if number[0] != number[1] {
			t.Errorf("%s is stored as %d; want %d", name, number[0], number[1])
		}
	}
}

// TestAbsenceIsAFieldOfItsOwn: an older version keeps it among the fields that it does not know, in every format.
func TestAbsenceIsAFieldOfItsOwn(t *testing.T) {
	session := verification.Session{ID: "vs_a", State: verification.State{Status: "processing"}, Revision: 3, Absence: verification.Absence{Times: 2, Revision: 3, Second: 1_790_000_000}}
	roundTrip(t, session)
	if kept := asBefore(verification.Session{}, session); kept.Absence != session.Absence {
		t.Errorf("in the format before: absence %+v; want %+v", kept.Absence, session.Absence)
	}
	for _, number := range [][2]protowire.Number{{sessionAbsentTimes, 56}, {sessionAbsentRevision, 57}, {sessionAbsentSecond, 58}} {
		if number[0] != number[1] {
			t.Errorf("field %d; want %d", number[0], number[1])
		}
	}
}

// TestTheOutcomeIsInFieldsOfItsOwn: an older version keeps them among the fields that it does not know, in every format.
func TestTheOutcomeIsInFieldsOfItsOwn(t *testing.T) {
	kept := verification.KeptOutcome{OutcomeKey: verification.OutcomeKey{Revision: 2, ID: verification.OutcomeID{1, 15: 16}}, Imported: true, At: 3}
	session := verification.Session{
		ID: "vs_a", State: verification.State{Status: "processing"}, Revision: 3, Kept: kept,
		History: []verification.Entry{{Revision: 3, Source: verification.SourceStripeAPI, Effect: verification.EffectApplied, EventTime: 9, OutcomeTime: 7}},
	}
	roundTrip(t, session)
	if before := asBefore(verification.Session{}, session); before.Kept != kept {
		t.Errorf("in the format before: outcome %+v; want %+v", before.Kept, kept)
	}
	if sessionKept != 59 || entryOutcomeTime != 41 || entryKept != 42 {
		t.Errorf("fields %d, %d and %d; want 59, 41 and 42", sessionKept, entryOutcomeTime, entryKept)
	}
}

// TestAnOlderVersionKeepsTheOutcomeOfATombstone: each write of an older version to a tombstone drops the fields of the session
// that it does not know. It keeps those of the entries.
func TestAnOlderVersionKeepsTheOutcomeOfATombstone(t *testing.T) {
	kept := verification.KeptOutcome{OutcomeKey: verification.OutcomeKey{Revision: 2, ID: verification.OutcomeID{1, 15: 16}}, At: 3}
	state := verification.State{Status: "verified", Redaction: verification.RedactionProcessing}
	session := verification.Session{
		ID: "vs_a", State: state, Revision: 3, Kept: kept,
		History: []verification.Entry{
			{EventID: "evt_1", Effect: verification.EffectApplied},
			{Revision: 3, Source: verification.SourceStripeAPI, Effect: verification.EffectApplied, RecordTime: 9, Result: state},
		},
	}
	roundTrip(t, session)
	body, err := appendBody(nil, session, format)
	if err != nil {
		t.Fatal(err)
	}
	older := []byte{format}
	_ = eachField(body[1:], func(f field) {
		if f.num <= sessionErased {
			older = append(older, f.raw...)
		}
	})
	if got, err := decode("vs_a", older); err != nil || got.Kept != kept {
		t.Errorf("after the write of an older version the outcome is %+v, %v; want %+v", got.Kept, err, kept)
	}
}

// TestNumbersOfFieldsNeverChange: a field never changes its meaning. New fields get new numbers.
func TestNumbersOfFieldsNeverChange(t *testing.T) {
	want := []protowire.Number{
		1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
		8, 9, 10, 11, 12, 13, 14, 32, 33, 34, 35, 39, 36, 37, 38, 40,
		8, 9, 10, 11, 12, 13, 14, 15, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
	}
	got := []protowire.Number{
		stateStatus, stateErrorCode, stateErrorReason, stateReport, stateUpdateTime, stateFailedAttempts, stateShownFailure, stateStatusText,
		stateType, stateCreated, stateReference, stateRedaction, stateRetriesGranted, stateSupersededBy, stateShownGranted, stateShownHash,
		stateReportText, stateErrorText,
		entryRevision, entryEventID, entryEventType, entryEventTime, entryRecordTime, entrySource, entryEffect, entryEventText, entryStatus,
		entryStatusText, entryErrorCode, entryErrorText, entryErrorReason, entryHasResult, entryEventIDText, entryPrincipal,
		sessionRevision, sessionEntry, sessionFailures, sessionLastSecond, sessionApplied, sessionLivemode, sessionLastCode, sessionAsOf,
		sessionAccount, sessionPending, sessionGranted, sessionLastID, sessionReplacement, sessionReturnURL, sessionPredecessor,
		sessionTrimmed, sessionSecond, sessionLastText,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("fields changed their numbers (-want +got):\n%s", diff)
	}
}

// TestKeysNeverChange: replicas of two versions share each key. The key of a list contains its name and not its number.
func TestKeysNeverChange(t *testing.T) {
	k := newKeys("vs:")
	got := []string{
		k.record("vs_a"), k.feed(0), k.meta(0), k.due(0), k.list(0, verification.ListRequiresInput), k.list(0, verification.ListProcessing),
		k.list(0, verification.ListVerified), k.list(0, verification.ListCanceled), k.list(0, verification.ListLimitReached),
		k.list(0, verification.ListNotRetryable), k.list(0, verification.ListInDoubt), k.repaired(), k.accounts(), k.cursors(), k.lease("x"),
		k.reference("user-42"),
	}
	want := []string{
		"vs:{p192}:s:vs_a", "vs:{p852}:feed", "vs:{p852}:meta", "vs:{p852}:due", "vs:{p852}:l:requires_input", "vs:{p852}:l:processing",
		"vs:{p852}:l:verified", "vs:{p852}:l:canceled", "vs:{p852}:l:limit_reached", "vs:{p852}:l:not_retryable", "vs:{p852}:l:in_doubt",
		"vs:lists", "vs:accounts", "vs:cursors", "vs:lease:x", "vs:ref:bYlKo-6AJUnX80Dnwc8NHA",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys changed (-want +got):\n%s", diff)
	}
}
