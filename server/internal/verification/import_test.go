package verification

import (
	"cmp"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// listed returns a session as a page as of a second shows it.
func listed(asOf int64, o Object) Listed {
	return Listed{Object: o, AsOf: asOf, RecordTime: 1000 * (asOf + 1000)}
}

// imported returns the record that an import begins.
func imported(asOf int64, o Object) Session {
	s, _ := ApplyImport(Session{}, listed(asOf, o))
	return s
}

func TestImportBeginsARecord(t *testing.T) {
	for name, test := range map[string]struct {
		shown  Object
		failed int32
	}{
		"not submitted":               {object(StatusRequiresInput, Error{}, ""), 0},
		"failed":                      {object(StatusRequiresInput, expired, "vr_1"), 1},
		"failed without a report":     {object(StatusRequiresInput, expired, ""), 1},
		"abandoned":                   {object(StatusRequiresInput, abandoned, "vr_1"), 0},
		"processing":                  {object(StatusProcessing, Error{}, "vr_1"), 0},
		"verified":                    {object(StatusVerified, Error{}, "vr_2"), 0},
		"canceled":                    {object(StatusCanceled, Error{}, "vr_2"), 0},
		"an unknown status":           {object("reviewing", Error{}, "vr_2"), 0},
		"canceled, with a last error": {object(StatusCanceled, expired, "vr_2"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, outcome := ApplyImport(Session{}, listed(500, test.shown))
			if outcome != (Outcome{Effect: EffectApplied, Write: true}) {
				t.Errorf("outcome %+v", outcome)
			}
			wantError := test.shown.Error
			if test.shown.Status == StatusCanceled {
				wantError = Error{}
			}
			shows(t, s, test.shown.Status, wantError, test.shown.Report)
			want := []any{"vs_1", "acct_1", true, "document", "person-1", int64(1), int64(500), int64(500), int64(500), test.failed, int32(1), uint32(1)}
			got := []any{s.ID, s.Account, s.Livemode, s.Type, s.Reference, s.Created, s.UpdateTime, s.Second, s.AsOf, s.FailedAttempts, s.Revision, s.Applied}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			wantEntry := Entry{
				Revision: 1, Source: SourceImport, Effect: EffectApplied, EventTime: 500, RecordTime: 1_500_000,
				Status: test.shown.Status, Error: test.shown.Error, Result: s.State,
			}
			wantEntry.Result.LastFailure = LastFailure{}
			if diff := gocmp.Diff([]Entry{wantEntry}, s.History); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportChangesNoKnownSession(t *testing.T) {
	known := after(created("c", 1), failed("f", 5, "vr_1", expired))
	next, outcome := ApplyImport(known, listed(500, object(StatusVerified, Error{}, "vr_2")))
	if outcome != (Outcome{}) {
		t.Errorf("outcome %+v, want none", outcome)
	}
	if diff := gocmp.Diff(known, next); diff != "" {
		t.Errorf("the record changed (-want +got):\n%s", diff)
	}
}

// A redacted session that is imported is a tombstone at once, also if Stripe's list still showed a text.
func TestG11_AnImportedRedactionIsATombstone(t *testing.T) {
	for _, redaction := range []Redaction{RedactionProcessing, RedactionRedacted} {
		o := object(StatusRequiresInput, expired, "vr_1")
		o.Redaction = redaction
		s := imported(500, o)
		shows(t, s, StatusRequiresInput, Error{}, "")
		if s.Reference != "" || s.Redaction != redaction || s.FailedAttempts != 1 || s.LastFailure.Code != "" {
			t.Errorf("reference %q, redaction %d, failed %d, last code %q", s.Reference, s.Redaction, s.FailedAttempts, s.LastFailure.Code)
		}
		entry := lastEntry(t, s)
		if entry.Status != "" || entry.Error != (Error{}) || entry.Source != SourceImport {
			t.Errorf("entry %+v holds what was redacted", entry)
		}
	}
}

func TestDiffers(t *testing.T) {
	verifiedOne := imported(500, object(StatusVerified, Error{}, "vr_1"))
	change := func(s Session, change func(*Object)) Object {
		o := Object{ID: s.ID, Account: s.Account, Livemode: s.Livemode, Type: s.Type, Status: s.Status, Error: s.Error,
			Report: s.Report, Created: s.Created, Reference: s.Reference, Redaction: s.Redaction}
		change(&o)
		return o
	}
	ended := imported(500, object(StatusCanceled, Error{}, "vr_1"))
	erased := object(StatusVerified, Error{}, "vr_1")
	erased.Redaction = RedactionRedacted
	tombstone := imported(500, erased)
	heir := verifiedOne
	heir.Predecessor = "vs_0"
	for name, test := range map[string]struct {
		record Session
		change func(*Object)
		want   bool
	}{
		"equal":                       {verifiedOne, func(*Object) {}, false},
		"another status":              {verifiedOne, func(o *Object) { o.Status = StatusRequiresInput }, true},
		"another error":               {verifiedOne, func(o *Object) { o.Error = expired }, true},
		"another report":              {verifiedOne, func(o *Object) { o.Report = "vr_2" }, true},
		"another reference":           {verifiedOne, func(o *Object) { o.Reference = "person-2" }, true},
		"no reference":                {verifiedOne, func(o *Object) { o.Reference = "" }, false},
		"another type":                {verifiedOne, func(o *Object) { o.Type = "id_number" }, true},
		"a redaction":                 {verifiedOne, func(o *Object) { o.Redaction = RedactionProcessing }, true},
		"a claim":                     {verifiedOne, func(o *Object) { o.Replaces = "vs_0" }, true},
		"a claim of an heir":          {heir, func(o *Object) { o.Replaces = "vs_0" }, false},
		"canceled, another status":    {ended, func(o *Object) { o.Status = StatusVerified }, false},
		"canceled, with a last error": {ended, func(o *Object) { o.Error = expired }, false},
		"tombstone, with its texts":   {tombstone, func(o *Object) { o.Report, o.Reference, o.Type = "vr_1", "person-1", "x" }, false},
		"tombstone, not yet redacted": {tombstone, func(o *Object) { o.Redaction = RedactionNone }, false},
		"tombstone, another status":   {tombstone, func(o *Object) { o.Status = StatusCanceled }, true},
	} {
		if got := test.record.Differs(change(test.record, test.change)); got != test.want {
			t.Errorf("%s: differs %v, want %v", name, got, test.want)
		}
	}
}

// What an import began, later events continue: an older event changes no state, and the failure that the import counted is
// counted once, whatever brings it again.
func TestG2_AFailureOfAnImportIsCountedOnce(t *testing.T) {
	for _, report := range []string{"vr_1", ""} {
		start := imported(500, object(StatusRequiresInput, expired, report))
		for name, test := range map[string]struct {
			events  []Event
			failed  int32
			effects []Effect
		}{
			"its event":                        {[]Event{failed("f", 490, report, expired)}, 1, []Effect{EffectStale}},
			"its event, twice by another id":   {[]Event{failed("f", 490, "vr_9", mismatch), failed("g", 490, report, expired)}, 2, []Effect{EffectCounted, EffectStale}},
			"an earlier failure":               {[]Event{failed("e", 300, "", mismatch)}, 2, []Effect{EffectCounted}},
			"an earlier failure, and its own":  {[]Event{failed("e", 300, "", mismatch), failed("f", 490, report, expired)}, 2, []Effect{EffectCounted, EffectStale}},
			"a later failure of another check": {[]Event{processing("p", 600, ""), failed("h", 610, "vr_2", expired)}, 2, []Effect{EffectApplied, EffectApplied}},
			"a later one without a report":     {[]Event{processing("p", 600, ""), failed("h", 610, "", expired)}, 2, []Effect{EffectApplied, EffectApplied}},
			"all of them, backwards": {[]Event{failed("h", 610, "", expired), processing("p", 600, ""), failed("f", 490, report, expired), created("c", 1)},
				2, []Effect{EffectApplied, EffectStale, EffectStale, EffectStale}},
		} {
			s := start
			for i, e := range test.events {
				var outcome Outcome
				s, outcome = Transition(s, e)
				if outcome.Effect != test.effects[i] {
					t.Errorf("report %q, %s: event %s is %v, want %v", report, name, e.ID, outcome.Effect, test.effects[i])
				}
			}
			if s.FailedAttempts != test.failed || int(test.failed) != len(s.Failures) {
				t.Errorf("report %q, %s: %d counted, %d known, want %d", report, name, s.FailedAttempts, len(s.Failures), test.failed)
			}
		}
	}
}

// The grant of a failure that an import counted stays its grant when the event brings the failure's identity.
func TestG9_TheGrantOfAnImportedFailureIsKept(t *testing.T) {
	s := imported(500, object(StatusRequiresInput, expired, ""))
	s, decision, _ := GrantRetry(s, policy(), at(600), bff)
	if decision.Denial != DenialNone || s.RetriesGranted != 1 {
		t.Fatalf("denial %d, %d granted", decision.Denial, s.RetriesGranted)
	}
	s, _ = Transition(s, failed("f", 490, "", expired))
	s, decision, changed := GrantRetry(s, policy(), at(700), bff)
	if decision.Denial != DenialNone || changed || s.RetriesGranted != 1 || s.FailedAttempts != 1 {
		t.Errorf("denial %d, changed %v, %d granted, %d failed; want the same grant", decision.Denial, changed, s.RetriesGranted, s.FailedAttempts)
	}
}

// A redaction or the archive erases the entry of the import. The failure's event is still recognized.
func TestG2_AFailureOfAnErasedImportIsCountedOnce(t *testing.T) {
	s := imported(500, object(StatusRequiresInput, expired, ""))
	s, _ = Transition(s, redacted("r", 600, StatusRequiresInput, RedactionProcessing))
	s, outcome := Transition(s, failed("f", 490, "", expired))
	if s.FailedAttempts != 1 || outcome.Effect != EffectStale {
		t.Errorf("%d counted, effect %v; want 1, stale", s.FailedAttempts, outcome.Effect)
	}
}

// TestG1_G2_G4_AnyOrderWithAnImport: events in distinct seconds, shuffled and repeated, with imports of what Stripe showed at
// some moment in between, end as in their true order. If the session is known already, an import that differs leads to a read.
func TestG1_G2_G4_AnyOrderWithAnImport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := drawLife(t)
		inOrder := after(life...)
		var deliveries []Event
		for _, e := range life {
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				deliveries = append(deliveries, e)
			}
		}
		deliveries = rapid.Permutation(deliveries).Draw(t, "order")
		imports := map[int]bool{rapid.IntRange(0, len(deliveries)).Draw(t, "import"): true, rapid.IntRange(0, len(deliveries)).Draw(t, "again"): true}
		moment := 0 // of the life; a later page never shows an older state
		var s Session
		for i := range len(deliveries) + 1 {
			if imports[i] {
				moment = rapid.IntRange(moment, len(life)-1).Draw(t, "moment")
				shown := life[moment]
				s = step(t, s, func(s Session) (Session, Outcome) {
					if s.Exists() && s.Differs(shown.Object) {
						return ApplyRead(s, read(s, life[len(life)-1].Second, life[len(life)-1].Object))
					}
					return ApplyImport(s, listed(shown.Second, shown.Object))
				})
			}
			if i < len(deliveries) {
				s = step(t, s, func(s Session) (Session, Outcome) { return Transition(s, deliveries[i]) })
			}
		}
		got, want := endOf(s), endOf(inOrder)
		// An import or a read can leave the position behind the last event, and which of two failures without a report and
		// with the same error is the shown one.
		got.UpdateTime, got.Second, got.Shown, got.Last = want.UpdateTime, want.Second, want.Shown, want.Last
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("ended (-want +got):\n%s", diff)
		}
	})
}

// TestG1_G2_AnImportReplacesItsEvents: Stripe no longer has the events of before an import. The later ones, in any order and
// repeated, end the session as Stripe shows it. The failures that were counted are those of the later events, and the one that
// the import showed.
func TestG1_G2_AnImportReplacesItsEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := drawLife(t)
		for i := range life { // farther apart than the time of a page is exact
			life[i].Second *= 2 * importedSlack
		}
		moment := rapid.IntRange(0, len(life)-1).Draw(t, "moment")
		s := imported(life[moment].Second, life[moment].Object)
		failures := map[string]bool{}
		if o := life[moment].Object; o.isFailure() {
			failures[cmp.Or(o.Report, life[moment].ID)] = true
		}
		var deliveries []Event
		for _, e := range life[moment+1:] {
			if e.Object.isFailure() {
				failures[cmp.Or(e.Object.Report, e.ID)] = true
			}
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				deliveries = append(deliveries, e)
			}
		}
		if len(deliveries) > 1 {
			deliveries = rapid.Permutation(deliveries).Draw(t, "order")
		}
		for _, e := range deliveries {
			s = step(t, s, func(s Session) (Session, Outcome) { return Transition(s, e) })
		}
		want := after(life...)
		// A redaction erases when the import was: then a late failure without a report can be taken for the imported one.
		least := len(failures)
		if o := life[moment].Object; want.Tombstone() && o.isFailure() && o.Report == "" {
			least--
		}
		if got := int(s.FailedAttempts); got < least || got > len(failures) {
			t.Fatalf("%d failed, want %d to %d", got, least, len(failures))
		}
		shown := []any{s.Status, s.Error, s.Report, s.Redaction, s.Reference}
		if diff := gocmp.Diff([]any{want.Status, want.Error, want.Report, want.Redaction, want.Reference}, shown); diff != "" {
			t.Fatalf("ended (-want +got):\n%s", diff)
		}
	})
}
