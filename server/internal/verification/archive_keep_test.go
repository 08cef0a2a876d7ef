package verification

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const keep = 90 * 24 * time.Hour

// settledLife returns a session that failed once and was verified after that, at second 1,000,200.
func settledLife() Session {
	object := Object{
		ID: "vs_a", Account: "acct_1", Livemode: true, Type: "document", Created: 1_000_000, Reference: "person-4711",
		Status: StatusRequiresInput, Error: Error{Code: "document_expired", Reason: "The document has expired."}, Report: "vr_1",
	}
	verified := object
	verified.Status, verified.Error, verified.Report = StatusVerified, Error{}, "vr_2"
	var session Session
	for n, object := range []Object{object, verified} {
		second := int64(1_000_100 + 100*n)
		session, _ = Transition(session, Event{
			ID: fmt.Sprintf("evt_%d", n), Type: EventRequiresInput, Source: SourceWebhook,
			Second: second, RecordTime: second*1000 + 400, Object: object,
		})
	}
	return session
}

func TestArchiveKeepsWhatATombstoneHas(t *testing.T) {
	session := settledLife()
	now := time.Unix(1_000_200, 0).Add(keep + time.Second)
	kept, changed := Archive(session, keep, now)
	if !changed || !kept.IsArchived() || session.IsArchived() {
		t.Fatalf("changed %v, archived: %v; before: %v", changed, kept.IsArchived(), session.IsArchived())
	}
	text := fmt.Sprintf("%+v", kept)
	for _, word := range []string{"expired", "person", "vr_"} {
		if !strings.Contains(fmt.Sprintf("%+v", session), word) {
			t.Fatalf("the session had no %q", word)
		}
		if strings.Contains(text, word) {
			t.Errorf("the archived session has %q: %s", word, text)
		}
	}
	if kept.Status != StatusVerified || kept.Revision != session.Revision+1 || kept.FailedAttempts != 1 || kept.Second != session.Second ||
		kept.Created != session.Created || kept.UpdateTime != session.UpdateTime || kept.Account != session.Account || kept.Type != session.Type {
		t.Errorf("the archived session is %+v", kept)
	}
	if changes := kept.ChangesAfter(session.Revision); len(changes) != 1 || changes[0].Revision != kept.Revision || changes[0].State != kept.State {
		t.Errorf("changes after %d: %+v", session.Revision, changes)
	}

	// Nothing is counted or applied again.
	for _, n := range []int{0, 1} {
		if !kept.Knows(fmt.Sprintf("evt_%d", n)) {
			t.Errorf("event %d is not known", n)
		}
	}
	again := Event{ID: "evt_9", Type: EventRequiresInput, Second: 1_000_100, RecordTime: 1_000_100_000, Object: Object{
		ID: "vs_a", Status: StatusRequiresInput, Error: Error{Code: "document_expired"}, Report: "vr_1",
	}}
	if next, outcome := Transition(kept, again); next.FailedAttempts != 1 || next.Status != StatusVerified || outcome.Effect != EffectStale {
		t.Errorf("the same failure under another event id: %d failures, %+v", next.FailedAttempts, outcome)
	}
	if _, changed := Archive(kept, keep, now); changed {
		t.Error("an archived session was archived again")
	}
}

func TestArchiveWithoutAVisibleChangeMakesNoRevision(t *testing.T) {
	session, _ := Transition(Session{}, Event{
		ID: "evt_1", Type: EventCanceled, Second: 1000, RecordTime: 1_000_000, Object: Object{ID: "vs_a", Status: StatusCanceled},
	})
	kept, changed := Archive(session, keep, time.Unix(1000, 0).Add(keep))
	if !changed || kept.Revision != session.Revision || !kept.IsArchived() {
		t.Errorf("changed %v, revision %d; want %d", changed, kept.Revision, session.Revision)
	}
}

func TestArchiveLeaves(t *testing.T) {
	late := time.Unix(1_000_200, 0).Add(10 * keep)
	edit := func(change func(*Session)) Session {
		session := settledLife()
		change(&session)
		return session
	}
	redacted, _ := Transition(settledLife(), Event{
		ID: "evt_r", Type: EventRedacted, Second: 1_000_300, RecordTime: 1_000_300_000,
		Object: Object{ID: "vs_a", Status: StatusVerified, Redaction: RedactionRedacted},
	})
	tests := []struct {
		what    string
		session Session
		keep    time.Duration
		now     time.Time
	}{
		{"nothing", Session{}, keep, late},
		{"without a limit", settledLife(), 0, late},
		{"a second too early", settledLife(), keep, time.Unix(1_000_199, 0).Add(keep)},
		{"what was learned lately", edit(func(s *Session) { s.History[1].RecordTime = late.UnixMilli() }), keep, late.Add(keep / 2)},
		{"what waits for the person", edit(func(s *Session) { s.Status = StatusRequiresInput }), keep, late},
		{"an unresolved session", edit(func(s *Session) { s.Unresolved = true }), keep, late},
		{"a tombstone", redacted, keep, late},
	}
	for _, test := range tests {
		if _, changed := Archive(test.session, test.keep, test.now); changed {
			t.Errorf("%s was archived", test.what)
		}
	}
}

// TestAnArchivedSessionCanChangeAgain: a reviewer's override makes an archived session active again.
func TestAnArchivedSessionCanChangeAgain(t *testing.T) {
	kept, _ := Archive(settledLife(), keep, time.Unix(1_000_200, 0).Add(keep))
	read := Read{
		Object: Object{ID: "vs_a", Status: StatusRequiresInput, Error: Error{Code: "document_expired"}, Report: "vr_3"},
		AsOf:   9_000_000, Applied: kept.Applied, RecordTime: 9_000_000_000,
	}
	next, _ := ApplyRead(kept, read)
	if next.IsArchived() || next.Revision != kept.Revision+1 || next.FailedAttempts != 2 || !next.Knows("evt_0") {
		t.Errorf("after an override: %+v", next)
	}
}

// TestAFloodDoesNotMakeAnOpenSessionArchived: a flood of late events trims the entries with revisions. A session that is not
// settled must not count as archived then.
func TestAFloodDoesNotMakeAnOpenSessionArchived(t *testing.T) {
	s := after(failed("a", 100_000, "vr_1", expired))
	for n := range MaxHistory + 1 {
		s, _ = Transition(s, processing(name("late", n), 5, ""))
	}
	if s.History[0].Revision != 0 || s.Revision != 1 {
		t.Fatalf("revision %d, the first entry's %d", s.Revision, s.History[0].Revision)
	}
	if s.IsArchived() || !(RetryPolicy{}).Lists(s).Has(ListLimitReached) {
		t.Errorf("archived: %v", s.IsArchived())
	}
}
