package verification

import (
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"
)

// set returns the set of some lists.
func set(lists ...List) (all Lists) {
	for _, list := range lists {
		all = all.with(list)
	}
	return all
}

func TestListsOfASession(t *testing.T) {
	p := RetryPolicy{MaxRetries: 1, DenyCodes: DefaultDenyCodes()}
	underAge := Error{Code: "under_supported_age"}
	granted := func(s Session) Session { s, _, _ = GrantRetry(s, p, at(9), ""); return s }
	pending := func(s Session) Session { s.Unresolved = true; return s }
	archived, changed := Archive(after(verified("a", 1, "vr_1")), time.Second, at(1_000_000))
	if !changed {
		t.Fatal("nothing was archived")
	}
	for name, c := range map[string]struct {
		have Session
		want Lists
	}{
		"not known":         {Session{}, set()},
		"open":              {after(created("a", 1)), set(ListRequiresInput)},
		"abandoned":         {after(failed("a", 1, "", abandoned)), set(ListRequiresInput)},
		"failed":            {after(failed("a", 1, "vr_1", expired)), set(ListRequiresInput)},
		"failed, granted":   {granted(after(failed("a", 1, "vr_1", expired))), set(ListRequiresInput)},
		"failed once more":  {andThen(granted(after(failed("a", 1, "vr_1", expired))), failed("b", 10, "vr_2", expired)), set(ListRequiresInput, ListLimitReached)},
		"under age":         {after(failed("a", 1, "vr_1", underAge)), set(ListRequiresInput, ListNotRetryable)},
		"under age, closed": {after(failed("a", 1, "vr_1", underAge), canceled("b", 2, "vr_1")), set(ListCanceled)},
		"processing":        {after(processing("a", 1, "")), set(ListProcessing)},
		"a status to come":  {after(event("a", "identity.new", 1, object("reviewing", Error{}, ""))), set(ListProcessing)},
		"verified":          {after(verified("a", 1, "vr_1")), set(ListVerified)},
		"in doubt":          {pending(after(processing("a", 1, ""))), set(ListProcessing, ListInDoubt)},
		"redaction begun":   {pending(after(verified("a", 1, "vr_1"), redacted("b", 2, StatusVerified, RedactionProcessing))), set()},
		"redacted":          {after(verified("a", 1, "vr_1"), redacted("b", 2, StatusVerified, RedactionRedacted)), set()},
		"archived":          {archived, set()},
	} {
		if got := p.Lists(c.have); got != c.want {
			t.Errorf("%s: %07b; want %07b", name, got, c.want)
		}
	}
}

func andThen(s Session, e Event) Session {
	s, _ = Transition(s, e)
	return s
}

// TestListsSayWhatJudgeSays, whatever the clock and the cooldown, and every session that can be listed
// has exactly one status.
func TestListsSayWhatJudgeSays(t *testing.T) {
	reached := make(map[Denial]int)
	statuses := []string{StatusRequiresInput, StatusRequiresInput, StatusRequiresInput, StatusProcessing, StatusVerified, StatusCanceled, "reviewing"}
	errors := []Error{{}, abandoned, expired, expired, {Code: "under_supported_age"}}
	rng := rand.New(rand.NewPCG(1, 2))
	one := func(bound int) bool { return rng.IntN(bound) == 0 }
	for range 20_000 {
		p := RetryPolicy{MaxRetries: rng.Int32N(4), DenyCodes: DefaultDenyCodes(), Cooldown: time.Duration(rng.IntN(3)) * 10 * time.Hour}
		s := Session{ID: "vs_1", Revision: 1, Unresolved: one(3), History: []Entry{{Revision: 1}}, State: State{
			Status: statuses[rng.IntN(len(statuses))], Error: errors[rng.IntN(len(errors))],
			RetriesGranted: rng.Int32N(5), ShownGranted: one(3), UpdateTime: rng.Int64N(100_000),
		}}
		if !one(3) {
			s.ShownFailure = 1
		}
		if !one(3) {
			s.LastFailure = LastFailure{ID: 2, Code: errors[rng.IntN(len(errors))].Code, Second: rng.Int64N(100_000), Granted: one(3)}
		}
		if one(5) {
			s.Redaction = Redaction(1 + rng.IntN(2))
		}
		if one(5) {
			s.SupersededBy = "vs_2"
		}
		in := p.Lists(s)
		denial := p.Judge(s.State, at(rng.Int64N(200_000))).Denial
		reached[denial]++
		if in.Has(ListLimitReached) != (denial == DenialLimitReached) || in.Has(ListNotRetryable) != (denial == DenialNotRetryable) {
			t.Fatalf("%+v is in %07b, but the denial is %d", s, in, denial)
		}
		if in.Has(ListInDoubt) != (s.Unresolved && !s.Tombstone()) {
			t.Fatalf("%+v is in %07b", s, in)
		}
		if found := bits.OnesCount8(uint8(in & 0b1111)); s.Tombstone() && in != 0 || !s.Tombstone() && found != 1 {
			t.Fatalf("%+v is in %07b", s, in)
		}
	}
	for denial := DenialNone; denial <= DenialCooldown; denial++ {
		if reached[denial] == 0 {
			t.Errorf("no session with the denial %d", denial)
		}
	}
}
