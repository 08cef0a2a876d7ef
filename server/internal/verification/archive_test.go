package verification

import (
	"strings"
	"testing"
)

// flooded returns a session after n late events that change nothing.
func flooded(s Session, n int) Session {
	for k := range n {
		late := processing(name("late", k), 5, "")
		late.Object.Reference = ""
		s, _ = Transition(s, late)
	}
	return s
}

// unmarked returns an archived session as a version without the mark wrote it.
func unmarked(s Session) Session {
	s.ArchivedAt, s.Erased = 0, nil
	return s
}

func archived(t *testing.T, s Session) Session {
	t.Helper()
	kept, changed := Archive(s, keep, at(2_000_000_000))
	if !changed {
		t.Fatal("nothing was archived")
	}
	return kept
}

// TestIsArchived: a full history of inputs without a revision looks like that of an archived session,
// but it is not archived.
func TestIsArchived(t *testing.T) {
	// Nothing that the archive erases: no reference, no report and no error tell the two apart.
	plain := verified("v", 1_000, "")
	plain.Object.Reference = ""
	settled := after(plain)
	withReference := after(verified("v", 1_000, ""))
	canceled := object(StatusCanceled, Error{}, "")
	canceled.Reference = ""
	byRead, _ := ApplyRead(Session{}, Read{Object: canceled, AsOf: 1_000, RecordTime: 1})
	kept := archived(t, settled)
	bare := archived(t, byRead)
	override := failed("o", 2_000_000, "vr_9", expired)
	for what, test := range map[string]struct {
		session Session
		want    bool
	}{
		"a settled session":                          {settled, false},
		"one late event short of a full history":     {flooded(settled, MaxHistory-1), false},
		"a full history":                             {flooded(settled, MaxHistory), false},
		"more than full":                             {flooded(settled, 3*MaxHistory), false},
		"a full history of a person":                 {flooded(withReference, MaxHistory), false},
		"a full history after a read":                {flooded(byRead, MaxHistory), false},
		"archived":                                   {kept, true},
		"archived, then late events":                 {flooded(kept, 5), true},
		"archived, then a full history":              {flooded(kept, MaxHistory+1), true},
		"archived after a full history":              {archived(t, flooded(settled, MaxHistory)), true},
		"archived after a read, without an entry":    {bare, true},
		"archived by the version before":             {unmarked(kept), true},
		"the same, then late events":                 {flooded(unmarked(kept), MaxHistory-1), true},
		"the same after a full history":              {unmarked(archived(t, flooded(settled, MaxHistory))), true},
		"the same without an entry":                  {unmarked(bare), true},
		"the same without an entry, then a late one": {flooded(unmarked(bare), 1), true},
		"back in life":                               {continued(kept, override), false},
		"back in life and settled":                   {continued(kept, override, verified("w", 3_000_000, "vr_10")), false},
		"back in life by the version before":         {continued(unmarked(kept), override), false},
	} {
		if got := test.session.IsArchived(); got != test.want {
			t.Errorf("%s: archived %v, want %v", what, got, test.want)
		}
	}
	if _, changed := Archive(flooded(settled, MaxHistory), keep, at(2_000_000_000)); !changed {
		t.Error("a session with a full history is never archived")
	}
}

func continued(s Session, events ...Event) Session {
	for _, e := range events {
		s, _ = Transition(s, e)
	}
	return s
}

// TestAnOlderReplicaLeavesNoFalseMark: an older replica keeps the field ArchivedAt, changes the session and archives
// nothing.
func TestAnOlderReplicaLeavesNoFalseMark(t *testing.T) {
	kept := archived(t, after(verified("v", 1_000, "vr_1")))
	changed := continued(unmarked(kept), failed("o", 2_000_000, "vr_9", expired), verified("w", 3_000_000, "vr_10"))
	changed.ArchivedAt = kept.ArchivedAt
	if changed.IsArchived() {
		t.Error("a mark of an earlier revision counts")
	}
}

// TestWhatWasArchivedStaysErased: neither a late event nor a read that equals the state restores a reference, a
// report or a reason.
func TestWhatWasArchivedStaysErased(t *testing.T) {
	for what, kept := range map[string]Session{
		"marked": archived(t, settledLife()), "unmarked": unmarked(archived(t, settledLife())),
	} {
		shown := Object{
			ID: "vs_a", Type: "document", Created: 1_000_000, Status: StatusVerified, Report: "vr_2", Reference: "person-4711",
		}
		late := shown
		late.Status, late.Error, late.Report = StatusRequiresInput, Error{Code: "document_expired", Reason: "The document has expired."}, "vr_1"
		byRead, outcome := ApplyRead(kept, Read{Object: shown, AsOf: 9_000_000, Applied: kept.Applied, RecordTime: 9_000_000_000})
		if outcome.Write {
			t.Errorf("%s: a read that says the same is an input: %+v", what, outcome)
		}
		sameSecond := shown
		uncounted := late
		uncounted.Report = "vr_never_seen"
		counted := continued(kept, Event{ID: "evt_7", Type: EventRequiresInput, Second: 1_000_050, RecordTime: 9_000_000_000, Object: uncounted})
		if !counted.IsArchived() || counted.FailedAttempts != 2 || counted.Revision != kept.Revision+1 {
			t.Errorf("%s, a late failure: archived %v, %d failures at revision %d", what, counted.IsArchived(), counted.FailedAttempts, counted.Revision)
		}
		for _, word := range []string{"person-4711", "vr_", "has expired"} {
			if strings.Contains(dump(counted), word) {
				t.Errorf("%s: a late failure brings back %q", what, word)
			}
		}
		for how, next := range map[string]Session{
			"a read":     byRead,
			"late event": continued(kept, Event{ID: "evt_8", Type: EventRequiresInput, Second: 1_000_050, RecordTime: 9_000_000_000, Object: late}),
			"an event of the same second": continued(kept, Event{
				ID: "evt_9", Type: EventVerified, Second: kept.Second, RecordTime: 9_000_000_000, Object: sameSecond,
			}),
		} {
			if !next.IsArchived() || next.Revision != kept.Revision || next.Unresolved {
				t.Errorf("%s, %s: archived %v, revision %d of %d, pending %v", what, how, next.IsArchived(), next.Revision, kept.Revision, next.Unresolved)
			}
			for _, word := range []string{"person-4711", "vr_", "has expired"} {
				if strings.Contains(dump(next), word) {
					t.Errorf("%s, %s brings back %q", what, how, word)
				}
			}
		}
	}
}

// TestAnOlderReadTakesNoReferenceBack: two reads were in progress, and the newer one was recorded first.
func TestAnOlderReadTakesNoReferenceBack(t *testing.T) {
	o := object(StatusVerified, Error{}, "vr_1")
	o.Reference = "wrong"
	s := after(event("e_1", EventVerified, 10, o))
	older, newer := read(s, 20, o), read(s, 21, o)
	newer.Object.Reference = "right"
	s, _ = ApplyRead(s, newer)
	next, outcome := ApplyRead(s, older)
	if !outcome.Dropped || next.Reference != "right" || next.Revision != s.Revision {
		t.Errorf("%+v, reference %s at revision %d", outcome, next.Reference, next.Revision)
	}
	older, newer = read(s, 22, newer.Object), read(s, 23, newer.Object)
	newer.Object.Type = "id_number"
	s, _ = ApplyRead(s, newer)
	if next, outcome := ApplyRead(s, older); !outcome.Dropped || next.Type != "id_number" {
		t.Errorf("%+v, type %s", outcome, next.Type)
	}
}

// TestAReadCorrectsTheReference: a read is newer than everything in the record, so it corrects the reference even if
// the state is the same. A read without a reference removes none.
func TestAReadCorrectsTheReference(t *testing.T) {
	open := created("a", 1)
	open.Object.Reference = "wrong"
	s := after(open)
	o := open.Object
	o.Reference = "right"
	s, outcome := ApplyRead(s, read(s, 50, o))
	if s.Reference != "right" || s.Revision != 2 || outcome.Effect != EffectApplied {
		t.Errorf("reference %q at revision %d, %+v", s.Reference, s.Revision, outcome)
	}
	o.Reference = ""
	if next, outcome := ApplyRead(s, read(s, 60, o)); outcome.Write || next.Reference != "right" {
		t.Errorf("reference %q, %+v", next.Reference, outcome)
	}
}

// TestG5_HadOtherReference: it does so even if the references are erased.
func TestG5_HadOtherReference(t *testing.T) {
	of := func(e Event, reference string) Event {
		e.Object.Reference = reference
		return e
	}
	s := after(of(created("a", 1), "first"), of(processing("b", 5, ""), "second"), of(verified("c", 9, "vr_1"), "first"))
	redacted, _ := Transition(s, redacted("r", 20, StatusVerified, RedactionRedacted))
	kept := archived(t, s)
	older := s
	older.ReferenceMoved = 0
	for _, test := range []struct {
		what      string
		session   Session
		reference string
		revision  int32
		want      bool
	}{
		{"seen before it moved", s, "first", 1, true},
		{"seen before it moved back", s, "first", 2, true},
		{"seen since", s, "first", 3, false},
		{"another's", s, "second", 3, true},
		{"redacted, seen before", redacted, "first", 1, true},
		{"redacted, seen since", redacted, "first", 3, false},
		{"archived, seen before", kept, "first", 2, true},
		{"archived, seen since", kept, "first", 3, false},
		{"by an older replica, seen before", older, "first", 1, true},
		{"by an older replica, seen since", older, "first", 3, false},
	} {
		if got := test.session.HadOtherReference(test.reference, test.revision); got != test.want {
			t.Errorf("%s: %v, want %v", test.what, got, test.want)
		}
	}
}

// TestErasedFingerprintsAreThoseOfTheRevisions: the fingerprints stay equal over several erasures, and their number
// is bounded.
func TestErasedFingerprintsAreThoseOfTheRevisions(t *testing.T) {
	s := after(created("a", 1), processing("b", 5, ""), verified("c", 9, "vr_1"))
	was := map[int32]uint32{}
	note := func() {
		for revision := int32(1); revision <= s.Revision; revision++ {
			if print, ok := s.Fingerprint(revision); ok {
				was[revision] = print
			}
		}
	}
	note()
	s = archived(t, s)
	s = continued(s, failed("o", 2_000_000, "vr_9", expired))
	note()
	s, _ = Transition(s, redacted("r", 3_000_000, StatusRequiresInput, RedactionProcessing))
	for revision, want := range was {
		if got, ok := s.ErasedFingerprint(revision); !ok || got != want {
			t.Errorf("revision %d: %d %v, want %d", revision, got, ok, want)
		}
	}
	if _, ok := s.ErasedFingerprint(s.Revision); ok {
		t.Error("the redaction's own revision is not erased")
	}
	for n := range 3 * MaxHistory {
		s.History = append(s.History, Entry{Revision: int32(n + 10), Source: SourceWebhook})
	}
	if s.redactHistory(); len(s.Erased) != MaxHistory {
		t.Errorf("%d fingerprints are kept", len(s.Erased))
	}
}
