package verification

import "testing"

// TestG2_FailureIsCountedOnce: a failure is counted once, whichever inputs bring it. Its identity is its report or,
// without one, its event.
func TestG2_FailureIsCountedOnce(t *testing.T) {
	failure := failed("a", 5, "vr_1", expired)
	reportless := failed("a", 5, "", expired)
	byRead := func(o Object) func(Session) Session {
		return func(s Session) Session { s, _ = ApplyRead(s, read(s, 8, o)); return s }
	}
	byEvent := func(e Event) func(Session) Session {
		return func(s Session) Session { s, _ = Transition(s, e); return s }
	}
	for name, c := range map[string]struct {
		inputs []func(Session) Session
		want   int32
	}{
		"event":                                {[]func(Session) Session{byEvent(failure)}, 1},
		"event twice":                          {[]func(Session) Session{byEvent(failure), byEvent(failure)}, 1},
		"two events of one report":             {[]func(Session) Session{byEvent(failure), byEvent(failed("b", 6, "vr_1", mismatch))}, 1},
		"two events of one report, late first": {[]func(Session) Session{byEvent(failed("b", 6, "vr_1", mismatch)), byEvent(failure)}, 1},
		"two reports":                          {[]func(Session) Session{byEvent(failure), byEvent(failed("b", 6, "vr_2", expired))}, 2},
		"two events without a report":          {[]func(Session) Session{byEvent(reportless), byEvent(failed("b", 6, "", expired))}, 2},
		"read, then event":                     {[]func(Session) Session{byRead(failure.Object), byEvent(failure)}, 1},
		"event, then read":                     {[]func(Session) Session{byEvent(failure), byRead(failure.Object)}, 1},
		"event, processing, read, event":       {[]func(Session) Session{byEvent(failure), byEvent(processing("b", 7, "")), byRead(failure.Object), byEvent(failure)}, 1},
		"read without a report":                {[]func(Session) Session{byRead(reportless.Object)}, 0},
		"read without a report, then event":    {[]func(Session) Session{byRead(reportless.Object), byEvent(reportless)}, 1},
		"event without a report, then read":    {[]func(Session) Session{byEvent(reportless), byRead(reportless.Object)}, 1},
		"late, under verified":                 {[]func(Session) Session{byEvent(verified("b", 9, "vr_2")), byEvent(failure)}, 1},
		"late, under canceled":                 {[]func(Session) Session{byEvent(canceled("b", 9, "vr_1")), byEvent(failure), byRead(failure.Object)}, 1},
		"in a created event":                   {[]func(Session) Session{byEvent(processing("b", 9, "")), byEvent(event("c", EventCreated, 4, failure.Object))}, 1},
		"abandoned":                            {[]func(Session) Session{byEvent(failed("b", 5, "vr_1", abandoned))}, 0},
		"abandoned, read":                      {[]func(Session) Session{byRead(object(StatusRequiresInput, abandoned, "vr_1"))}, 0},
		"no error":                             {[]func(Session) Session{byEvent(failed("b", 5, "vr_1", Error{}))}, 0},
		"a reason without a code":              {[]func(Session) Session{byEvent(failed("b", 5, "vr_1", Error{Reason: "No."}))}, 1},
		"an error beside another status":       {[]func(Session) Session{byEvent(event("b", EventCanceled, 5, object(StatusCanceled, expired, "vr_1")))}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var s Session
			for _, input := range c.inputs {
				s = input(s)
			}
			if s.FailedAttempts != c.want || len(s.Failures) != int(c.want) {
				t.Errorf("failed attempts %d, hashes %d, want %d", s.FailedAttempts, len(s.Failures), c.want)
			}
		})
	}
}

// TestG9_GrantBelongsToTheFailureShown: the shown failure is found by its identity, even if a read showed the failure
// before its event brought the identity.
func TestG9_GrantBelongsToTheFailureShown(t *testing.T) {
	id := FailureID("vs_1", "vr_1")
	for name, c := range map[string]struct {
		have Session
		want uint64
	}{
		"event":                           {after(failed("a", 5, "vr_1", expired)), id},
		"event without a report":          {after(failed("a", 5, "", expired)), FailureID("vs_1", "a")},
		"abandoned":                       {after(failed("a", 5, "vr_1", abandoned)), 0},
		"open":                            {after(created("a", 5)), 0},
		"the next submission":             {after(failed("a", 5, "vr_1", expired), processing("b", 6, "vr_1")), 0},
		"verified":                        {after(failed("a", 5, "vr_1", expired), verified("b", 6, "vr_2")), 0},
		"counted late, something is open": {after(failed("b", 9, "vr_2", abandoned), failed("a", 5, "vr_1", expired)), 0},
		"counted late, another is shown":  {after(failed("b", 9, "vr_2", expired), failed("a", 5, "vr_1", expired)), FailureID("vs_1", "vr_2")},
	} {
		if c.have.ShownFailure != c.want {
			t.Errorf("%s: %x, want %x", name, c.have.ShownFailure, c.want)
		}
	}

	reportless := failed("a", 5, "", expired)
	s, _ := ApplyRead(Session{}, read(Session{}, 8, reportless.Object))
	if s.ShownFailure != 0 {
		t.Fatalf("a read without a report knows no identity: %x", s.ShownFailure)
	}
	s, outcome := Transition(s, reportless)
	if s.ShownFailure != FailureID("vs_1", "a") || outcome.Effect != EffectCounted {
		t.Errorf("the event did not bring it: %x, %+v", s.ShownFailure, outcome)
	}
}

// TestG9_GrantIsFoundAgain: a read or an override can show the failure again.
func TestG9_GrantIsFoundAgain(t *testing.T) {
	failure := failed("a", 5, "vr_1", expired)
	s, _, _ := GrantRetry(after(failure), policy(), at(6), bff)
	s, _ = Transition(s, processing("b", 7, "vr_1"))
	if s.ShownGranted {
		t.Error("processing shows no failure")
	}
	byRead, _ := ApplyRead(s, read(s, 8, failure.Object))
	byEvent, _ := Transition(s, failed("c", 9, "vr_1", expired))
	for _, back := range []Session{byRead, byEvent} {
		if !back.ShownGranted {
			t.Error("the grant of a failure was lost")
		}
		if next, _, changed := GrantRetry(back, policy(), at(10), bff); changed || next.RetriesGranted != 1 {
			t.Error("a failure was granted twice")
		}
	}
}

// TestLastFailureIsTheNewest: it is the newest one by Stripe's time, in any order of the inputs.
func TestLastFailureIsTheNewest(t *testing.T) {
	one, two := failed("a", 5, "vr_1", expired), failed("b", 9, "vr_2", mismatch)
	back := failed("c", 20, "vr_2", expired) // a reviewer's, of a failure that was counted
	slow := func(s Session, o Object) Session { s, _ = ApplyRead(s, read(s, 3, o)); return s }
	for name, c := range map[string]struct {
		have   Session
		report string
		second int64
		code   string
	}{
		"in order":                  {after(one, two), "vr_2", 9, mismatch.Code},
		"the other way round":       {after(two, one), "vr_2", 9, mismatch.Code},
		"canceled":                  {after(one, two, canceled("d", 12, "vr_2")), "vr_2", 9, mismatch.Code},
		"counted under a cancel":    {after(canceled("d", 12, "vr_2"), one), "vr_1", 5, expired.Code},
		"an override":               {after(one, two, back), "vr_2", 20, expired.Code},
		"an override, came first":   {after(back, two, one), "vr_2", 20, expired.Code},
		"a read with an old as_of":  {slow(after(one, processing("p", 8, "vr_1")), two.Object), "vr_2", 8, mismatch.Code},
		"abandoned after a failure": {after(one, failed("d", 7, "vr_1", abandoned)), "vr_1", 5, expired.Code},
	} {
		want := LastFailure{ID: FailureID("vs_1", c.report), Second: c.second, Code: c.code}
		if c.have.LastFailure != want {
			t.Errorf("%s: %+v, want %+v", name, c.have.LastFailure, want)
		}
	}
}

// TestFailureIDIsKeyedBySession: the ids of one report in two sessions have nothing in common, and no id is 0.
func TestFailureIDIsKeyedBySession(t *testing.T) {
	if FailureID("vs_1", "vr_1") == FailureID("vs_2", "vr_1") || FailureID("vs_1", "vr_1") == FailureID("vs_1", "vr_2") {
		t.Error("two identities are one")
	}
	if FailureID("vs_1", "vr_1") != FailureID("vs_1", "vr_1") || FailureID("", "") == 0 {
		t.Error("an identity changed, or is none")
	}
}

// TestG2_FailuresAreBounded: beyond the bound the oldest hash is dropped, but the count stays.
func TestG2_FailuresAreBounded(t *testing.T) {
	var s Session
	for i := range MaxKnownIDs + 10 {
		s, _ = Transition(s, failed(name("f", i), int64(i), name("vr", i), expired))
	}
	if len(s.Failures) != MaxKnownIDs || s.FailedAttempts != MaxKnownIDs+10 || len(s.History) != MaxHistory {
		t.Errorf("%d hashes, %d counted, %d entries", len(s.Failures), s.FailedAttempts, len(s.History))
	}
}

// A read that changes only the time of the last failure is written.
func TestTheTimeOfTheLastFailureIsWritten(t *testing.T) {
	have := after(failed("a", 3, "vr_1", expired), canceled("b", 4, "vr_1"))
	next, outcome := ApplyRead(have, read(have, 9, object(StatusRequiresInput, expired, "vr_1")))
	if next.LastFailure == have.LastFailure || !outcome.Write {
		t.Errorf("last failure %+v after %+v, outcome %+v; want another one, written", next.LastFailure, have.LastFailure, outcome)
	}
}
