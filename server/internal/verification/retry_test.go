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

// TestG9_DenialsInTheirOrder: each session has every reason from the named one on; the first is told.
func TestG9_DenialsInTheirOrder(t *testing.T) {
	declined := Error{Code: "consent_declined", Reason: "Declined."}
	p := policy()
	p.Cooldown = time.Hour
	worst := State{ // the last three at once
		Status: StatusRequiresInput, Error: declined, ShownFailure: 1, RetriesGranted: 2, UpdateTime: 100,
	}
	with := func(change func(*State)) State { s := worst; change(&s); return s }
	now := at(101)
	for name, c := range map[string]struct {
		state State
		want  Denial
	}{
		"superseded above all": {with(func(s *State) {
			s.SupersededBy, s.Redaction, s.Status = "vs_2", RedactionRedacted, StatusCanceled
		}), DenialSuperseded},
		"redacted":                          {with(func(s *State) { s.Redaction, s.Status = RedactionRedacted, StatusCanceled }), DenialRedacted},
		"being redacted":                    {with(func(s *State) { s.Redaction, s.Status = RedactionProcessing, StatusVerified }), DenialRedacted},
		"canceled":                          {with(func(s *State) { s.Status = StatusCanceled }), DenialCanceled},
		"verified":                          {with(func(s *State) { s.Status = StatusVerified }), DenialAlreadyVerified},
		"processing":                        {with(func(s *State) { s.Status = StatusProcessing }), DenialProcessing},
		"a status that is not known":        {with(func(s *State) { s.Status = "reviewing" }), DenialProcessing},
		"not retryable before the limit":    {worst, DenialNotRetryable},
		"limit before the cooldown":         {with(func(s *State) { s.Error = expired }), DenialLimitReached},
		"cooldown":                          {with(func(s *State) { s.Error, s.RetriesGranted = expired, 1 }), DenialCooldown},
		"its grant is past the last three":  {with(func(s *State) { s.ShownGranted = true }), DenialNone},
		"never submitted, at the limit":     {with(func(s *State) { s.Error, s.ShownFailure = Error{}, 0 }), DenialNone},
		"abandoned, at the limit":           {with(func(s *State) { s.Error, s.ShownFailure = abandoned, 0 }), DenialNone},
		"a grant does not outlive verified": {with(func(s *State) { s.ShownGranted, s.Status = true, StatusVerified }), DenialAlreadyVerified},
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

// TestG9_DenialPerStatus walks real records through all states.
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

// TestG9_GrantOnceUntilTheNextFailure, and MAX_RETRIES in all.
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

// TestG9_ZeroRetries grants none, but still gives a link to who never submitted.
func TestG9_ZeroRetries(t *testing.T) {
	none := RetryPolicy{}
	if d := none.Judge(after(failed("a", 1, "vr_1", expired)).State, at(2)); d.Denial != DenialLimitReached {
		t.Errorf("%+v", d)
	}
	if d := none.Judge(after(created("a", 1)).State, at(2)); d.Denial != DenialNone {
		t.Errorf("%+v", d)
	}
}

// TestG9_Cooldown ends to the second, and its end is told.
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

// TestG9_GrantBeyondTheRememberedFailures is still found again.
func TestG9_GrantBeyondTheRememberedFailures(t *testing.T) {
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

// TestG9_JudgeAgreesWithGrantRetry: what GetStatus promises is what RetryVerification answers.
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
