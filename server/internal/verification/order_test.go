package verification

import "testing"

// TestG1_RulesOfOrder has a case for each line of the rules of order. The third column is the result without an
// answer of Stripe. ambiguous is whether the order is ambiguous.
func TestG1_RulesOfOrder(t *testing.T) {
	none := Error{}
	ri := StatusRequiresInput
	wasRead := func(asOf int64, o Object) Session {
		s, _ := ApplyRead(Session{}, read(Session{}, asOf, o))
		return s
	}
	for name, c := range map[string]struct {
		have      Session
		input     Event
		status    string
		err       Error
		report    string
		effect    Effect
		ambiguous bool
	}{
		"unknown session: as it is":                  {Session{}, failed("e", 5, "vr_1", expired), ri, expired, "vr_1", EffectApplied, false},
		"unknown session, canceled":                  {Session{}, canceled("e", 5, "vr_1"), StatusCanceled, none, "vr_1", EffectApplied, false},
		"2: canceled applies though older":           {after(processing("a", 9, "")), canceled("e", 5, ""), StatusCanceled, none, "", EffectApplied, false},
		"2: canceled leaves verified, not ambiguous": {after(verified("a", 9, "vr_1")), canceled("e", 9, "vr_1"), StatusCanceled, none, "vr_1", EffectApplied, false},
		"2: canceled below a read's as_of":           {wasRead(9, object(StatusProcessing, none, "")), canceled("e", 3, ""), StatusCanceled, none, "", EffectApplied, false},
		"2: nothing newer leaves canceled":           {after(canceled("a", 5, "vr_1")), verified("e", 9, "vr_2"), StatusCanceled, none, "vr_1", EffectStale, false},
		"2: nothing of its second leaves it":         {after(canceled("a", 5, "vr_1")), processing("e", 5, ""), StatusCanceled, none, "vr_1", EffectStale, false},
		"2: canceled again, older":                   {after(canceled("a", 5, "vr_1")), canceled("e", 4, "vr_0"), StatusCanceled, none, "vr_1", EffectStale, false},
		"2: a body that still has the error":         {after(failed("a", 5, "vr_1", expired)), event("e", EventCanceled, 6, object(StatusCanceled, expired, "vr_1")), StatusCanceled, none, "vr_1", EffectApplied, false},
		"4: created replaces nothing, newer":         {after(failed("a", 5, "vr_1", expired)), created("e", 9), ri, expired, "vr_1", EffectStale, false},
		"4: created replaces nothing, its second":    {after(processing("a", 5, "")), created("e", 5), StatusProcessing, none, "", EffectStale, false},
		"4: created does not leave verified":         {after(verified("a", 5, "vr_1")), created("e", 9), StatusVerified, none, "vr_1", EffectStale, false},
		"5: newer":                                   {after(failed("a", 5, "vr_1", expired)), processing("e", 6, "vr_1"), StatusProcessing, none, "vr_1", EffectApplied, false},
		"5: newer, an unknown status":                {after(processing("a", 5, "")), event("e", "x", 6, object("reviewing", none, "vr_1")), "reviewing", none, "vr_1", EffectApplied, false},
		"5: newer, verified to verified":             {after(verified("a", 5, "vr_1")), verified("e", 6, "vr_2"), StatusVerified, none, "vr_2", EffectApplied, false},
		"5: newer, leaves verified: an override":     {after(verified("a", 5, "vr_1")), failed("e", 6, "vr_1", expired), ri, expired, "vr_1", EffectPending, true},
		"5: newer, leaves verified without error":    {after(verified("a", 5, "vr_1")), failed("e", 6, "vr_1", none), ri, none, "vr_1", EffectPending, true},
		"5: newer, verified to processing":           {after(verified("a", 5, "vr_1")), processing("e", 6, "vr_1"), StatusProcessing, none, "vr_1", EffectPending, true},
		"6: older":                                   {after(verified("a", 5, "vr_1")), processing("e", 4, ""), StatusVerified, none, "vr_1", EffectStale, false},
		"6: older than the read":                     {wasRead(9, object(ri, expired, "vr_1")), processing("e", 8, ""), ri, expired, "vr_1", EffectStale, false},
		"6: of the second of the read's as_of":       {wasRead(9, object(ri, expired, "vr_1")), processing("e", 9, ""), ri, expired, "vr_1", EffectStale, false},
		"5: newer than the read":                     {wasRead(9, object(ri, expired, "vr_1")), processing("e", 10, ""), StatusProcessing, none, "", EffectApplied, false},
		"7: the same state":                          {after(verified("a", 5, "vr_1")), verified("e", 5, "vr_1"), StatusVerified, none, "vr_1", EffectStale, false},
		"7: processing after verified":               {after(verified("a", 5, "vr_1")), processing("e", 5, ""), StatusVerified, none, "vr_1", EffectStale, false},
		"7: verified after processing":               {after(processing("a", 5, "")), verified("e", 5, "vr_1"), StatusVerified, none, "vr_1", EffectApplied, false},
		"7: failed after processing":                 {after(processing("a", 5, "")), failed("e", 5, "vr_1", expired), ri, expired, "vr_1", EffectPending, true},
		"7: processing after failed":                 {after(failed("a", 5, "vr_1", expired)), processing("e", 5, ""), ri, expired, "vr_1", EffectPending, true},
		"7: open after processing":                   {after(processing("a", 5, "")), failed("e", 5, "", none), StatusProcessing, none, "", EffectPending, true},
		"7: processing after open":                   {after(created("a", 5)), processing("e", 5, ""), StatusProcessing, none, "", EffectPending, true},
		"7: failed after verified: verified":         {after(verified("a", 5, "vr_1")), failed("e", 5, "vr_1", expired), StatusVerified, none, "vr_1", EffectPending, true},
		"7: verified after failed: verified":         {after(failed("a", 5, "vr_1", expired)), verified("e", 5, "vr_1"), StatusVerified, none, "vr_1", EffectPending, true},
		"7: failed after failed: the later":          {after(failed("a", 5, "vr_1", expired)), failed("e", 5, "vr_2", mismatch), ri, mismatch, "vr_2", EffectPending, true},
		"7: processing after processing":             {after(processing("a", 5, "vr_1")), processing("e", 5, "vr_2"), StatusProcessing, none, "vr_2", EffectPending, true},
		"7: an unknown status after verified":        {after(verified("a", 5, "vr_1")), event("e", "x", 5, object("reviewing", none, "vr_1")), StatusVerified, none, "vr_1", EffectPending, true},
		"8: older, a failure":                        {after(verified("a", 5, "vr_2")), failed("e", 4, "vr_1", expired), StatusVerified, none, "vr_2", EffectCounted, false},
		"8: under canceled, a failure":               {after(canceled("a", 5, "vr_1")), failed("e", 4, "vr_1", expired), StatusCanceled, none, "vr_1", EffectCounted, false},
	} {
		t.Run(name, func(t *testing.T) {
			next, outcome := Transition(c.have, c.input)
			shows(t, next, c.status, c.err, c.report)
			entry := lastEntry(t, next)
			if outcome.Effect != c.effect || entry.Effect != c.effect || outcome.Ambiguous != c.ambiguous || next.Unresolved != c.ambiguous {
				t.Errorf("effect %d (entry %d), ambiguous %v, unresolved %v; want %d, %v",
					outcome.Effect, entry.Effect, outcome.Ambiguous, next.Unresolved, c.effect, c.ambiguous)
			}
			if entry.EventID != "e" || !outcome.Write || next.UpdateTime < c.have.UpdateTime || next.Second < c.have.Second {
				t.Errorf("entry %+v, write %v, update_time %d after %d", entry, outcome.Write, next.UpdateTime, c.have.UpdateTime)
			}
			moved := next.State != c.have.State
			if outcome.Effect == EffectStale && (moved || next.Revision != c.have.Revision) {
				t.Errorf("a stale input changed %+v to %+v", c.have.State, next.State)
			}
			again, outcome := Transition(next, c.input)
			if !outcome.Duplicate || outcome.Write || again.Revision != next.Revision || len(again.History) != len(next.History) {
				t.Errorf("rule 1: the same event again: %+v", outcome)
			}
		})
	}
}

// TestOrder_EntryTellsTheInput: an entry holds what its input carried. Only an entry with a revision holds a result.
func TestOrder_EntryTellsTheInput(t *testing.T) {
	s := after(verified("a", 9, "vr_2"), failed("b", 5, "vr_1", expired), processing("c", 4, ""))
	if len(s.History) != 3 {
		t.Fatalf("%d entries", len(s.History))
	}
	want := []Entry{
		{Revision: 1, EventID: "a", EventType: EventVerified, Effect: EffectApplied, EventTime: 9, Status: StatusVerified},
		{Revision: 2, EventID: "b", EventType: EventRequiresInput, Effect: EffectCounted, EventTime: 5, Status: StatusRequiresInput, Error: expired},
		{EventID: "c", EventType: EventProcessing, Effect: EffectStale, EventTime: 4, Status: StatusProcessing},
	}
	for i, entry := range s.History {
		if (entry.Revision == 0) != (entry.Result == State{}) {
			t.Errorf("entry %d: revision %d with result %+v", i, entry.Revision, entry.Result)
		}
		want[i].Source, want[i].RecordTime = SourceWebhook, 1000*(want[i].EventTime+1000)
		want[i].Result, want[i].Extra = entry.Result, entry.Extra
		if entry.Revision != want[i].Revision || entry.Effect != want[i].Effect || entry.EventTime != want[i].EventTime ||
			entry.EventID != want[i].EventID || entry.EventType != want[i].EventType || entry.Source != want[i].Source ||
			entry.RecordTime != want[i].RecordTime || entry.Status != want[i].Status || entry.Error != want[i].Error {
			t.Errorf("entry %d: %+v, want %+v", i, entry, want[i])
		}
	}
}

// TestOrder_FirstInputNamesTheSession: the first input sets the identity. Later inputs fill in what it lacked, and
// each such change is visible.
func TestOrder_FirstInputNamesTheSession(t *testing.T) {
	bare := verified("a", 9, "vr_1")
	bare.Object.Type, bare.Object.Reference, bare.Object.Created = "", "", 0
	s := after(bare)
	if s.ID != "vs_1" || s.Account != "acct_1" || !s.Livemode || s.Revision != 1 || !s.Exists() {
		t.Fatalf("%+v", s)
	}
	late := created("b", 1)
	s, outcome := Transition(s, late)
	if s.Type != "document" || s.Reference != "person-1" || s.Created != 1 || s.Revision != 2 || outcome.Effect != EffectApplied {
		t.Errorf("a late event did not fill in what was missing: %+v, %+v", s.State, outcome)
	}
	other := created("c", 1)
	other.Object.Type, other.Object.Reference, other.Object.Created = "id_number", "person-2", 2
	s, _ = Transition(s, other)
	if s.Type != "document" || s.Reference != "person-1" || s.Created != 1 || s.Revision != 2 {
		t.Errorf("a late event replaced what was told: %+v", s.State)
	}
	newer := verified("d", 10, "vr_1")
	newer.Object.Reference = "person-3"
	if s, _ = Transition(s, newer); s.Reference != "person-3" || s.Status != StatusVerified {
		t.Errorf("a newer event corrects the reference: %+v", s.State)
	}
}
