package verification

import "testing"

// thin is the thin event of an event of a session.
func thin(e Event) Event {
	return Event{ID: "thin_" + e.ID, Type: ThinPrefix + e.Type, Source: SourceWebhook, Second: e.Second, RecordTime: e.RecordTime,
		Object: Object{ID: e.Object.ID, Account: e.Object.Account}, Thin: true}
}

func TestG16_AThinEventBecomesWhatTheReadShows(t *testing.T) {
	have := after(processing("a", 5, ""))
	cases := map[string]struct {
		event    Event
		read     Object
		asOf     int64
		status   string
		err      Error
		report   string
		second   int64
		asOfWant int64
		effect   Effect
		failed   int32
	}{
		"the read is the event's state":       {verified("b", 7, "vr_1"), verified("b", 7, "vr_1").Object, 6, StatusVerified, Error{}, "vr_1", 7, 6, EffectApplied, 0},
		"the read is newer":                   {verified("b", 7, "vr_1"), verified("b", 7, "vr_1").Object, 9, StatusVerified, Error{}, "vr_1", 9, 9, EffectApplied, 0},
		"a failure is counted by its report":  {failed("b", 7, "vr_1", expired), failed("b", 7, "vr_1", expired).Object, 6, StatusRequiresInput, expired, "vr_1", 7, 6, EffectApplied, 1},
		"a failure without a report is not":   {failed("b", 7, "", expired), failed("b", 7, "", expired).Object, 6, StatusRequiresInput, expired, "", 7, 6, EffectApplied, 0},
		"nothing changed: the position rises": {processing("b", 7, ""), processing("b", 7, "").Object, 6, StatusProcessing, Error{}, "", 7, 6, EffectStale, 0},
		"nothing changed, an old event":       {created("b", 2), processing("b", 2, "").Object, 3, StatusProcessing, Error{}, "", 5, 3, EffectStale, 0},
		"an event without a Date":             {verified("b", 7, "vr_1"), verified("b", 7, "vr_1").Object, 0, StatusVerified, Error{}, "vr_1", 7, 0, EffectApplied, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			event := thin(c.event)
			next, outcome := ApplyThin(have, event, read(have, c.asOf, c.read))
			shows(t, next, c.status, c.err, c.report)
			if next.Second != c.second || next.AsOf != c.asOfWant {
				t.Errorf("second %d, as of %d; want %d, %d", next.Second, next.AsOf, c.second, c.asOfWant)
			}
			if next.FailedAttempts != c.failed {
				t.Errorf("%d failures are counted, want %d", next.FailedAttempts, c.failed)
			}
			entry := lastEntry(t, next)
			if outcome.Effect != c.effect || entry.Effect != c.effect || !outcome.Write || len(next.History) != 2 {
				t.Errorf("outcome %+v, entry %+v; want effect %d in one entry", outcome, entry, c.effect)
			}
			if entry.EventID != event.ID || entry.EventType != event.Type || entry.Source != SourceWebhook || entry.EventTime != c.event.Second {
				t.Errorf("entry %+v, want the thin event's", entry)
			}
			if (entry.Revision > 0) != (next.Revision > have.Revision) || (c.effect == EffectStale) != (next.Revision == have.Revision) {
				t.Errorf("revision %d after %d, entry %+v", next.Revision, have.Revision, entry)
			}
		})
	}
}

func TestG16_AThinEventBeginsASession(t *testing.T) {
	event := thin(verified("a", 7, "vr_1"))
	next, outcome := ApplyThin(Session{}, event, read(Session{}, 6, verified("a", 7, "vr_1").Object))
	shows(t, next, StatusVerified, Error{}, "vr_1")
	if outcome.Effect != EffectApplied || next.Revision != 1 || next.Account != "acct_1" || next.Reference != "person-1" || next.Second != 7 {
		t.Errorf("outcome %+v, session %+v", outcome, next)
	}
}

func TestG16_AnOvertakenReadOfAThinEventIsDropped(t *testing.T) {
	have := after(processing("a", 5, ""))
	begun := read(have, 6, have.asObject())
	have, _ = Transition(have, verified("b", 6, "vr_1"))
	next, outcome := ApplyThin(have, thin(verified("b", 6, "vr_1")), begun)
	if !outcome.Dropped || outcome.Write || next.Status != StatusVerified {
		t.Errorf("outcome %+v, status %s", outcome, next.Status)
	}
}

// TestG16_AReadOvertakenByAConfirmation: a read that changes nothing confirms the state. A read that began earlier and
// shows another state must not come after it.
func TestG16_AReadOvertakenByAConfirmation(t *testing.T) {
	have := after(verified("a", 5, "vr_1"))
	earlier := read(have, 7, failed("b", 7, "vr_1", mismatch).Object)
	confirmed, _ := ApplyThin(have, thin(verified("c", 9, "vr_1")), read(have, 9, have.asObject()))
	next, outcome := ApplyRead(confirmed, earlier)
	if !outcome.Dropped {
		t.Errorf("outcome %+v: the earlier read is applied: %+v", outcome, next.State)
	}
}

func TestG16_BothStylesOfOneChangeAreOneEvent(t *testing.T) {
	snapshot := verified("evt_s", 7, "vr_1")
	event := thin(snapshot)
	event.Snapshot = "evt_s"
	have := after(snapshot)
	if next, outcome := ApplyThin(have, event, read(have, 9, failed("x", 9, "", expired).Object)); !outcome.Duplicate || outcome.Write || next.Status != StatusVerified {
		t.Errorf("after the snapshot event: outcome %+v, status %s", outcome, next.Status)
	}
	event.Snapshot = ""
	have, _ = ApplyThin(Session{}, event, read(Session{}, 6, snapshot.Object))
	event.Snapshot = "evt_s"
	if _, outcome := ApplyThin(have, event, read(have, 9, snapshot.Object)); !outcome.Duplicate {
		t.Errorf("the thin event again: outcome %+v", outcome)
	}
}

// TestG16_TheListCountsWhatReadsPassedOver: a read shows only the last of two failures. Stripe's list brings the first.
func TestG16_TheListCountsWhatReadsPassedOver(t *testing.T) {
	first, second := failed("evt_1", 5, "vr_1", expired), failed("evt_2", 9, "vr_2", mismatch)
	have, _ := ApplyThin(Session{}, thin(second), read(Session{}, 8, second.Object))
	have, _ = ApplyThin(have, thin(first), read(have, 9, second.Object))
	if have.FailedAttempts != 1 {
		t.Fatalf("%d failures are counted by reads, want 1", have.FailedAttempts)
	}
	for _, event := range []Event{thin(first), thin(second)} {
		if have.HasSnapshotOf(event) {
			t.Errorf("%s: the snapshot event has not come yet", event.ID)
		}
	}
	for _, snapshot := range []Event{first, second} {
		var outcome Outcome
		have, outcome = Transition(have, snapshot)
		if !outcome.Announced || outcome.Duplicate {
			t.Errorf("%s: outcome %+v, want announced by its thin event", snapshot.ID, outcome)
		}
		if !have.HasSnapshotOf(thin(snapshot)) {
			t.Errorf("%s: the snapshot event has come", snapshot.ID)
		}
	}
	shows(t, have, StatusRequiresInput, mismatch, "vr_2")
	if have.FailedAttempts != 2 {
		t.Errorf("%d failures are counted, want 2", have.FailedAttempts)
	}
	if _, outcome := Transition(have, processing("evt_3", 12, "")); outcome.Announced {
		t.Error("no thin event has announced evt_3")
	}
}

func TestG16_ATombstoneKeepsThinEvents(t *testing.T) {
	event := thin(redacted("a", 7, StatusVerified, RedactionRedacted))
	next, _ := ApplyThin(Session{}, event, read(Session{}, 6, redacted("a", 7, StatusVerified, RedactionRedacted).Object))
	if !next.Tombstone() || !next.KnowsThin(event) || next.Reference != "" || !next.HasSnapshotOf(event) {
		t.Errorf("session %+v", next)
	}
}

// asObject returns the session as Stripe would show it.
func (s Session) asObject() Object {
	return Object{ID: s.ID, Account: s.Account, Type: s.Type, Status: s.Status, Error: s.Error, Report: s.Report, Created: s.Created, Reference: s.Reference}
}
