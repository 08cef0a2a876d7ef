package verification

import "testing"

// absentAfter returns a session that Stripe did not know at n catch-ups in a row.
func absentAfter(t *testing.T, s Session, n int) Session {
	t.Helper()
	for i := range n {
		next, changed := NoteAbsent(s, s, 10_000+int64(i)*AbsentApart)
		if !changed {
			t.Fatal("an absence was not counted")
		}
		s = next
	}
	return s
}

func TestAbsent(t *testing.T) {
	stuck := after(processing("p", 1_000, ""))
	for times := range AbsentAfter {
		s := absentAfter(t, stuck, times)
		if second, due := s.DueAt(); s.IsAbsent() || !due || second != 1_000+StuckAfter {
			t.Errorf("after %d times: absent %v, due %v at %d; want not absent, and due as before", times, s.IsAbsent(), due, second)
		}
	}
	absent := absentAfter(t, stuck, AbsentAfter)
	if second, due := absent.DueAt(); !absent.IsAbsent() || !due || second != AbsentSecond {
		t.Errorf("absent %v, due %v at %d; want absent, and due at %d", absent.IsAbsent(), due, second, AbsentSecond)
	}
	if in := (RetryPolicy{}).Lists(absent); in != 0 {
		t.Errorf("in the lists %b; want none", in)
	}
	if _, changed := NoteAbsent(absent, absent, 1_000_000); changed {
		t.Error("an absent session was counted once more")
	}
	if absent.Revision != stuck.Revision || absent.State != stuck.State {
		t.Error("callers see a difference")
	}
	back, changed := EndAbsence(absent)
	if !changed || back.IsAbsent() || !(RetryPolicy{}).Lists(back).Has(ListProcessing) {
		t.Errorf("after the end: changed %v, absent %v", changed, back.IsAbsent())
	}
	if _, changed := EndAbsence(back); changed {
		t.Error("an absence ended twice")
	}
	if _, changed := NoteAbsent(Session{}, Session{}, 1_000_000); changed {
		t.Error("a session that is not known here was counted")
	}
}

// TestAnInputEndsAnAbsence: each event and each read does, also one that changes nothing else; an event that the session has
// had does not.
func TestAnInputEndsAnAbsence(t *testing.T) {
	first := processing("p", 1_000, "")
	absent := absentAfter(t, after(first), AbsentAfter)
	for name, event := range map[string]Event{
		"a newer event":         processing("p2", 2_000, ""),
		"an older event":        processing("p0", 500, ""),
		"the outcome":           verified("v", 2_000, ""),
		"another of the second": failed("f", 1_000, "vr_1", expired),
	} {
		next, outcome := Transition(absent, event)
		if next.IsAbsent() || next.Absence != (Absence{}) || !outcome.Write {
			t.Errorf("%s: absence %+v, written %v; want none, written", name, next.Absence, outcome.Write)
		}
	}
	if next, outcome := Transition(absent, first); !next.IsAbsent() || outcome.Write {
		t.Errorf("a repeated event: absence %+v, written %v; want it kept", next.Absence, outcome.Write)
	}
	same := Read{Object: first.Object, AsOf: 3_000, Applied: absent.Applied, RecordTime: 1}
	if next, outcome := ApplyRead(absent, same); next.Absence != (Absence{}) || !outcome.Write {
		t.Errorf("a read that says the same: absence %+v, written %v; want none, written", next.Absence, outcome.Write)
	}
}

// TestAnAbsenceCountsOnlyAtItsRevision: an older replica keeps the field and does not end the absence.
func TestAnAbsenceCountsOnlyAtItsRevision(t *testing.T) {
	absent := absentAfter(t, after(processing("p", 1_000, "")), AbsentAfter)
	byOlder, _ := Transition(absent, verified("v", 2_000, ""))
	byOlder.Absence = absent.Absence
	if byOlder.IsAbsent() {
		t.Error("a session that an older replica changed is absent")
	}
	again := absentAfter(t, byOlder, 1)
	if want := (Absence{Times: 1, Revision: again.Revision, Second: 10_000}); again.Absence != want {
		t.Errorf("absence %+v; want %+v", again.Absence, want)
	}
}

// TestAnUnknownSessionIsDue: a session that requires input is never due, unless a read did not find it at Stripe.
func TestAnUnknownSessionIsDue(t *testing.T) {
	open := after(failed("f", 1_000, "vr_1", expired))
	if _, due := open.DueAt(); due {
		t.Error("due without a mark")
	}
	marked, changed := NoteUnknown(open)
	if second, due := marked.DueAt(); !changed || !due || second != 1_000+StuckAfter || marked.IsAbsent() || marked.Revision != open.Revision {
		t.Errorf("changed %v, due %v at %d, absent %v", changed, due, second, marked.IsAbsent())
	}
	if _, changed := NoteUnknown(marked); changed {
		t.Error("marked twice")
	}
	if absent := absentAfter(t, marked, AbsentAfter); !absent.IsAbsent() {
		t.Errorf("after %d catch-ups: %+v", AbsentAfter, absent.Absence)
	} else if _, changed := NoteUnknown(absent); changed {
		t.Error("a mark ended an absence")
	}
	known := Read{Object: failed("f", 1_000, "vr_1", expired).Object, AsOf: 3_000, Applied: marked.Applied, RecordTime: 1}
	if next, outcome := ApplyRead(marked, known); next.Absence != (Absence{}) || !outcome.Write {
		t.Errorf("after a read with success: absence %+v, written %v", next.Absence, outcome.Write)
	}
	byOlder, _ := Transition(marked, failed("f2", 2_000, "vr_2", expired))
	byOlder.Absence = marked.Absence
	if _, due := byOlder.DueAt(); due {
		t.Error("due although an input has come since")
	}
	for name, s := range map[string]Session{"none": {}, "processing": after(processing("p", 1_000, "")), "verified": after(verified("v", 1_000, ""))} {
		if _, changed := NoteUnknown(s); changed {
			t.Errorf("%s: marked", name)
		}
	}
}

// TestAbsencesAreApart: catch-ups that follow each other at once count once. A clock that is far off blocks no count, and a count
// of an older replica has no second.
func TestAbsencesAreApart(t *testing.T) {
	once := absentAfter(t, after(processing("p", 1_000, "")), 1)
	for at, want := range map[int64]bool{
		10_000: false, 10_000 + AbsentApart - 1: false, 10_000 + AbsentApart: true,
		10_000 - AbsentApart + 1: false, 10_000 - AbsentApart: true,
	} {
		next, changed := NoteAbsent(once, once, at)
		if changed != want || changed && next.Absence != (Absence{Times: 2, Revision: once.Revision, Second: at}) {
			t.Errorf("at %d: changed %v, absence %+v; want %v", at, changed, next.Absence, want)
		}
	}
	byOlder := once
	byOlder.Absence = Absence{Times: 2, Revision: once.Revision}
	if next, changed := NoteAbsent(byOlder, byOlder, 10_001); !changed || !next.IsAbsent() {
		t.Errorf("after an older replica: changed %v, absence %+v", changed, next.Absence)
	}
	newer, _ := Transition(once, processing("p2", 2_000, ""))
	newer.Absence = once.Absence // an older replica applied the event
	if next, changed := NoteAbsent(newer, newer, 10_001); !changed || next.Absence.Times != 1 {
		t.Errorf("at another revision: changed %v, absence %+v", changed, next.Absence)
	}
}

// TestAnInputDuringTheReadIsNotAbsent: Stripe was asked before the input came.
func TestAnInputDuringTheReadIsNotAbsent(t *testing.T) {
	read := after(processing("p", 1_000, ""))
	current, _ := Transition(read, verified("v", 2_000, ""))
	if _, changed := NoteAbsent(current, read, 1_000_000); changed {
		t.Error("an absence was counted for a session with a new event")
	}
}
