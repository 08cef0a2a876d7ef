package verification

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// secrets of the redaction tests: what may be in a record before, and nowhere in it after.
const (
	secretReason    = "SECRET-REASON"
	secretReference = "SECRET-REFERENCE"
	secretReport    = "vr_SECRET"
	secretURL       = "https://SECRET.example"
)

// life of much text: a failure, late ones, a grant, a cancel, a replacement, a newer version's data.
func talkative(t *testing.T) Session {
	t.Helper()
	open := created("a", 1)
	open.Object.Reference = secretReference
	bad := failed("c", 5, secretReport, Error{Code: "document_expired", Reason: secretReason})
	bad.Object.Reference = secretReference
	s := after(open, processing("b", 4, ""), bad, failed("d", 3, secretReport+"_2", Error{Reason: secretReason}))
	s, _, _ = GrantRetry(s, policy(), at(6), "SECRET-PRINCIPAL")
	s.Extra = []byte("SECRET-EXTRA")
	s.History[1].Extra = []byte("SECRET-EXTRA")
	if !strings.Contains(dump(s), secretReason) {
		t.Fatal("nothing to erase")
	}
	return s
}

func dump(s Session) string {
	text := fmt.Sprintf("%+v %s", s, s.Extra)
	for _, entry := range s.History {
		text += string(entry.Extra)
	}
	return text
}

// TestG11_RedactionErasesAtOnce: a redaction can come by event or read, as the state or too late for it, and as
// `processing` or `redacted`. No reason, reference, report or history detail stays, but known events and failures
// stay known.
func TestG11_RedactionErasesAtOnce(t *testing.T) {
	redactedRead := func(r Redaction) func(Session) Session {
		return func(s Session) Session {
			o := object(StatusRequiresInput, Error{Code: "document_expired", Reason: secretReason}, secretReport)
			o.Redaction, o.Reference = r, secretReference
			s, _ = ApplyRead(s, read(s, 50, o))
			return s
		}
	}
	byEvent := func(e Event) func(Session) Session {
		e.Object.Reference, e.Object.Report = secretReference, secretReport
		return func(s Session) Session { s, _ = Transition(s, e); return s }
	}
	for name, redact := range map[string]func(Session) Session{
		"by event":                    byEvent(redacted("r", 9, StatusCanceled, RedactionRedacted)),
		"by event, processing":        byEvent(redacted("r", 9, StatusVerified, RedactionProcessing)),
		"by an event that is too old": byEvent(redacted("r", 2, StatusProcessing, RedactionProcessing)),
		"by an ambiguous event":       byEvent(redacted("r", 5, StatusProcessing, RedactionProcessing)),
		"by read":                     redactedRead(RedactionRedacted),
		"by read, processing":         redactedRead(RedactionProcessing),
	} {
		t.Run(name, func(t *testing.T) {
			was := talkative(t)
			s := redact(was)
			if text := dump(s); strings.Contains(text, "SECRET") || strings.Contains(text, "document_expired") {
				t.Errorf("still holds %s", text)
			}
			if !s.Tombstone() || s.Revision != was.Revision+1 || s.ID != "vs_1" || s.Type != "document" || s.Status == "" {
				t.Errorf("%+v", s)
			}
			if s.FailedAttempts != 2 || s.RetriesGranted != 1 || len(s.Failures) != 2 {
				t.Errorf("the counts are gone: %+v", s)
			}
			for _, id := range []string{"a", "b", "c", "d"} {
				if !s.Knows(id) {
					t.Errorf("%s is no longer known", id)
				}
			}
			for _, entry := range s.History[:len(s.History)-1] {
				bare := Entry{EventID: entry.EventID, EventType: entry.EventType, Effect: entry.Effect}
				if fmt.Sprint(entry) != fmt.Sprint(bare) || entry.EventID == "" || entry.Effect == 0 {
					t.Errorf("an entry holds %+v", entry)
				}
			}
			if changes := s.ChangesAfter(0); len(changes) != 1 || changes[0] != s.Current() || s.Floor() != s.Revision {
				t.Errorf("earlier revisions can still be derived: %+v", changes)
			}
		})
	}
}

// TestG11_TombstoneStaysOne: a later input adds only its id, type, effect and count, once.
func TestG11_TombstoneStaysOne(t *testing.T) {
	s, _ := Transition(talkative(t), redacted("r", 9, StatusCanceled, RedactionProcessing))
	late := failed("late", 4, "vr_late", Error{Code: "document_expired", Reason: secretReason})
	late.Object.Reference = secretReference
	s, outcome := Transition(s, late)
	entry := lastEntry(t, s)
	if outcome.Effect != EffectCounted || s.FailedAttempts != 3 || entry.EventID != "late" || entry.EventType != EventRequiresInput {
		t.Errorf("%+v %+v", outcome, entry)
	}
	again := late
	again.ID = "late again"
	if s, outcome = Transition(s, again); outcome.Effect != EffectStale || s.FailedAttempts != 3 {
		t.Errorf("counted twice: %+v", outcome)
	}
	newer := verified("newer", 99, secretReport) // of a session that was redacted while verified
	open, _ := Transition(after(verified("v", 5, secretReport)), redacted("r", 9, StatusVerified, RedactionProcessing))
	newer.Object.Reference = secretReference
	open, _ = Transition(open, newer)
	o := late.Object
	open, _ = ApplyRead(open, read(open, 200, o))
	for _, tombstone := range []Session{s, open} {
		if text := dump(tombstone); strings.Contains(text, "SECRET") || strings.Contains(text, "document_expired") {
			t.Errorf("holds %s", text)
		}
	}
}

// TestG11_AnEntryOfATombstoneCarriesNothing: no input leaves a name or any other detail in an entry.
func TestG11_AnEntryOfATombstoneCarriesNothing(t *testing.T) {
	s, _ := Transition(talkative(t), redacted("r", 9, StatusCanceled, RedactionProcessing))
	s.record(s, Entry{
		EventID: "late", EventType: EventVerified, Source: SourceWebhook, Effect: EffectStale, EventTime: 7, RecordTime: 8000,
		Status: "SECRET-STATUS", Error: Error{Code: "document_expired", Reason: secretReason}, Principal: "SECRET-PRINCIPAL", Extra: []byte("SECRET-EXTRA"),
	})
	got, want := lastEntry(t, s), Entry{EventID: "late", EventType: EventVerified, Source: SourceWebhook, Effect: EffectStale, RecordTime: 8000}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || strings.Contains(dump(s), "SECRET") {
		t.Errorf("an entry holds %+v, want %+v", got, want)
	}
}

// TestRedactionOnlyRises: the redaction never decreases, in any order.
func TestRedactionOnlyRises(t *testing.T) {
	s := after(verified("a", 5, "vr_1"), redacted("r", 20, StatusVerified, RedactionRedacted))
	revision := s.Revision
	s, outcome := Transition(s, redacted("p", 30, StatusVerified, RedactionProcessing))
	if s.Redaction != RedactionRedacted || outcome.Ambiguous {
		t.Errorf("%+v", s.State)
	}
	s, _ = Transition(s, redacted("q", 10, StatusVerified, RedactionNone))
	if s.Redaction != RedactionRedacted || s.Revision > revision+1 || !s.Settled() {
		t.Errorf("%+v", s.State)
	}
	s = after(verified("a", 5, "vr_1"), redacted("p", 10, StatusVerified, RedactionProcessing))
	r := s.Revision
	if s, _ = Transition(s, redacted("r", 4, StatusVerified, RedactionRedacted)); s.Redaction != RedactionRedacted || s.Revision != r+1 || s.Status != StatusVerified {
		t.Errorf("a late event raises it: %+v", s.State)
	}
}

// TestRedactionIsNoChangeOfStatus: the update time belongs to the status. A read that only brings a redaction does
// not change it.
func TestRedactionIsNoChangeOfStatus(t *testing.T) {
	s := after(verified("a", 5, "vr_1"))
	o := object(StatusVerified, Error{}, "vr_1")
	o.Redaction = RedactionProcessing
	next, outcome := ApplyRead(s, read(s, 500, o))
	if next.UpdateTime != 5 || next.Second != 5 || next.Revision != 2 || outcome.Effect != EffectApplied || !next.Tombstone() {
		t.Errorf("%+v %+v", next, outcome)
	}
	if again, outcome := ApplyRead(next, read(next, 600, o)); outcome.Write || again.Revision != 2 {
		t.Errorf("what was erased here is not a change at Stripe: %+v %+v", again, outcome)
	}
}

// TestG11_AnErasureErasesTheAllowanceOfAReplacement: the id of a failure that was not counted can be made of an error code. A
// revoked grant puts no allowance into a tombstone.
func TestG11_AnErasureErasesTheAllowanceOfAReplacement(t *testing.T) {
	policy := RetryPolicy{MaxRetries: 1, DenyCodes: []string{mismatch.Code}}
	s := after(created("evt_1", 1))
	s, _ = ApplyRead(s, read(s, 20, object(StatusRequiresInput, mismatch, "")))
	s, _, allowed := AllowRetry(s, policy, at(30), desk)
	s, _, granted := GrantReplacement(s, policy, at(40), bff, backTo)
	if !allowed || !granted || s.Replacement.Used.Failure == 0 {
		t.Fatalf("allowed %v, granted %v: %+v", allowed, granted, s.Replacement)
	}
	s, _ = Transition(s, canceled("evt_2", 50, ""))
	tombstone, _ := Transition(s, redacted("evt_3", 60, StatusCanceled, RedactionProcessing))
	archived, changed := Archive(s, time.Hour, at(10_000))
	if !changed {
		t.Fatal("not archived")
	}
	for name, s := range map[string]Session{"redacted": tombstone, "archived": archived} {
		if s.Replacement.Used.Failure != 0 || s.Overrides != 1 {
			t.Errorf("%s: %+v, %d overrides; want no failure and 1", name, s.Replacement.Used, s.Overrides)
		}
		s, changed := RevokeReplacement(s, s.Replacement.ReturnURL, at(11_000))
		if !changed || s.OverrideOpen() || s.Allowance.Failure != 0 || s.Overrides != 0 || s.RetriesGranted != 0 {
			t.Errorf("%s and revoked %v: %+v", name, changed, s.State)
		}
		if s.Tombstone() && s.Allowance.Given {
			t.Errorf("a tombstone holds the allowance %+v", s.Allowance)
		}
	}
}

// TestTheArchiveKeepsTheAllowanceOfAReplacement for a counted failure: if the grant is revoked, the allowance is open again.
func TestTheArchiveKeepsTheAllowanceOfAReplacement(t *testing.T) {
	s, policy := closedAndAllowed(t)
	s, _, _ = GrantReplacement(s, policy, at(40), bff, "")
	s, archived := Archive(s, time.Hour, at(10_000))
	s, revoked := RevokeReplacement(s, "", at(11_000))
	if !archived || !revoked || !s.OverrideOpen() {
		t.Errorf("archived %v, revoked %v: %+v", archived, revoked, s.State)
	}
}
