package checker

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRightHistoriesBreakNothing: what a right service shows, through cuts, repeats, disorder and
// losses, is no violation.
func TestRightHistoriesBreakNothing(t *testing.T) {
	var seen Seen
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t, "")
		if report := h.Check(Options{MaxRetries: 2}); len(report) > 0 {
			t.Fatalf("%v", report)
		}
		s := h.Seen()
		seen.Resumes, seen.Restarts, seen.Retries, seen.Losses = seen.Resumes+s.Resumes, seen.Restarts+s.Restarts, seen.Retries+s.Retries, seen.Losses+s.Losses
	})
	if seen.Resumes == 0 || seen.Restarts == 0 || seen.Retries == 0 || seen.Losses == 0 {
		t.Errorf("the histories are too tame: %v", seen)
	}
}

// TestFlawsAreFound: with each flaw, random histories break the rule that is there for it.
func TestFlawsAreFound(t *testing.T) {
	for flaw, want := range map[string]Rule{
		"a change is skipped":             Gapless,
		"the feed's nonces are ignored":   Resumable,
		"fingerprints are ignored":        Resumable,
		"the bookmark is left out":        SnapshotFirst,
		"until_settled looks at the past": SettledEnds,
		"a resolution does not settle":    SettledEnds,
		"min_revision is ignored":         NeverBackwards,
		"memory outlives a loss":          NeverBackwards,
		"the outcome is not kept":         OneOutcome,
		"each revision is an outcome":     OneOutcome,
		"an event is lost":                Converged,
		"a grant is not kept":             AtMostLimit,
	} {
		t.Run(flaw, func(t *testing.T) {
			histories := rapid.Custom(func(t *rapid.T) *history { return drawHistory(t, flaw) })
			for seed := range 1000 {
				report := histories.Example(seed).Check(Options{MaxRetries: 2})
				if slices.ContainsFunc(report, func(v Violation) bool { return v.Rule == want }) {
					t.Logf("found with seed %d", seed)
					return
				}
			}
			t.Errorf("no history breaks %s", want)
		})
	}
}
