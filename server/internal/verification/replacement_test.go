package verification

import (
	"strings"
	"testing"
	"time"
)

const backTo = "https://shop.example/done"

// TestG9_ReplacementIsGrantedOnce: it uses one retry. A repeated call finds the grant, with the URL of the first
// call.
func TestG9_ReplacementIsGrantedOnce(t *testing.T) {
	s := after(failed("a", 1, "vr_1", expired), canceled("b", 5, "vr_1"))
	s, decision, changed := GrantReplacement(s, policy(), at(9), bff, backTo)
	if decision.Denial != DenialNone || !changed || s.RetriesGranted != 1 || !s.Replacement.Granted || s.Revision != 3 {
		t.Fatalf("%+v %v %+v", decision, changed, s)
	}
	entry := lastEntry(t, s)
	if entry.Source != SourceRetry || entry.Status != StatusCanceled || entry.Revision != 3 || entry.Principal != bff {
		t.Errorf("%+v", entry)
	}
	again, decision, changed := GrantReplacement(s, RetryPolicy{}, at(10), bff, "https://other.example")
	if decision.Denial != DenialNone || changed || again.Replacement.ReturnURL != backTo || again.RetriesGranted != 1 {
		t.Errorf("%+v %v %+v", decision, changed, again.Replacement)
	}
}

// TestG9_ReplacementIsJudgedByTheNewestFailure: this holds after the cancel cleared the failure too.
func TestG9_ReplacementIsJudgedByTheNewestFailure(t *testing.T) {
	declined := Error{Code: "consent_declined"}
	p := policy()
	p.Cooldown = 10 * time.Second
	used := func(n int32, s Session) Session { s.RetriesGranted = n; return s }
	granted, _, _ := GrantRetry(after(failed("a", 100, "vr_1", expired)), policy(), at(200), bff)
	granted, _ = Transition(granted, canceled("b", 120, "vr_1"))
	superseded, _ := Supersede(after(canceled("a", 5, "")), "vs_2", at(9))
	for name, c := range map[string]struct {
		have Session
		now  int64
		want Denial
	}{
		"never failed":                  {after(canceled("a", 100, "")), 100, DenialNone},
		"failed":                        {after(failed("a", 100, "vr_1", expired), canceled("b", 101, "vr_1")), 110, DenialNone},
		"too soon":                      {after(failed("a", 100, "vr_1", expired), canceled("b", 101, "vr_1")), 109, DenialCooldown},
		"too soon after the newest":     {after(canceled("c", 101, "vr_2"), failed("b", 100, "vr_2", expired), failed("a", 50, "vr_1", expired)), 109, DenialCooldown},
		"not retryable":                 {after(failed("a", 100, "vr_1", declined), canceled("b", 101, "vr_1")), 200, DenialNotRetryable},
		"not retryable, learned late":   {after(canceled("b", 101, "vr_1"), failed("a", 100, "vr_1", declined)), 200, DenialNotRetryable},
		"not retryable, but not newest": {after(failed("a", 90, "vr_1", declined), failed("b", 100, "vr_2", expired), canceled("c", 101, "vr_2")), 200, DenialNone},
		"limit":                         {used(2, after(canceled("a", 100, ""))), 200, DenialLimitReached},
		"limit before the cooldown":     {used(2, after(failed("a", 100, "vr_1", expired), canceled("b", 101, "vr_1"))), 101, DenialLimitReached},
		"not retryable before limit":    {used(2, after(failed("a", 100, "vr_1", declined), canceled("b", 101, "vr_1"))), 101, DenialNotRetryable},
		"its failure has a grant":       {granted, 121, DenialNone},
		"superseded is no denial":       {superseded, 200, DenialNone},
		"redacted":                      {after(redacted("a", 5, StatusCanceled, RedactionProcessing)), 200, DenialRedacted},
		"not closed: verified":          {after(verified("a", 5, "vr_1")), 200, DenialAlreadyVerified},
		"not closed: processing":        {after(processing("a", 5, "vr_1")), 200, DenialProcessing},
	} {
		next, decision, changed := GrantReplacement(c.have, p, at(c.now), bff, backTo)
		if decision.Denial != c.want || changed != (c.want == DenialNone) {
			t.Errorf("%s: denial %d, changed %v", name, decision.Denial, changed)
		}
		if c.want == DenialCooldown && !decision.NextRetry.Equal(at(110)) {
			t.Errorf("%s: next retry %v", name, decision.NextRetry)
		}
		if used := next.RetriesGranted - c.have.RetriesGranted; (used == 1) != changed {
			t.Errorf("%s: used %d", name, used)
		}
	}
}

// TestG9_LimitOverAChain: a person has MAX_RETRIES over all sessions of a chain.
func TestG9_LimitOverAChain(t *testing.T) {
	old := after(failed("a", 1, "vr_1", expired))
	old, _, _ = GrantRetry(old, policy(), at(2), bff)
	old, _ = Transition(old, canceled("b", 5, "vr_1"))
	old, decision, _ := GrantReplacement(old, policy(), at(6), bff, backTo)
	if decision.Denial != DenialNone {
		t.Fatal(decision)
	}
	successor := after(created("n", 7))
	successor.ID = "vs_2"
	successor, changed := Inherit(successor, old, at(8))
	if !changed || successor.FailedAttempts != 1 || successor.RetriesGranted != 2 || successor.Predecessor != "vs_1" || successor.Revision != 2 {
		t.Fatalf("%+v", successor)
	}
	again, changed := Inherit(successor, old, at(9))
	if changed || again.RetriesGranted != 2 || again.Revision != 2 {
		t.Error("inherited twice")
	}
	if d := policy().Judge(successor.State, at(9)); d.Denial != DenialNone {
		t.Errorf("not yet submitted: %+v", d)
	}
	failure := failed("m", 9, "vr_2", expired)
	failure.Object.ID = "vs_2"
	successor, _ = Transition(successor, failure)
	if successor.FailedAttempts != 2 {
		t.Errorf("failed %d in all", successor.FailedAttempts)
	}
	if _, d, _ := GrantRetry(successor, policy(), at(20), bff); d.Denial != DenialLimitReached {
		t.Errorf("%+v", d)
	}

	old, changed = Supersede(old, "vs_2", at(9))
	if !changed || old.SupersededBy != "vs_2" || old.Replacement.ReturnURL != "" || !old.Replacement.Granted {
		t.Errorf("%+v", old)
	}
	revision := old.Revision
	if other, changed := Supersede(old, "vs_3", at(10)); changed || other.SupersededBy != "vs_2" || other.Revision != revision {
		t.Error("superseded twice")
	}
	if d := policy().Judge(old.State, at(10)); d.Denial != DenialSuperseded {
		t.Errorf("%+v", d)
	}
	late, _ := Transition(old, failed("late", 3, "vr_0", expired)) // counts there only
	if late.FailedAttempts != 2 || successor.FailedAttempts != 2 {
		t.Errorf("%d, %d", late.FailedAttempts, successor.FailedAttempts)
	}
}

// TestG11_ReplacementErasesItsURL: the URL is erased if the session is redacted before the successor is known.
func TestG11_ReplacementErasesItsURL(t *testing.T) {
	s, _, _ := GrantReplacement(after(canceled("a", 5, "")), policy(), at(6), bff, secretURL)
	if !strings.Contains(dump(s), secretURL) {
		t.Fatal("the URL of the first caller is needed until then")
	}
	s, _ = Transition(s, redacted("r", 9, StatusCanceled, RedactionProcessing))
	if strings.Contains(dump(s), secretURL) || !s.Replacement.Granted {
		t.Errorf("%s", dump(s))
	}
	s, _ = Supersede(s, "vs_2", at(10))
	if s.SupersededBy != "vs_2" || lastEntry(t, s).Status != "" {
		t.Errorf("%s", dump(s))
	}
}
