package verification

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// bff is who asks for retries.
const bff = "spiffe://example.org/bff"

func policy() RetryPolicy { return RetryPolicy{MaxRetries: 2, DenyCodes: DefaultDenyCodes()} }

func at(second int64) time.Time { return time.Unix(second, 0) }

// TestG9_DenialsInTheirOrder: each session has every reason from the named one on, and the first one is returned.
func TestG9_DenialsInTheirOrder(t *testing.T) {
	declined := Error{Code: "consent_declined", Reason: "Declined."}
	p := policy()
	p.Cooldown = time.Hour
	worst := State{ // the last three at once
		Status: StatusRequiresInput, Error: declined, ShownFailure: 1, RetriesGranted: 2, UpdateTime: 100,
	}
	with := func(change func(*State)) State { s := worst; change(&s); return s }
	// unshown makes the failure one that the state does not show; the state is much younger.
	unshown := func(s *State, shown Error) {
		s.LastFailure = LastFailure{ID: s.ShownFailure, Second: s.UpdateTime, Code: s.Error.Code}
		s.Error, s.ShownFailure, s.UpdateTime = shown, 0, 1000
	}
	now := at(101)
	for name, c := range map[string]struct {
		state State
		want  Denial
	}{
		"superseded above all": {with(func(s *State) {
			s.SupersededBy, s.Redaction, s.Status = "vs_2", RedactionRedacted, StatusCanceled
		}), DenialSuperseded},
		"redacted":                         {with(func(s *State) { s.Redaction, s.Status = RedactionRedacted, StatusCanceled }), DenialRedacted},
		"being redacted":                   {with(func(s *State) { s.Redaction, s.Status = RedactionProcessing, StatusVerified }), DenialRedacted},
		"canceled":                         {with(func(s *State) { s.Status = StatusCanceled }), DenialCanceled},
		"verified":                         {with(func(s *State) { s.Status = StatusVerified }), DenialAlreadyVerified},
		"processing":                       {with(func(s *State) { s.Status = StatusProcessing }), DenialProcessing},
		"a status that is not known":       {with(func(s *State) { s.Status = "reviewing" }), DenialProcessing},
		"not retryable before the limit":   {worst, DenialNotRetryable},
		"limit before the cooldown":        {with(func(s *State) { s.Error = expired }), DenialLimitReached},
		"cooldown":                         {with(func(s *State) { s.Error, s.RetriesGranted = expired, 1 }), DenialCooldown},
		"its grant is past the last three": {with(func(s *State) { s.ShownGranted = true }), DenialNone},
		"never submitted, at the limit":    {with(func(s *State) { s.Error, s.ShownFailure = Error{}, 0 }), DenialNone},
		"abandoned, at the limit":          {with(func(s *State) { s.Error, s.ShownFailure = abandoned, 0 }), DenialNone},
		"never submitted, the newest failure is denied":   {with(func(s *State) { unshown(s, Error{}) }), DenialNotRetryable},
		"abandoned, the newest failure is denied":         {with(func(s *State) { unshown(s, abandoned) }), DenialNotRetryable},
		"uncounted, the newest failure is denied":         {with(func(s *State) { unshown(s, expired) }), DenialNotRetryable},
		"abandoned, the newest failure is at the limit":   {with(func(s *State) { unshown(s, abandoned); s.LastFailure.Code = "" }), DenialLimitReached},
		"abandoned, the newest failure is too young":      {with(func(s *State) { unshown(s, abandoned); s.LastFailure.Code, s.RetriesGranted = "", 1 }), DenialCooldown},
		"abandoned, the newest failure has its grant":     {with(func(s *State) { unshown(s, abandoned); s.LastFailure.Granted = true }), DenialNone},
		"uncounted and denied, the newest has its grant":  {with(func(s *State) { unshown(s, declined); s.LastFailure.Granted = true }), DenialNotRetryable},
		"the shown failure is judged, not the newest":     {with(func(s *State) { s.Error, s.LastFailure = expired, LastFailure{ID: 2, Code: declined.Code, Second: 100} }), DenialLimitReached},
		"the shown failure's grant counts, not the other": {with(func(s *State) { s.ShownGranted, s.LastFailure = true, LastFailure{ID: 2, Code: declined.Code} }), DenialNone},
		"a grant does not outlive verified":               {with(func(s *State) { s.ShownGranted, s.Status = true, StatusVerified }), DenialAlreadyVerified},
	} {
		decision := p.Judge(c.state, now)
		if decision.Denial != c.want {
			t.Errorf("%s: denial %d, want %d", name, decision.Denial, c.want)
		}
		if (c.want == DenialCooldown) != decision.NextRetry.Equal(at(100+3600)) {
			t.Errorf("%s: next retry at %v", name, decision.NextRetry)
		}
	}
}

// TestG9_DenialPerStatus takes real records through all states.
func TestG9_DenialPerStatus(t *testing.T) {
	for name, c := range map[string]struct {
		have    Session
		want    Denial
		granted bool
	}{
		"open":                {after(created("a", 1)), DenialNone, false},
		"abandoned":           {after(failed("a", 1, "", abandoned)), DenialNone, false},
		"processing":          {after(processing("a", 1, "")), DenialProcessing, false},
		"verified":            {after(verified("a", 1, "vr_1")), DenialAlreadyVerified, false},
		"canceled":            {after(failed("a", 1, "vr_1", expired), canceled("b", 2, "vr_1")), DenialCanceled, false},
		"redacted":            {after(verified("a", 1, "vr_1"), redacted("b", 2, StatusVerified, RedactionRedacted)), DenialRedacted, false},
		"failed":              {after(failed("a", 1, "vr_1", expired)), DenialNone, true},
		"failed, reason only": {after(failed("a", 1, "vr_1", Error{Reason: "No."})), DenialNone, true},
		"under age":           {after(failed("a", 1, "vr_1", Error{Code: "under_supported_age"})), DenialNotRetryable, false},
		"country":             {after(failed("a", 1, "vr_1", Error{Code: "country_not_supported"})), DenialNotRetryable, false},
		"manipulated":         {after(failed("a", 1, "vr_1", Error{Code: "selfie_manipulated"})), DenialNotRetryable, false},
		"unknown code":        {after(failed("a", 1, "vr_1", Error{Code: "brand_new"})), DenialNone, true},
	} {
		next, decision, changed := GrantRetry(c.have, policy(), at(9), bff)
		if decision.Denial != c.want || changed != c.granted || (next.RetriesGranted == 1) != c.granted {
			t.Errorf("%s: denial %d, changed %v, granted %d", name, decision.Denial, changed, next.RetriesGranted)
		}
		if !changed && !reflect.DeepEqual(next, c.have) {
			t.Errorf("%s: a call that grants nothing changed the record", name)
		}
		if changed && next.History[len(next.History)-1].Principal != bff {
			t.Errorf("%s: the record does not say who was granted the retry", name)
		}
	}
}

// TestG9_GrantOnceUntilTheNextFailure: there are MAX_RETRIES grants in all.
func TestG9_GrantOnceUntilTheNextFailure(t *testing.T) {
	s, second := Session{}, int64(1)
	for attempt := range int32(4) {
		s, _ = Transition(s, failed(name("f", int(attempt)), second, name("vr", int(attempt)), expired))
		for call := range 3 {
			next, decision, changed := GrantRetry(s, policy(), at(second), bff)
			wantDenial := DenialNone
			if attempt >= 2 {
				wantDenial = DenialLimitReached
			}
			if decision.Denial != wantDenial || changed != (call == 0 && attempt < 2) {
				t.Fatalf("attempt %d, call %d: %+v, changed %v", attempt, call, decision, changed)
			}
			s = next
		}
		if want := min(2, attempt+1); s.RetriesGranted != want || policy().Remaining(s.State) != 2-want {
			t.Fatalf("attempt %d: granted %d", attempt, s.RetriesGranted)
		}
		second += 10
		s, _ = Transition(s, processing(name("p", int(attempt)), second-5, ""))
	}
	if (RetryPolicy{MaxRetries: 1}).Remaining(s.State) != 0 {
		t.Error("a lower limit leaves nothing, never less")
	}
}

// TestG9_AnUnfinishedAttemptIsJudgedByTheNewestFailure: the state can show an abandoned attempt, no error, or a
// failure that a read brought without its report.
func TestG9_AnUnfinishedAttemptIsJudgedByTheNewestFailure(t *testing.T) {
	readOf := func(s Session, failure Error) Session {
		s, outcome := ApplyRead(s, Read{Object: object(StatusRequiresInput, failure, ""), AsOf: 100, Applied: s.Applied, RecordTime: 100_000})
		if outcome.Effect != EffectApplied {
			t.Fatalf("the read was not applied: %+v", outcome)
		}
		return s
	}
	for name, unfinished := range map[string]func(Session) Session{
		"abandoned":                  func(s Session) Session { return andThen(s, failed("x", 100, "", abandoned)) },
		"abandoned, the old report":  func(s Session) Session { return andThen(s, failed("x", 100, "vr_1", abandoned)) },
		"no error":                   func(s Session) Session { return andThen(s, failed("x", 100, "vr_1", Error{})) },
		"overridden":                 func(s Session) Session { return readOf(andThen(s, verified("v", 90, "vr_1")), Error{}) },
		"a failure without a report": func(s Session) Session { return readOf(s, Error{Code: "selfie_face_mismatch"}) },
	} {
		s := unfinished(after(failed("a", 1, "vr_1", expired)))
		if s.ShownFailure != 0 {
			t.Fatalf("%s: a counted failure is shown", name)
		}
		used, decision, changed := GrantRetry(s, policy(), at(200), bff)
		if decision.Denial != DenialNone || !changed || used.RetriesGranted != 1 || !used.LastFailure.Granted || !used.Failures[0].Granted {
			t.Errorf("%s: denial %d, changed %v, %+v; want a grant for the failure", name, decision.Denial, changed, used.State)
		}
		if _, decision, changed := GrantRetry(used, policy(), at(200), bff); decision.Denial != DenialNone || changed {
			t.Errorf("%s, again: denial %d, changed %v; want the link, and no grant", name, decision.Denial, changed)
		}
		if back := andThen(used, failed("b", 300, "vr_1", expired)); !back.ShownGranted {
			t.Errorf("%s: the failure is shown again without its grant", name)
		}
		for p, want := range map[*RetryPolicy]Denial{
			{}: DenialLimitReached,
			{MaxRetries: 2, DenyCodes: []string{expired.Code}}:     DenialNotRetryable,
			{MaxRetries: 2, Cooldown: time.Second * 200}:           DenialCooldown,
			{MaxRetries: 2, Cooldown: time.Second * 100}:           DenialNone,
			{MaxRetries: 2, DenyCodes: []string{"under_12_years"}}: DenialNone,
		} {
			if got := p.Judge(s.State, at(150)); got.Denial != want {
				t.Errorf("%s, with %+v: denial %d, want %d", name, *p, got.Denial, want)
			}
			if in := p.Lists(s); in.Has(ListLimitReached) != (want == DenialLimitReached) || in.Has(ListNotRetryable) != (want == DenialNotRetryable) {
				t.Errorf("%s, with %+v: in the lists %07b", name, *p, in)
			}
			closed := andThen(s, canceled("c", 400, "vr_1"))
			if _, got, _ := GrantReplacement(closed, *p, at(150), bff, backTo); got.Denial != want {
				t.Errorf("%s, closed, with %+v: denial %d, want %d", name, *p, got.Denial, want)
			}
		}
	}
}

// TestG9_TheNewestFailureStaysKnownBeyondTheBound: it stays with its grant, because it decides whether the limit
// holds.
func TestG9_TheNewestFailureStaysKnownBeyondTheBound(t *testing.T) {
	s := after(failed("newest", 10_000, "vr_newest", expired))
	s, _, _ = GrantRetry(s, policy(), at(10_001), bff)
	for n := range MaxKnownIDs + 10 {
		s = andThen(s, failed(name("e", n), int64(n), name("vr", n), expired))
	}
	s = andThen(s, failed("left", 20_000, "", abandoned))
	if got, decision, changed := GrantRetry(s, policy(), at(20_001), bff); decision.Denial != DenialNone || changed {
		t.Errorf("denial %d, granted once more %v: %+v", decision.Denial, changed, got.LastFailure)
	}
	if len(s.Failures) != MaxKnownIDs {
		t.Errorf("%d failures are kept; want %d", len(s.Failures), MaxKnownIDs)
	}
}

// TestG9_EarlierRevisionsAreJudgedByTheFailureOfTheirTime: a watch that catches up gets the same for each revision as
// a live one.
func TestG9_EarlierRevisionsAreJudgedByTheFailureOfTheirTime(t *testing.T) {
	p := RetryPolicy{MaxRetries: 1}
	s := Session{}
	var live []Denial
	step := func(next Session) {
		s = next
		live = append(live, p.Judge(s.State, at(0)).Denial)
	}
	step(andThen(s, created("a", 1)))
	step(andThen(s, failed("b", 2, "vr_1", expired)))
	granted, _, _ := GrantRetry(s, p, at(3), bff)
	step(granted)
	step(andThen(s, failed("c", 4, "", abandoned)))
	step(andThen(s, failed("d", 5, "vr_2", expired)))
	step(andThen(s, failed("e", 6, "", abandoned)))
	var later []Denial
	for _, change := range s.ChangesAfter(0) {
		later = append(later, p.Judge(change.State, at(0)).Denial)
	}
	if want := []Denial{0, 0, 0, 0, DenialLimitReached, DenialLimitReached}; !reflect.DeepEqual(live, want) || !reflect.DeepEqual(later, want) {
		t.Errorf("live %v, judged later %v; want %v", live, later, want)
	}
}

// TestG9_ZeroRetries: no retry is granted, but a person that never submitted still gets a link.
func TestG9_ZeroRetries(t *testing.T) {
	none := RetryPolicy{}
	if d := none.Judge(after(failed("a", 1, "vr_1", expired)).State, at(2)); d.Denial != DenialLimitReached {
		t.Errorf("%+v", d)
	}
	if d := none.Judge(after(created("a", 1)).State, at(2)); d.Denial != DenialNone {
		t.Errorf("%+v", d)
	}
}

// TestG9_Cooldown: it ends exactly at its second, and the denial says when.
func TestG9_Cooldown(t *testing.T) {
	p := policy()
	p.Cooldown = 10 * time.Second
	s := after(failed("a", 100, "vr_1", expired))
	for second, want := range map[int64]Denial{99: DenialCooldown, 109: DenialCooldown, 110: DenialNone, 111: DenialNone} {
		next, decision, changed := GrantRetry(s, p, at(second), bff)
		if decision.Denial != want || changed != (want == DenialNone) {
			t.Errorf("at %d: %+v, changed %v", second, decision, changed)
		}
		if want == DenialCooldown && !decision.NextRetry.Equal(at(110)) {
			t.Errorf("at %d: next retry %v", second, decision.NextRetry)
		}
		if changed {
			if _, decision, changed := GrantRetry(next, p, at(99), bff); decision.Denial != DenialNone || changed {
				t.Errorf("its grant is past the cooldown: %+v", decision)
			}
		}
	}
}

// TestG9_GrantBeyondTheKnownFailures: a repeated call still finds the grant.
func TestG9_GrantBeyondTheKnownFailures(t *testing.T) {
	s := after(failed("a", 1, "vr_1", expired))
	s.Failures = nil
	s, _, changed := GrantRetry(s, policy(), at(2), bff)
	if _, _, again := GrantRetry(s, policy(), at(3), bff); !changed || again || s.RetriesGranted != 1 {
		t.Error("granted twice")
	}
	if s, _ = Transition(s, failed("b", 5, "vr_1", expired)); !s.ShownGranted || s.FailedAttempts != 1 {
		t.Errorf("%+v", s.State)
	}
}

// TestG9_JudgeAgreesWithGrantRetry: RetryVerification answers what GetStatus promises.
func TestG9_JudgeAgreesWithGrantRetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawRecord(t)
		p := RetryPolicy{
			MaxRetries: rapid.Int32Range(0, 3).Draw(t, "max"),
			Cooldown:   time.Duration(rapid.IntRange(0, 30).Draw(t, "cooldown")) * time.Second,
			DenyCodes:  rapid.SampledFrom([][]string{nil, DefaultDenyCodes(), {expired.Code}, {CodeAbandoned}}).Draw(t, "deny"),
		}
		now := at(rapid.Int64Range(0, 80).Draw(t, "now"))
		before := deepCopy(s)
		promised := p.Judge(s.State, now)
		next, decision, changed := GrantRetry(s, p, now, bff)
		if decision != promised {
			t.Fatalf("promised %+v, answered %+v", promised, decision)
		}
		if !reflect.DeepEqual(s, before) {
			t.Fatal("the argument was changed")
		}
		grew := next.RetriesGranted - s.RetriesGranted
		if changed != (grew == 1) || !changed && grew != 0 || next.RetriesGranted > max(p.MaxRetries, s.RetriesGranted) {
			t.Fatalf("granted %d more, changed %v", grew, changed)
		}
		if changed && next.Revision != s.Revision+1 {
			t.Fatalf("revision %d after %d", next.Revision, s.Revision)
		}
		if _, again, more := GrantRetry(next, p, now, bff); more || again.Denial != decision.Denial {
			t.Fatalf("asked again: %+v, changed %v", again, more)
		}
	})
}
