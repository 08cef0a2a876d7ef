package verification

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"
)

// keyOf returns the key of an outcome, and checks the form of its name.
func keyOf(t *testing.T, s Session) OutcomeKey {
	t.Helper()
	key := s.OutcomeKey()
	if text := key.ID.String(); len(text) != 22 {
		t.Errorf("the id %q has %d characters; want 22", text, len(text))
	} else if bytes, err := base64.RawURLEncoding.DecodeString(text); err != nil || OutcomeID(bytes) != key.ID {
		t.Errorf("the id %q is not the 16 bytes in base64: %v", text, err)
	}
	return key
}

// TestG13_OnlyAnotherStatusErrorOrReportMovesTheOutcome: what repeats the outcome keeps its revision and its name.
func TestG13_OnlyAnotherStatusErrorOrReportMovesTheOutcome(t *testing.T) {
	s := after(created("a", 1))
	want := keyOf(t, s)
	if want.Revision != 1 {
		t.Errorf("the first outcome is of revision %d; want 1", want.Revision)
	}
	step := func(what string, next Session, moves bool) {
		t.Helper()
		key := keyOf(t, next)
		switch {
		case next.Revision == s.Revision:
			t.Errorf("%s: no revision", what)
		case !moves && key != want:
			t.Errorf("%s: the outcome is %v; want %v", what, key, want)
		case moves && (key.Revision != next.Revision || key.ID == want.ID):
			t.Errorf("%s: the outcome is %v after %v; want another one, of revision %d", what, key, want, next.Revision)
		}
		s, want = next, key
	}
	input := func(e Event) Session {
		next, _ := Transition(s, e)
		return next
	}
	step("a status", input(processing("b", 5, "")), true)
	step("a newer second of the same", input(processing("c", 6, "")), false)
	step("a late failure that is counted", input(failed("d", 3, "vr_0", expired)), false)
	step("a failure", input(failed("e", 7, "vr_1", expired)), true)
	granted, _, _ := GrantRetry(s, policy(), at(20), bff)
	step("its grant", granted, false)
	step("another reason", input(failed("f", 8, "vr_1", Error{expired.Code, "Other words."})), true)
	step("another report", input(failed("g", 9, "vr_2", Error{expired.Code, "Other words."})), true)
	inherited, _ := Inherit(s, Session{ID: "vs_0", State: State{FailedAttempts: 1}}, at(21))
	step("inherited counts", inherited, false)
	moved := failed("h", 10, "vr_2", Error{expired.Code, "Other words."})
	moved.Object.Reference = "person-2"
	step("another reference", input(moved), false)
	step("verified", input(verified("i", 11, "vr_3")), true)
	archived, _ := Archive(s, time.Hour, at(11+2*60*60*1000))
	step("the archive", archived, false)
	step("a late failure of an archived session", input(failed("j", 4, "vr_9", expired)), false)
	step("the outcome again after the archive", input(verified("n", 12, "vr_3")), false)
	archived, _ = Archive(s, time.Hour, at(12+2*60*60*1000))
	step("the archive again", archived, false)
	step("an override", input(failed("o", 13, "vr_3", expired)), true)
	step("verified again", input(verified("p", 14, "vr_3")), true)
	step("a redaction", input(redacted("k", 15, StatusVerified, RedactionProcessing)), false)
	step("the end of the redaction", input(redacted("l", 16, StatusVerified, RedactionRedacted)), false)
	step("an override after the redaction", input(redacted("m", 17, StatusCanceled, RedactionRedacted)), true)
}

// TestG13_ARedactionCanBringAnOutcome: then the tombstone has an outcome of its own.
func TestG13_ARedactionCanBringAnOutcome(t *testing.T) {
	s, _ := Transition(after(created("a", 1), processing("b", 5, "")), redacted("c", 6, StatusVerified, RedactionRedacted))
	if key := keyOf(t, s); key.Revision != 3 {
		t.Errorf("the outcome is of revision %d; want 3", key.Revision)
	}
}

// TestG13_TheNameComesFromTheInput: it is made of the session, the status, the code, the report, and Stripe's second of the input,
// so that another record that learns the same outcome gives it the same name.
func TestG13_TheNameComesFromTheInput(t *testing.T) {
	name := func(s Session) string { return s.OutcomeKey().ID.String() }
	want := name(after(created("a", 1), failed("b", 7, "vr_1", expired)))
	for what, s := range map[string]Session{
		"learned again alone":         after(failed("b", 7, "vr_1", expired)),
		"after other events":          after(created("x", 1), processing("y", 3, "vr_1"), failed("z", 7, "vr_1", expired)),
		"with other words":            after(failed("b", 7, "vr_1", Error{expired.Code, "Other words."})),
		"with an older event after":   after(failed("b", 7, "vr_1", expired), failed("c", 3, "vr_0", mismatch)),
		"with a clock that is behind": func() Session { e := failed("b", 7, "vr_1", expired); e.RecordTime = 1; return after(e) }(),
	} {
		if got := name(s); got != want {
			t.Errorf("%s: the name is %s; want %s", what, got, want)
		}
	}
	other := object(StatusRequiresInput, expired, "vr_1")
	other.ID = "vs_2"
	for what, s := range map[string]Session{
		"another session": after(event("b", EventRequiresInput, 7, other)),
		"another status":  after(event("b", EventRequiresInput, 7, object(StatusProcessing, expired, "vr_1"))),
		"another code":    after(failed("b", 7, "vr_1", mismatch)),
		"another report":  after(failed("b", 7, "vr_2", expired)),
		"another second":  after(failed("b", 8, "vr_1", expired)),
	} {
		if got := name(s); got == want {
			t.Errorf("%s: the name is the same", what)
		}
	}
}

// TestG13_AReadThatConfirmsAnEventHasItsTime: whether Stripe could be asked or not, the outcome of an ambiguous event has the same
// name. A read that alone learned the outcome has its own second.
func TestG13_AReadThatConfirmsAnEventHasItsTime(t *testing.T) {
	current := after(verified("a", 5, "vr_1"))
	override := failed("b", 9, "vr_1", mismatch)
	want := outcomeID("vs_1", State{Status: StatusRequiresInput, Error: mismatch, Report: "vr_1"}, 9)
	byRule, outcome := Transition(current, override)
	if !outcome.Ambiguous {
		t.Fatal("the event is not ambiguous")
	}
	asked, _ := Resolve(current, override, read(current, 11, override.Object))
	// Of one second: the rules keep verified, and a later read shows that the failure was the last.
	sameSecond := failed("c", 5, "vr_1", mismatch)
	kept, _ := Transition(current, sameSecond)
	if kept.Status != StatusVerified || !kept.Unresolved {
		t.Fatalf("the rules show %s, unresolved %v", kept.Status, kept.Unresolved)
	}
	later, _ := ApplyRead(kept, read(kept, 30, sameSecond.Object))
	thin := Event{ID: "d", Type: ThinPrefix + EventRequiresInput, Source: SourceWebhook, Second: 9, RecordTime: 20_000, Object: Object{ID: "vs_1"}, Thin: true}
	byThin, _ := ApplyThin(current, thin, read(current, 11, override.Object))
	for what, c := range map[string]struct {
		s        Session
		want     OutcomeID
		revision int32
	}{
		"by rule":         {byRule, want, 2},
		"by a read":       {asked, want, 2},
		"by a thin event": {byThin, want, 2},
		"by a later read": {later, outcomeID("vs_1", later.State, 5), 3}, // revision 2 has the count
		"by a read alone": {func() Session { s, _ := ApplyRead(current, read(current, 11, override.Object)); return s }(), outcomeID("vs_1", override.stateOf(), 11), 2},
		"by a later read of another failure": {func() Session {
			s, _ := ApplyRead(kept, read(kept, 30, failed("x", 5, "vr_1", expired).Object))
			return s
		}(), outcomeID("vs_1", State{Status: StatusRequiresInput, Error: expired, Report: "vr_1"}, 30), 3},
		"by another state": {func() Session {
			s, _ := Resolve(current, override, read(current, 11, processing("x", 10, "vr_2").Object))
			return s
		}(), outcomeID("vs_1", State{Status: StatusProcessing, Report: "vr_2"}, 11), 2},
	} {
		if got := c.s.OutcomeKey(); got.ID != c.want || got.Revision != c.revision {
			t.Errorf("%s: outcome %v of revision %d; want %v of revision %d", what, got.ID, got.Revision, c.want, c.revision)
		}
	}
}

// TestG13_TwoOutcomesHaveTwoNames: a read shows again what an unresolved event brought, and another outcome came in between. A
// program that acts once on each name must act on both.
func TestG13_TwoOutcomesHaveTwoNames(t *testing.T) {
	override, back := failed("b", 9, "vr_1", mismatch), verified("c", 9, "vr_1")
	byRule, _ := Transition(after(verified("a", 5, "vr_1")), override)
	second := byRule.OutcomeKey()
	byRule, _ = Transition(byRule, back)
	if second.Revision != 2 || byRule.OutcomeKey().Revision != 3 || !byRule.Unresolved {
		t.Fatalf("the outcomes are of revisions %d and %d, unresolved %v; want 2, 3 and true", second.Revision, byRule.OutcomeKey().Revision, byRule.Unresolved)
	}
	last, _ := ApplyRead(byRule, read(byRule, 30, override.Object))
	if key := last.OutcomeKey(); key.Revision != 4 || key.ID == second.ID {
		t.Errorf("the outcome is %v; want one of revision 4 with another name than %v", key, second)
	}
}

// TestG13_AReadOfAnotherReportHasItsOwnTime: the unresolved event of the same status brought another report.
func TestG13_AReadOfAnotherReportHasItsOwnTime(t *testing.T) {
	s, outcome := Transition(after(verified("a", 5, "vr_1")), failed("b", 9, "vr_1", mismatch))
	if !outcome.Ambiguous {
		t.Fatal("the event is not ambiguous")
	}
	s, _ = ApplyRead(s, read(s, 30, failed("x", 20, "vr_2", mismatch).Object))
	want := outcomeID("vs_1", State{Status: StatusRequiresInput, Error: mismatch, Report: "vr_2"}, 30)
	if got := s.OutcomeKey(); got.ID != want {
		t.Errorf("the outcome is %v; want the name %v, with the time of the read", got, want)
	}
}

func (e Event) stateOf() State { return objectState(e.Object) }

// TestG13_RecordsOfBeforeHaveAnOutcome: the history tells it. Where that is cut, it is the oldest revision still known.
func TestG13_RecordsOfBeforeHaveAnOutcome(t *testing.T) {
	before := func(s Session) Session {
		s.Kept = KeptOutcome{}
		return s
	}
	life := after(created("a", 1), processing("b", 2, ""), verified("c", 3, "vr_1"))
	granted, _ := Supersede(life, "vs_2", at(4))
	tombstone, _ := Transition(granted, redacted("d", 5, StatusVerified, RedactionRedacted))
	archived, _ := Archive(granted, time.Hour, at(2*60*60*1000))
	for what, c := range map[string]struct {
		s    Session
		want int32
	}{
		"a whole history": {granted, 3}, "a tombstone": {tombstone, 5}, "an archived record": {archived, 5},
	} {
		if got := before(c.s).OutcomeKey(); got.Revision != c.want || got.ID == (OutcomeID{}) {
			t.Errorf("%s: the outcome is %v; want one of revision %d", what, got, c.want)
		}
	}
	if got := (Session{}).OutcomeKey(); got != (OutcomeKey{}) {
		t.Errorf("a session that does not exist has the outcome %v", got)
	}
}

// TestAnOutcomeIsKeptOnlyIfTheHistoryDoesNotTellIt: an ordinary record takes no more memory for it.
func TestAnOutcomeIsKeptOnlyIfTheHistoryDoesNotTellIt(t *testing.T) {
	s := after(created("a", 1), processing("b", 2, ""), verified("c", 3, "vr_1"))
	s, _ = Supersede(s, "vs_2", at(4))
	if s.Kept != (KeptOutcome{}) {
		t.Errorf("a whole history keeps %+v", s.Kept)
	}
	tombstone, _ := Transition(s, redacted("d", 5, StatusVerified, RedactionRedacted))
	if tombstone.Kept.Revision != 3 || tombstone.Kept.At != 5 {
		t.Errorf("a tombstone keeps %+v; want the outcome of revision 3 at revision 5", tombstone.Kept)
	}
}

// TestReplacesIsShownFromTheInheritanceOn: a revision before it looks as it did then.
func TestReplacesIsShownFromTheInheritanceOn(t *testing.T) {
	s := after(created("a", 1))
	s, _ = Inherit(s, Session{ID: "vs_0", State: State{RetriesGranted: 1}}, at(2))
	s, _ = Transition(s, processing("b", 3, ""))
	s, _ = Supersede(s, "vs_2", at(4))
	for i, want := range []string{"", "vs_0", "vs_0", "vs_0"} {
		if got := s.ChangesAfter(0)[i].Replaces; got != want {
			t.Errorf("revision %d replaces %q; want %q", i+1, got, want)
		}
	}
	if tombstone, _ := Transition(s, redacted("c", 5, StatusProcessing, RedactionRedacted)); tombstone.ChangesAfter(0)[0].Replaces != "vs_0" {
		t.Error("a tombstone does not show what it replaces")
	}
}

// TestReplacesIsShownFromTheInheritanceOnInACutHistory: the oldest entry that is left says that the session was superseded. Its
// counts are not those of a predecessor.
func TestReplacesIsShownFromTheInheritanceOnInACutHistory(t *testing.T) {
	s, _ := Supersede(after(created("a", 1), failed("b", 2, "vr_1", expired)), "vs_2", at(3))
	s.History = s.History[2:]
	s, _ = Inherit(s, Session{ID: "vs_0", State: State{RetriesGranted: 1}}, at(4))
	var got []string
	for _, change := range s.ChangesAfter(0) {
		got = append(got, change.Replaces)
	}
	if want := []string{"", "vs_0"}; !slices.Equal(got, want) {
		t.Errorf("the revisions replace %q; want %q", got, want)
	}
}

// TestG13_AnUnresolvedEventAfterTheArchiveBringsAnOutcome: also if a replica of the version before applied it, which keeps the
// outcome of the archived revision as it was.
func TestG13_AnUnresolvedEventAfterTheArchiveBringsAnOutcome(t *testing.T) {
	archived, _ := Archive(after(created("a", 1), verified("b", 5, "vr_1")), time.Hour, at(2*60*60*1000))
	next, outcome := Transition(archived, failed("c", 9, "vr_1", mismatch))
	if outcome.Effect != EffectPending || next.Revision != archived.Revision+1 {
		t.Fatalf("effect %v, revision %d; want pending, and a revision after %d", outcome.Effect, next.Revision, archived.Revision)
	}
	next.Kept = archived.Kept
	if got := next.OutcomeKey().Revision; got != next.Revision {
		t.Errorf("the outcome is of revision %d; want %d", got, next.Revision)
	}
}

// TestG13_ATrimmedHistoryShowsTheSameOutcomes: each revision that the record still tells shows the outcome that it showed when it
// was written, also if the entries that brought it are gone, and if all entries with a revision are.
func TestG13_ATrimmedHistoryShowsTheSameOutcomes(t *testing.T) {
	var s Session
	want := make(map[int32]OutcomeKey)
	step := func(e Event) {
		t.Helper()
		if s, _ = Transition(s, e); want[s.Revision] == (OutcomeKey{}) {
			want[s.Revision] = s.OutcomeKey()
		}
		for _, change := range s.ChangesAfter(0) {
			if change.Outcome != want[change.Revision] {
				t.Fatalf("revision %d of %d, floor %d: outcome %v; want %v", change.Revision, s.Revision, s.Floor(), change.Outcome, want[change.Revision])
			}
		}
	}
	for i := range 2*MaxHistory + 20 {
		second := int64(i + 1)
		switch {
		case i%100 == 99:
			step(failed(name("e", i), second, name("vr", i), expired))
		case i%100 < 50: // a newer second of the same
			step(processing(name("e", i), second, ""))
		default: // no revision
			step(processing(name("e", i), 0, ""))
		}
	}
	for i := range MaxHistory {
		step(processing(name("stale", i), 0, ""))
	}
	if s.Floor() != s.Revision || s.OutcomeKey().Revision == s.Revision {
		t.Errorf("the floor is %d and the outcome of revision %d, at revision %d", s.Floor(), s.OutcomeKey().Revision, s.Revision)
	}
}
