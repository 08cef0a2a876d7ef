package verification

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
)

func name(prefix string, i int) string { return fmt.Sprintf("%s_%d", prefix, i) }

// TestG4_EachVisibleChangeMakesOneRevision: an input without a visible change makes none.
func TestG4_EachVisibleChangeMakesOneRevision(t *testing.T) {
	s := after(created("a", 1))
	want := int32(1)
	step := func(what string, e Event, grows int32) {
		t.Helper()
		s, _ = Transition(s, e)
		if want += grows; s.Revision != want {
			t.Fatalf("%s: revision %d, want %d", what, s.Revision, want)
		}
	}
	step("a new status", processing("b", 5, ""), 1)
	step("the same event", processing("b", 5, ""), 0)
	step("an older event", processing("c", 4, ""), 0)
	step("another event of the same", processing("d", 5, ""), 0)
	step("a newer second of the same moves update_time", processing("e", 6, ""), 1)
	step("a failure counted late", failed("f", 3, "vr_0", expired), 1)
	step("the same failure by another event", failed("g", 3, "vr_0", expired), 0)
	step("an ambiguous event without an answer that does not apply", failed("h", 6, "", Error{}), 0)
	step("a failure", failed("i", 7, "vr_1", expired), 1)
	step("another reason", failed("j", 8, "vr_1", mismatch), 1)
	step("another report", failed("k", 9, "vr_2", mismatch), 1)
	step("a cancel", canceled("l", 10, "vr_2"), 1)
	step("a redaction, too old for the state", redacted("m", 2, StatusCanceled, RedactionProcessing), 1)
	step("its end", redacted("n", 20, StatusCanceled, RedactionRedacted), 1)
	if len(s.History) != 14 {
		t.Errorf("%d entries: each input has its own, a repeat has none", len(s.History))
	}
}

// TestG4_GrantHasItsRevision: a grant makes a revision with its own entry. Callers do not see to which failure it
// belongs.
func TestG4_GrantHasItsRevision(t *testing.T) {
	s, _, _ := GrantRetry(after(failed("a", 5, "vr_1", expired)), policy(), at(6), bff)
	entry := lastEntry(t, s)
	if s.Revision != 2 || entry.Revision != 2 || entry.Source != SourceRetry || entry.EventTime != 0 || entry.Result.RetriesGranted != 1 {
		t.Errorf("%+v", entry)
	}
	hidden := s.State
	hidden.ShownFailure, hidden.ShownGranted = 0, false
	if !sameSeen(hidden, s.State) {
		t.Error("to what a grant belongs is no revision")
	}
}

// TestG5_AnyRevisionIsDerived: from any revision on, the changes come in order and without a gap, each as it was, and
// the last one is the current state.
func TestG5_AnyRevisionIsDerived(t *testing.T) {
	inputs := []Event{created("a", 1), processing("b", 5, ""), processing("x", 2, ""), failed("c", 7, "vr_1", expired),
		processing("d", 8, "vr_1"), failed("e", 3, "vr_0", mismatch), verified("f", 9, "vr_2")}
	var s Session
	var states []State
	for _, e := range inputs {
		was := s.Revision
		if s, _ = Transition(s, e); s.Revision > was {
			states = append(states, s.State)
		}
	}
	for from := int32(-1); from <= s.Revision+1; from++ {
		changes := s.ChangesAfter(from)
		if want := max(0, min(int(s.Revision), int(s.Revision-from))); len(changes) != want {
			t.Fatalf("after %d: %d changes, want %d", from, len(changes), want)
		}
		for i, change := range changes {
			if change.Revision != max(0, from)+int32(i)+1 || change.State != states[change.Revision-1] {
				t.Errorf("after %d: change %d is %+v, want %+v", from, i, change, states[change.Revision-1])
			}
		}
	}
	if s.Floor() != 1 || (Session{}).Floor() != 0 || (Session{}).ChangesAfter(0) != nil {
		t.Error("the floor of a full history is 1, of nothing 0")
	}
}

// TestG5_TrimmedHistory: beyond the bound the history no longer holds the oldest revisions. It holds all others.
func TestG5_TrimmedHistory(t *testing.T) {
	var s Session
	const inputs = MaxHistory + 44
	for i := range inputs {
		s, _ = Transition(s, processing(name("e", i), int64(i+1), ""))
	}
	changes := s.ChangesAfter(0)
	if len(s.History) != MaxHistory || s.Revision != inputs || s.Floor() != 45 || len(changes) != MaxHistory {
		t.Fatalf("%d entries, revision %d, floor %d, %d changes", len(s.History), s.Revision, s.Floor(), len(changes))
	}
	for i, change := range changes {
		if change.Revision != s.Floor()+int32(i) || change.State.UpdateTime != int64(change.Revision) {
			t.Fatalf("change %d: %+v", i, change)
		}
	}
	if _, ok := s.Fingerprint(s.Floor() - 1); ok {
		t.Error("a fingerprint of what is gone")
	}
	if _, ok := s.Fingerprint(s.Floor()); !ok {
		t.Error("no fingerprint of what is there")
	}
	// Many inputs without a revision push out even the last one: its state can still be told.
	for i := range MaxHistory {
		s, _ = Transition(s, processing(name("stale", i), 1, ""))
	}
	changes = s.ChangesAfter(s.Revision - 1)
	if s.Floor() != s.Revision || len(changes) != 1 || changes[0] != s.Current() {
		t.Errorf("floor %d, changes %+v", s.Floor(), changes)
	}
	if len(s.ChangesAfter(s.Revision)) != 0 || len(s.ChangesAfter(3)) != 1 {
		t.Error("no change after the last revision, one after any other")
	}
}

// TestG2_TrimmedEventsStayKnown: the event id of a trimmed entry stays known for 35 days.
func TestG2_TrimmedEventsStayKnown(t *testing.T) {
	const day = 24 * 60 * 60
	var s Session
	for i := range MaxHistory + 1 {
		e := processing(name("e", i), int64(i+1), "")
		e.RecordTime = 1_000_000
		s, _ = Transition(s, e)
	}
	s, _ = ApplyRead(s, read(s, 5000, object(StatusVerified, Error{}, "vr_1"))) // no event: nothing to know again
	for i := range 3 {
		if !s.Knows(name("e", i)) {
			t.Fatalf("event %d went and is not known", i)
		}
	}
	if s.Knows("e_never") || len(s.TrimmedEvents) != 2 {
		t.Fatalf("%d forgotten", len(s.TrimmedEvents))
	}
	for days, known := range map[int64]bool{34: true, 35: true, 36: false} {
		later := processing(name("later", int(days)), 1, "")
		later.RecordTime = 1_000_000 + 1000*days*day
		if next, _ := Transition(s, later); next.Knows("e_0") != known {
			t.Errorf("after %d days: known %v", days, !known)
		}
	}
	for i := range MaxKnownIDs + 200 {
		e := processing(name("more", i), 1, "")
		e.RecordTime = 1_000_000
		s, _ = Transition(s, e)
	}
	if len(s.TrimmedEvents) != MaxKnownIDs {
		t.Errorf("%d event ids are kept", len(s.TrimmedEvents))
	}
}

// TestLongRecordsShareNoSlice: a record that is derived from a long record changes neither that record nor any other
// record derived from it.
func TestLongRecordsShareNoSlice(t *testing.T) {
	var s Session
	for i := range MaxHistory + 9 {
		e := failed(name("e", i), int64(i+1), name("vr", i), expired)
		e.RecordTime = 1_000_000 + 1000*int64(i)*24*60*60 // the first forgotten ids go again below
		s, _ = Transition(s, e)
	}
	s = roomy(s)
	before := deepCopy(s)
	later := func(id string) Event {
		e := failed(id, 9999, id, expired)
		e.RecordTime = s.History[MaxHistory-1].RecordTime + 1000*(EventIDLife-3*24*60*60)
		return e
	}
	one, _ := Transition(s, later("one"))
	first := deepCopy(one)
	other, _ := Transition(s, later("other"))
	if !reflect.DeepEqual(deepCopy(s), before) || !reflect.DeepEqual(deepCopy(one), first) || !other.Knows("other") {
		t.Error("two records share memory")
	}
	if len(one.TrimmedEvents) >= len(s.TrimmedEvents)+1 {
		t.Errorf("nothing was forgotten: %d of %d", len(one.TrimmedEvents), len(s.TrimmedEvents))
	}
}

// TestG7_Fingerprint: the fingerprint differs if a revision was made twice in different ways, and stays equal while
// the session continues.
func TestG7_Fingerprint(t *testing.T) {
	s := after(created("a", 1), processing("b", 5, ""), processing("x", 1, ""))
	prints := map[uint32]bool{}
	for revision := int32(1); revision <= 2; revision++ {
		print, ok := s.Fingerprint(revision)
		if !ok || prints[print] {
			t.Errorf("revision %d: %d %v", revision, print, ok)
		}
		prints[print] = true
	}
	for _, revision := range []int32{-1, 0, 3} {
		if print, ok := s.Fingerprint(revision); ok || print != 0 {
			t.Errorf("revision %d has a fingerprint", revision)
		}
	}
	was, _ := s.Fingerprint(2)
	longer, _ := Transition(s, verified("c", 6, "vr_1"))
	if now, _ := longer.Fingerprint(2); now != was {
		t.Error("a fingerprint changed as the session continued")
	}
	again := processing("b", 5, "")
	again.RecordTime++
	for what, other := range map[string]Session{
		"another event":    after(created("a", 1), processing("c", 5, "")),
		"recorded later":   after(created("a", 1), again),
		"another position": after(processing("b", 5, "")),
	} {
		if print, _ := other.Fingerprint(other.Revision); print == was {
			t.Errorf("%s: the same fingerprint", what)
		}
	}
	tombstone, _ := Transition(s, redacted("r", 9, StatusVerified, RedactionProcessing))
	if _, ok := tombstone.Fingerprint(2); ok {
		t.Error("what a redaction took away has no fingerprint")
	}
	if _, ok := tombstone.Fingerprint(3); !ok {
		t.Error("the redaction's own revision has one")
	}
}

// TestExtraIsKept: the fields of a newer version survive every change but a redaction.
func TestExtraIsKept(t *testing.T) {
	s := after(created("a", 1))
	s.Extra, s.History[0].Extra = []byte("newer"), []byte("entry")
	s, _ = Transition(s, failed("b", 5, "vr_1", expired))
	s, _, _ = GrantRetry(s, policy(), at(6), bff)
	s, _ = ApplyRead(s, read(s, 7, object(StatusProcessing, Error{}, "vr_1")))
	if !bytes.Equal(s.Extra, []byte("newer")) || !bytes.Equal(s.History[0].Extra, []byte("entry")) {
		t.Errorf("lost: %q %q", s.Extra, s.History[0].Extra)
	}
	s, _ = Transition(s, redacted("r", 9, StatusVerified, RedactionProcessing))
	if s.Extra != nil || s.History[0].Extra != nil {
		t.Errorf("kept: %q %q", s.Extra, s.History[0].Extra)
	}
}
