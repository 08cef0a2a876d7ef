package verification

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAnAllowanceIsOpen only for the failure that is judged, without a grant, in a session that nothing superseded or redacted.
func TestAnAllowanceIsOpen(t *testing.T) {
	shown := State{Status: StatusRequiresInput, ShownFailure: 7, Allowance: Allowance{Given: true, Failure: 7}}
	newest := State{Status: StatusCanceled, LastFailure: LastFailure{ID: 7}, Allowance: Allowance{Given: true, Failure: 7, Replacement: true}}
	for name, c := range map[string]struct {
		state  State
		change func(*State)
		want   bool
	}{
		"for the failure that is shown":       {shown, func(*State) {}, true},
		"for the newest failure":              {newest, func(*State) {}, true},
		"for a replacement after a grant":     {newest, func(s *State) { s.LastFailure.Granted = true }, true},
		"none":                                {shown, func(s *State) { s.Allowance.Given = false }, false},
		"after a grant":                       {shown, func(s *State) { s.ShownGranted = true }, false},
		"for another failure than is shown":   {shown, func(s *State) { s.ShownFailure = 8 }, false},
		"for another failure than the newest": {newest, func(s *State) { s.LastFailure.ID = 8 }, false},
		"superseded":                          {shown, func(s *State) { s.SupersededBy = "vs_2" }, false},
		"superseded and closed":               {newest, func(s *State) { s.SupersededBy = "vs_2" }, false},
		"redaction requested":                 {shown, func(s *State) { s.Redaction = RedactionProcessing }, false},
		"redacted":                            {newest, func(s *State) { s.Redaction = RedactionRedacted }, false},
	} {
		c.change(&c.state)
		if got := c.state.OverrideOpen(); got != c.want {
			t.Errorf("%s: open is %v; want %v", name, got, c.want)
		}
	}
}

// closedAndAllowed returns a closed session whose replacement an operator allowed. Its retries are used up.
func closedAndAllowed(t *testing.T) (Session, RetryPolicy) {
	t.Helper()
	policy := RetryPolicy{MaxRetries: 0}
	s := after(created("evt_1", 1), failed("evt_2", 10, "vr_1", expired), canceled("evt_3", 20, ""))
	s, _, changed := AllowRetry(s, policy, at(30), desk)
	if !changed || !s.OverrideOpen() {
		t.Fatalf("the replacement is not allowed: %+v", s.State)
	}
	return s, policy
}

// TestG9_ARevokedReplacementGivesTheAllowanceBack, and its grant is no override any more.
func TestG9_ARevokedReplacementGivesTheAllowanceBack(t *testing.T) {
	allowed, policy := closedAndAllowed(t)
	granted, decision, changed := GrantReplacement(allowed, policy, at(40), bff, backTo)
	if !changed || granted.OverrideOpen() || granted.Overrides != 1 || granted.RetriesGranted != 1 || policy.Remaining(granted.State) != 0 {
		t.Fatalf("granted: %+v, denial %d", granted.State, decision.Denial)
	}
	revoked, changed := RevokeReplacement(granted, backTo, at(50))
	if diff := cmp.Diff(allowed.State, revoked.State); !changed || diff != "" {
		t.Errorf("revoked %v; the state differs from that before the grant (-want +got):\n%s", changed, diff)
	}
	again, _, changed := GrantReplacement(revoked, policy, at(60), bff, backTo)
	if !changed || again.OverrideOpen() || again.Overrides != 1 || again.RetriesGranted != 1 {
		t.Errorf("granted again: %v, %+v", changed, again.State)
	}
}

// TestG9_ASuccessorWithoutAGrantUsesTheAllowance: another call can have revoked the grant of the call that made the successor.
func TestG9_ASuccessorWithoutAGrantUsesTheAllowance(t *testing.T) {
	allowed, policy := closedAndAllowed(t)
	replaced, changed := Replace(allowed, "vs_2", at(40))
	if !changed || replaced.OverrideOpen() || replaced.Overrides != 1 || replaced.RetriesGranted != 1 || !replaced.Replacement.Used.Given {
		t.Errorf("replaced: %v, %+v, %+v", changed, replaced.State, replaced.Replacement)
	}
	if remaining := policy.Remaining(replaced.State); remaining != 0 {
		t.Errorf("%d retries remain; want 0", remaining)
	}
}

// TestG9_ASuccessorWithoutAGrantIsNoOverride unless an operator allowed it.
func TestG9_ASuccessorWithoutAGrantIsNoOverride(t *testing.T) {
	closed := after(created("evt_1", 1), failed("evt_2", 10, "vr_1", expired), canceled("evt_3", 20, ""))
	replaced, changed := Replace(closed, "vs_2", at(40))
	if !changed || replaced.Overrides != 0 || replaced.RetriesGranted != 1 || replaced.Replacement.Used.Given {
		t.Errorf("replaced: %v, %+v, %+v", changed, replaced.State, replaced.Replacement)
	}
}

// TestG9_OverridesAreInheritedFromAnOlderVersionsReplacement: that version added the other counts and noted no amounts.
func TestG9_OverridesAreInheritedFromAnOlderVersionsReplacement(t *testing.T) {
	allowed, policy := closedAndAllowed(t)
	old, _, _ := GrantReplacement(allowed, policy, at(40), bff, backTo)
	inherited, _ := Inherit(Session{ID: "vs_2", State: State{Status: StatusRequiresInput}, Revision: 1}, old, at(50))
	byOlder := inherited
	byOlder.Inherited, byOlder.Overrides = Inheritance{}, 0
	repaired, changed := Inherit(byOlder, old, at(60))
	if diff := cmp.Diff(inherited, repaired); !changed || diff != "" {
		t.Errorf("repaired: %v (-want +got):\n%s", changed, diff)
	}
	if again, changed := Inherit(repaired, old, at(70)); changed {
		t.Errorf("repaired again: %+v", again.State)
	}
}

// TestG9_AnAllowanceIsForOneFailure: with the next failure the denial is back.
func TestG9_AnAllowanceIsForOneFailure(t *testing.T) {
	policy := RetryPolicy{MaxRetries: 5, Cooldown: time.Hour, DenyCodes: []string{expired.Code}}
	s := after(created("evt_1", 1), failed("evt_2", 10, "vr_1", expired))
	s, _, _ = AllowRetry(s, policy, at(11), desk)
	if decision := policy.Judge(s.State, at(11)); decision != (Decision{}) {
		t.Errorf("allowed, and denied by %+v", decision)
	}
	s, _ = Transition(s, failed("evt_3", 20, "vr_2", expired))
	if decision := policy.Judge(s.State, at(21)); s.OverrideOpen() || decision.Denial != DenialNotRetryable {
		t.Errorf("after another failure: open %v, denial %d; want false, %d", s.OverrideOpen(), decision.Denial, DenialNotRetryable)
	}
}

// TestOperatorsMakeNoRecord of a session that is not known.
func TestOperatorsMakeNoRecord(t *testing.T) {
	if next, changed := ResolveVerification(Session{}, ResolutionClosed, at(1), desk); changed || next.Exists() {
		t.Errorf("resolved: %+v", next)
	}
	if next, _, changed := AllowRetry(Session{}, RetryPolicy{}, at(1), desk); changed || next.Exists() {
		t.Errorf("allowed: %+v", next)
	}
}
