package checker

import (
	"slices"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// outcomeOf shows an outcome, by a name of the right length.
func outcomeOf(revision int32, name string) edit {
	return func(v *verificationv1.Verification) {
		v.OutcomeRevision, v.OutcomeId = revision, name+"_____________________"[len(name)-1:]
	}
}

func TestG13_OneOutcome(t *testing.T) {
	inCheck := is(verification.StatusProcessing)
	replaces := func(v *verificationv1.Verification) { v.Replaces = "vs_0" }
	a, b := outcomeOf(1, "a"), outcomeOf(2, "b")
	for what, c := range map[string]struct {
		shown []*verificationv1.Verification
		right bool
	}{
		"a new status":                 {[]*verificationv1.Verification{at(1, a), at(2, inCheck, b)}, true},
		"a grant":                      {[]*verificationv1.Verification{at(1, a), at(2, counting(0, 1), a)}, true},
		"a redaction":                  {[]*verificationv1.Verification{at(1, a), at(2, failedWith("vr_1"), b), at(3, processing, b)}, true},
		"a version before":             {[]*verificationv1.Verification{at(1, a), at(1), at(2, inCheck), at(2, inCheck, b)}, true},
		"a hole":                       {[]*verificationv1.Verification{at(1, a), at(5, inCheck, outcomeOf(3, "c"))}, true},
		"another name":                 {[]*verificationv1.Verification{at(1, a), at(1, outcomeOf(1, "b"))}, false},
		"another revision":             {[]*verificationv1.Verification{at(2, inCheck, a), at(2, inCheck, outcomeOf(2, "a"))}, false},
		"another predecessor":          {[]*verificationv1.Verification{at(1, a), at(1, a, replaces)}, false},
		"a grant moves it":             {[]*verificationv1.Verification{at(1, a), at(2, counting(0, 1), b)}, false},
		"a redaction moves it":         {[]*verificationv1.Verification{at(1, failedWith("vr_1"), a), at(2, processing, b)}, false},
		"a new status does not":        {[]*verificationv1.Verification{at(1, a), at(2, inCheck, a)}, false},
		"a new report does not":        {[]*verificationv1.Verification{at(1, failedWith("vr_1"), a), at(2, failedWith("vr_2"), a)}, false},
		"a new status after a hole":    {[]*verificationv1.Verification{at(1, a), at(4, inCheck, a)}, false},
		"it falls":                     {[]*verificationv1.Verification{at(3, outcomeOf(3, "c")), at(5, b)}, false},
		"its revision is to come":      {[]*verificationv1.Verification{at(1, b)}, false},
		"its name is short":            {[]*verificationv1.Verification{at(1, func(v *verificationv1.Verification) { v.OutcomeRevision, v.OutcomeId = 1, "short" })}, false},
		"another name of the same one": {[]*verificationv1.Verification{at(1, a), at(2, counting(0, 1), outcomeOf(1, "b"))}, false},
	} {
		h := newHistory()
		for _, v := range c.shown {
			h.getsOf(v)
		}
		wrong := slices.ContainsFunc(h.Check(Options{MaxRetries: 9}), func(v Violation) bool { return v.Rule == OneOutcome })
		if wrong == c.right {
			t.Errorf("%s: violates OneOutcome: %t; want %t", what, wrong, !c.right)
		}
	}
}

// TestG13_OutcomesOfTwoErasAreNotCompared: after a loss, a read can name an outcome otherwise.
func TestG13_OutcomesOfTwoErasAreNotCompared(t *testing.T) {
	h := newHistory()
	h.getsOf(at(1, outcomeOf(1, "a")))
	h.loses(Loss{})
	h.getsOf(at(1, outcomeOf(1, "b")))
	if report := h.Check(Options{}); len(report) > 0 {
		t.Error(report)
	}
	h.getsOf(at(1, outcomeOf(1, "a")))
	if report := h.Check(Options{}); len(report) != 1 || report[0].Rule != OneOutcome {
		t.Errorf("within an era: %v; want a violation of OneOutcome", report)
	}
}
