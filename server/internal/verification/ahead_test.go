package verification

import "testing"

// arrivedAt returns the event as if it arrived at a second.
func (e Event) arrivedAt(second int64) Event {
	e.RecordTime = second * 1000
	return e
}

func TestAnEventAheadOfTheClockIsAmbiguous(t *testing.T) {
	have := after(processing("a", 1000, ""))
	for name, c := range map[string]struct {
		have      Session
		event     Event
		ambiguous bool
		second    int64
	}{
		"of an unknown session":       {Session{}, verified("b", 9000, "vr_1").arrivedAt(2000), true, 2000},
		"of a known session":          {have, verified("b", 9000, "vr_1").arrivedAt(2000), true, 2000},
		"301 seconds ahead":           {have, verified("b", 2301, "vr_1").arrivedAt(2000), true, 2000},
		"300 seconds ahead":           {have, verified("b", 2300, "vr_1").arrivedAt(2000), false, 2300},
		"the record is ahead already": {after(processing("a", 5000, "")), verified("b", 9000, "vr_1").arrivedAt(2000), true, 5000},
		"a cancel is final":           {have, canceled("b", 9000, "").arrivedAt(2000), false, 2000},
		"created replaces nothing":    {have, created("b", 9000).arrivedAt(2000), false, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			next, outcome := Transition(c.have, c.event)
			if outcome.Ambiguous != c.ambiguous || next.Second != c.second {
				t.Errorf("ambiguous %v, second %d; want %v, %d", outcome.Ambiguous, next.Second, c.ambiguous, c.second)
			}
			if c.event.Type != EventCreated && next.Status != c.event.Object.Status {
				t.Errorf("without an answer it shows %s, want %s", next.Status, c.event.Object.Status)
			}
			if entry := lastEntry(t, next); entry.EventTime != c.event.Second {
				t.Errorf("the entry has the time %d, want Stripe's, %d", entry.EventTime, c.event.Second)
			}
		})
	}
}

// TestAnEventAheadDoesNotBlockLaterEvents: whether Stripe answers or not, the next event in order applies.
func TestAnEventAheadDoesNotBlockLaterEvents(t *testing.T) {
	event := processing("a", 90_000, "").arrivedAt(2000)
	byRule, _ := Transition(Session{}, event)
	answered, outcome := Resolve(Session{}, event, read(Session{}, 1999, event.Object))
	if outcome.Ambiguous || answered.Unresolved || answered.Second > 2000 {
		t.Errorf("answered by Stripe: outcome %+v, second %d", outcome, answered.Second)
	}
	for name, have := range map[string]Session{"decided by rule": byRule, "answered": answered} {
		next, outcome := Transition(have, verified("b", 2001, "vr_1").arrivedAt(2002))
		if next.Status != StatusVerified || outcome.Ambiguous || next.UpdateTime != 2001 {
			t.Errorf("%s: outcome %+v, status %s, update time %d", name, outcome, next.Status, next.UpdateTime)
		}
	}
	// A thin event ahead of the clock gives the position of its arrival too.
	if next, _ := ApplyThin(Session{}, thin(event), read(Session{}, 1999, event.Object)); next.Second != 2000 {
		t.Errorf("thin: second %d, want 2000", next.Second)
	}
}

// TestTestEventsOfTheDashboard: they all have the same id.
func TestTestEventsOfTheDashboard(t *testing.T) {
	first, second := failed(testEventID, 5, "", expired), verified(testEventID, 9, "vr_1")
	have := after(first)
	next, outcome := Transition(have, second)
	if outcome.Duplicate || next.Status != StatusVerified {
		t.Errorf("another test event: outcome %+v, status %s", outcome, next.Status)
	}
	for _, again := range []Event{first, second} {
		if _, outcome := Transition(next, again); !outcome.Duplicate {
			t.Errorf("the same test event of second %d again: outcome %+v", again.Second, outcome)
		}
	}
	later := failed(testEventID, 12, "", expired)
	if next, _ = Transition(next, later); next.FailedAttempts != 2 {
		t.Errorf("%d failures of test events are counted, want 2", next.FailedAttempts)
	}
	for i := range MaxHistory {
		next, _ = Transition(next, processing(name("evt_more", i), 20+int64(i), ""))
	}
	if _, outcome := Transition(next, first); !outcome.Duplicate {
		t.Errorf("trimmed: outcome %+v", outcome)
	}
}
