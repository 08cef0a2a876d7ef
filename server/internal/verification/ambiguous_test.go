package verification

import "testing"

// TestG1_SettleReadFirstThenEvent: the read sets the state first, and the event is judged second. Each change has its
// own revision and entry.
func TestG1_SettleReadFirstThenEvent(t *testing.T) {
	was := after(verified("a", 5, "vr_1"))
	override := failed("b", 10, "vr_1", expired)
	for name, c := range map[string]struct {
		read      Object
		effect    Effect
		entries   int
		revision  int32
		second    int64
		failures  int32
		asOf      int64
		wantError Error
	}{
		"it says what was read: applied": {override.Object, EffectApplied, 3, 2, 12, 1, 12, expired},
		"Stripe shows what is shown":     {object(StatusVerified, Error{}, "vr_1"), EffectCounted, 2, 2, 5, 1, 0, Error{}},
		"Stripe shows something else":    {object(StatusProcessing, Error{}, "vr_2"), EffectCounted, 3, 3, 12, 1, 12, Error{}},
	} {
		t.Run(name, func(t *testing.T) {
			next, outcome := Resolve(was, override, read(was, 12, c.read))
			shows(t, next, c.read.Status, c.wantError, c.read.Report)
			if outcome.Effect != c.effect || outcome.Ambiguous || outcome.Dropped || !outcome.Write || next.Unresolved {
				t.Errorf("outcome %+v, pending %v", outcome, next.Unresolved)
			}
			if len(next.History) != c.entries || next.Revision != c.revision || lastEntry(t, next).EventID != "b" {
				t.Errorf("%d entries, revision %d: %+v", len(next.History), next.Revision, next.History)
			}
			if next.Second != c.second || next.AsOf != c.asOf || next.FailedAttempts != c.failures {
				t.Errorf("second %d, as of %d, failed %d", next.Second, next.AsOf, next.FailedAttempts)
			}
			if c.entries == 3 && (next.History[1].Source != SourceStripeAPI || next.History[1].EventID != "") {
				t.Errorf("the read left %+v", next.History[1])
			}
			if _, again := Resolve(next, override, read(next, 13, c.read)); !again.Duplicate {
				t.Errorf("again: %+v", again)
			}
		})
	}
}

// TestG1_SettleStaleEvent: an event is stale if it differs from the read and is not a failure.
func TestG1_SettleStaleEvent(t *testing.T) {
	was := after(failed("a", 5, "vr_1", expired))
	next, outcome := Resolve(was, processing("b", 5, "vr_1"), read(was, 6, was.History[0].object()))
	if outcome.Effect != EffectStale || next.Revision != 1 || next.Second != 5 || next.Unresolved {
		t.Errorf("%+v, %+v", outcome, next)
	}
}

func (e Entry) object() Object { return object(e.Status, e.Error, e.Result.Report) }

// TestG1_SettleTakesItsPositionWhereTheReadWasNoInput is a life that the model found. Two failures without a report
// look alike. The read for the first one was applied while the order of the second one was ambiguous. The read for
// the second one then showed nothing new, and an event that was older than both overwrote them forever.
func TestG1_SettleTakesItsPositionWhereTheReadWasNoInput(t *testing.T) {
	first, second := failed("first", 11, "", expired), failed("second", 14, "", expired)
	s := after(verified("a", 3, ""))
	_, outcome := Transition(s, second)
	if !outcome.Ambiguous {
		t.Fatal("the order is not ambiguous")
	}
	s, _ = Resolve(s, first, read(s, 12, first.Object))
	s, outcome = Resolve(s, second, read(s, 13, second.Object))
	if outcome.Effect != EffectApplied || s.Second != 14 || s.UpdateTime != 14 || s.FailedAttempts != 2 {
		t.Errorf("%+v, second %d, update_time %d, failed %d", outcome, s.Second, s.UpdateTime, s.FailedAttempts)
	}
	s, _ = Transition(s, processing("between", 13, ""))
	shows(t, s, StatusRequiresInput, expired, "")
	// Of the same second the order of the two is Stripe's to tell.
	if s, outcome = Transition(s, processing("same", 14, "")); !outcome.Ambiguous || s.Status != StatusRequiresInput {
		t.Errorf("%+v, %s", outcome, s.Status)
	}
}

// TestG1_SettleNeverLeavesCanceled: an old read does not reopen a canceled session.
func TestG1_SettleNeverLeavesCanceled(t *testing.T) {
	s := after(canceled("a", 5, "vr_1"))
	open := failed("b", 9, "vr_1", expired)
	next, outcome := Resolve(s, open, read(s, 9, open.Object))
	if next.Status != StatusCanceled || outcome.Effect == EffectPending || next.FailedAttempts != 1 {
		t.Errorf("%+v %+v", next.State, outcome)
	}
}

// TestG1_OvertakenReadIsDropped: an input that was applied after the start of the GET can be newer than its answer.
func TestG1_OvertakenReadIsDropped(t *testing.T) {
	begun := after(verified("a", 5, "vr_1"))
	answer := read(begun, 12, object(StatusRequiresInput, expired, "vr_1"))
	overtaken, _ := Transition(begun, verified("b", 20, "vr_2"))

	for name, apply := range map[string]func() (Session, Outcome){
		"ApplyRead": func() (Session, Outcome) { return ApplyRead(overtaken, answer) },
		"Resolve":   func() (Session, Outcome) { return Resolve(overtaken, failed("c", 11, "vr_1", expired), answer) },
	} {
		next, outcome := apply()
		if !outcome.Dropped || outcome.Write || len(next.History) != 2 || next.Status != StatusVerified || next.Knows("c") {
			t.Errorf("%s: %+v %+v", name, outcome, next)
		}
	}
	// An input that was not applied overtakes nothing.
	late, _ := Transition(begun, processing("d", 1, ""))
	if next, outcome := ApplyRead(late, answer); outcome.Dropped || next.Status != StatusRequiresInput {
		t.Errorf("%+v %+v", outcome, next)
	}
	// A read overtakes another one.
	first, _ := ApplyRead(begun, answer)
	if _, outcome := ApplyRead(first, answer); !outcome.Dropped {
		t.Errorf("a second read of the same moment: %+v", outcome)
	}
}

// TestG1_ReadSetsTheWholeState: the position after a read is the greatest of the record's second, the read's AsOf and
// the second of the ambiguous event. So nothing that the read included is applied again.
func TestG1_ReadSetsTheWholeState(t *testing.T) {
	was := after(processing("a", 20, "vr_1"))
	failedNow := object(StatusRequiresInput, expired, "vr_1")
	for name, c := range map[string]struct {
		asOf, ambiguous, second int64
	}{
		"the record's":          {10, 0, 20},
		"as_of":                 {30, 0, 30},
		"the ambiguous event's": {10, 25, 25},
	} {
		next, outcome := ApplyRead(was, read(was, c.asOf, failedNow))
		if c.ambiguous > 0 {
			next, outcome = Resolve(was, failed("b", c.ambiguous, "vr_0", mismatch), read(was, c.asOf, failedNow))
		}
		if next.Second != c.second || next.UpdateTime != c.second || next.AsOf != c.asOf || next.Status != StatusRequiresInput || !outcome.Write {
			t.Errorf("%s: second %d, update_time %d, as of %d", name, next.Second, next.UpdateTime, next.AsOf)
		}
	}
}

// TestReadThatShowsTheSame: a read that equals the state makes no entry, no revision and no new position. It resolves
// the session.
func TestReadThatShowsTheSame(t *testing.T) {
	s := after(failed("a", 5, "vr_1", expired))
	next, outcome := ApplyRead(s, read(s, 50, object(StatusRequiresInput, expired, "vr_1")))
	if outcome != (Outcome{}) || len(next.History) != 1 || next.Revision != 1 || next.Second != 5 || next.AsOf != 0 || next.Applied != s.Applied {
		t.Errorf("%+v %+v", outcome, next)
	}
	pending := after(failed("a", 5, "vr_1", expired), processing("b", 5, ""))
	if !pending.Unresolved {
		t.Fatal("not pending")
	}
	next, outcome = ApplyRead(pending, read(pending, 50, object(StatusRequiresInput, expired, "vr_1")))
	if !outcome.Write || next.Unresolved || len(next.History) != 2 || next.Revision != pending.Revision {
		t.Errorf("%+v %+v", outcome, next)
	}
}

// TestPendingEnds: any read, an event of a later second, and a cancel resolve a session. Nothing else does.
func TestPendingEnds(t *testing.T) {
	pending := after(failed("a", 5, "vr_1", expired), processing("b", 5, ""))
	for name, c := range map[string]struct {
		input Event
		want  bool
	}{
		"an older event":          {processing("c", 4, ""), true},
		"the same state":          {failed("c", 5, "vr_1", expired), true},
		"a later second":          {processing("c", 6, ""), false},
		"canceled":                {canceled("c", 5, ""), false},
		"a later ambiguous event": {failed("c", 5, "vr_9", mismatch), true},
		"created, at any second":  {created("c", 9), true},
		"a late failure, counted": {failed("c", 3, "vr_0", mismatch), true},
	} {
		if next, _ := Transition(pending, c.input); next.Unresolved != c.want {
			t.Errorf("%s: pending %v", name, next.Unresolved)
		}
	}
	other := object(StatusProcessing, Error{}, "vr_2")
	if next, _ := ApplyRead(pending, read(pending, 4, other)); next.Unresolved || next.Status != StatusProcessing {
		t.Errorf("a read: %+v", next)
	}
}

// TestReadOfAnUnknownSession: a read can begin a session. Its position is the AsOf of the read.
func TestReadOfAnUnknownSession(t *testing.T) {
	s, outcome := ApplyRead(Session{}, read(Session{}, 30, object(StatusProcessing, Error{}, "")))
	if s.Revision != 1 || s.Second != 30 || s.AsOf != 30 || s.ID != "vs_1" || s.Applied != 1 || outcome.Effect != EffectApplied {
		t.Errorf("%+v %+v", s, outcome)
	}
	entry := lastEntry(t, s)
	if entry.Source != SourceStripeAPI || entry.EventTime != 30 || entry.Revision != 1 || entry.Status != StatusProcessing {
		t.Errorf("%+v", entry)
	}
	// An event that came first overtakes it.
	if _, outcome := ApplyRead(after(created("a", 1)), read(Session{}, 30, object(StatusProcessing, Error{}, ""))); !outcome.Dropped {
		t.Errorf("%+v", outcome)
	}
}
