package checker

import (
	"strings"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestG5_WatchesOfASubject: what one watch of a session or reference may show and what not.
func TestG5_WatchesOfASubject(t *testing.T) {
	one, two, three, four := at(1), at(2, is("processing")), at(3, failedWith("vr_1"), counting(1, 0)), at(4, verified, counting(1, 0))
	other := func(revision int32) *verificationv1.Verification { return at(revision, about("vs_2")) }
	check(t, []story{
		{"snapshot and changes", "", func(h *history) { h.watchOne().tells(two, three, nil, four) }},
		{"resumed twice", "", func(h *history) { h.watchOne().tells(one, two).resumes().resumes().tells(three).ends(errCanceled) }},
		{"resumed behind an older response", "", func(h *history) { h.watchOne().tells(one, two, three).resumesBehind(0).tells(two, three, four) }},
		{"two watches of their own", "", func(h *history) { h.watchOne().tells(one, two); h.watchOne().tells(one) }},
		{"begun again without a token", "", func(h *history) { h.watchOne().tells(two, three).ends(errUnavailable).Opened("") }},
		{"a reference continues with another session", "", func(h *history) { h.watchReference().tells(two, other(5)).resumes().tells(other(6)) }},
		{"a token of the session before", "", func(h *history) { h.watchReference().tells(two, other(5)).resumesBehind(0).tells(three, other(7)) }},

		{"a revision falls", Ordered, func(h *history) { h.watchOne().tells(two, three, four, two) }},
		{"another session", Ordered, func(h *history) { h.watchOne().tells(other(1)) }},
		{"a reference comes back", Ordered, func(h *history) { h.watchReference().tells(two, other(5), three) }},
		{"a reference comes back after a resume", Ordered, func(h *history) { h.watchReference().tells(two, other(5)).resumes().tells(three) }},

		{"twice on one stream", Unique, func(h *history) { h.watchOne().tells(one, two, two, three) }},
		{"twice across a resume", Unique, func(h *history) { h.watchOne().tells(one, two).resumes().tells(two, three) }},
		{"an older one again across a resume", Unique, func(h *history) { h.watchOne().tells(one, two, three).resumes().tells(two, three) }},

		{"a hole", Gapless, func(h *history) { h.watchOne().tells(one, three) }},
		{"a hole later after a resume", Gapless, func(h *history) { h.watchOne().tells(one).resumes().tells(two, four) }},
		{"a hole in a reference's second session", Gapless, func(h *history) { h.watchReference().tells(one, other(1), other(3)) }},
		{"a hole over a loss that did not end the watch", Gapless, func(h *history) {
			w := h.watchOne().tells(one)
			h.loses(Loss{Reason: "failover"})
			w.tells(three)
		}},

		{"a resume leaves one out", Resumable, func(h *history) { h.watchOne().tells(one).resumes().tells(three) }},
		{"a resume before the snapshot", Resumable, func(h *history) { h.watchOne().tells(three).resumes().tells(two) }},
		{"an older token leaves one out", Resumable, func(h *history) { h.watchOne().tells(one, two).resumesBehind(0).tells(three) }},

		{"begins with a sign of life", SnapshotFirst, func(h *history) { h.watchOne().tells(nil, one) }},
		{"a reference begins with a sign of life", SnapshotFirst, func(h *history) { h.watchReference().tells(nil) }},
		{"a resume may begin so", "", func(h *history) { h.watchOne().tells(one).resumes().tells(nil, two) }},
	}, Options{MaxRetries: 2})
}

// TestG5_RedactionCollapses: what a redaction excuses, and what not.
func TestG5_RedactionCollapses(t *testing.T) {
	one, two, five, six := at(1), at(2, verified), at(5, verified, processing), at(6, verified, erased)
	check(t, []story{
		{"undelivered ones collapse", "", func(h *history) { h.watchOne().tells(one, five, six) }},
		{"across a resume", "", func(h *history) { h.watchOne().tells(one).resumes().tells(five) }},
		{"for all sessions", "", func(h *history) { h.watchAll().tells(one, five, six) }},
		{"for all sessions, born since", "", func(h *history) {
			w := h.watchAll()
			h.passes(10)
			w.tells(at(5, later(5, 9), verified, processing))
		}},
		{"only into the one that records it", Gapless, func(h *history) { h.watchOne().tells(one, two, five, six); h.watchOne().tells(two, six) }},
		{"only the first one", Gapless, func(h *history) { h.watchOne().tells(five, at(7, verified, erased)) }},
		{"only forward", Unique, func(h *history) { h.watchOne().tells(one, five).resumes().tells(five) }},
		{"for all sessions only into the one that records it", Gapless, func(h *history) { h.watchAll().tells(one, five, six); h.watchAll().tells(two, six) }},
	}, Options{})
}

// TestG7_TokensAndEnds: tokens, OUT_OF_RANGE and what explains it.
func TestG7_TokensAndEnds(t *testing.T) {
	one, two, three := at(1), at(2, is("processing")), at(3, failedWith("vr_1"), counting(1, 0))
	flushed := Loss{Reason: "FLUSHALL", Everything: true}
	elsewhere := Loss{Reason: "failover", Affects: func(id string) bool { return id != "vs_1" }}
	stories := []story{
		{"restarted after a loss", "", func(h *history) {
			w := h.watchOne().tells(one, two)
			h.loses(flushed)
			w.restarts().tells(one, two)
		}},
		{"a loss while the watch is opened", "", func(h *history) {
			settled := h.Era(flushed)
			h.watchReference().ends(errOutOfRange)
			settled()
		}},
		{"continues after a failover that lost nothing of it", "", func(h *history) {
			w := h.watchOne().tells(one)
			h.loses(Loss{Reason: "failover"})
			w.tells(two).resumes().tells(three)
		}},
		{"a reference continues with a newer session", "", func(h *history) {
			w := h.watchReference().tells(one)
			h.loses(flushed)
			w.tells(at(1, about("vs_2")))
		}},
		{"continues into what a redaction left", "", func(h *history) {
			w := h.watchOne().tells(one)
			h.loses(flushed)
			w.tells(at(3, erased))
		}},
		{"continues from a redaction into another one", "", func(h *history) {
			w := h.watchOne().tells(at(1, canceled, processing))
			h.loses(flushed)
			w.tells(at(4, canceled, erased))
		}},
		{"a redaction took the reference", "", func(h *history) {
			h.watchReference().tells(two).resumes().ends(errOutOfRange)
			h.gets(0, at(4, erased), nil)
		}},
		{"all sessions after a loss of some", "", func(h *history) {
			w := h.watchAll().tells(one)
			h.loses(elsewhere)
			w.restarts().tells(nil, at(7, about("vs_2")))
		}},
		{"not found before it was seen", "", func(h *history) { h.watchOne().ends(errNotFound) }},

		{"no token", Resumable, func(h *history) {
			h.watchOne().Response(&verificationv1.WatchStatusResponse{Verification: one})
		}},
		{"a long token", Resumable, func(h *history) {
			h.watchOne().Response(&verificationv1.WatchStatusResponse{Verification: one, ResumeToken: strings.Repeat("t", 2049)})
		}},
		{"a token refused", Resumable, func(h *history) { h.watchOne().tells(one).resumes().ends(errInvalid) }},
		{"a token that the test invented", Resumable, func(h *history) {
			w := h.watchOne().tells(one)
			w.Opened("invented")
			w.tells(one)
		}},
		{"a feed's token that the test invented", Resumable, func(h *history) { h.watchAll().Opened("invented") }},
		{"continued over a loss of everything", Resumable, func(h *history) {
			w := h.watchOne().tells(one)
			h.loses(flushed)
			w.tells(two)
		}},
		{"resumed over a loss of everything", Resumable, func(h *history) {
			w := h.watchOne().tells(one)
			h.loses(flushed)
			w.resumes().tells(two)
		}},
		{"all sessions continued into what a redaction left", Resumable, func(h *history) {
			w := h.watchAll().tells(one)
			h.loses(flushed)
			w.tells(at(3, erased))
		}},
		{"all sessions continued over a loss of everything", Resumable, func(h *history) {
			w := h.watchAll()
			h.loses(flushed)
			w.tells(one)
		}},
		{"not found though seen", NeverBackwards, func(h *history) {
			h.gets(0, one, nil)
			h.watchOne().ends(errNotFound)
		}},
	}
	unexplained := []story{
		{"nothing was lost", Resumable, func(h *history) { h.watchOne().tells(one).resumes().ends(errOutOfRange) }},
		{"lost before the watch", Resumable, func(h *history) { h.loses(flushed); h.watchOne().tells(one).restarts() }},
		{"another session's loss", Resumable, func(h *history) {
			w := h.watchOne().tells(one)
			h.loses(elsewhere)
			w.restarts()
		}},
		{"all sessions, nothing lost", Resumable, func(h *history) { h.watchAll().restarts() }},
	}
	check(t, append(stories, unexplained...), Options{})
	for i := range unexplained {
		unexplained[i].breaks = ""
	}
	check(t, unexplained, Options{Trimmed: true})
}

// TestSettledEnds: until_settled ends with OK after a settled response, and nothing else does.
func TestSettledEnds(t *testing.T) {
	one, two, three := at(1), at(2, verified), at(3, failedWith("vr_1"), counting(1, 0), later(0, 9))
	superseded := at(3, canceled, supersededBy("vs_2"))
	check(t, []story{
		{"ends", "", func(h *history) { h.watchUntilSettled().tells(one, two).ends(nil) }},
		{"is settled when it begins", "", func(h *history) { h.watchUntilSettled().tells(two).ends(nil) }},
		{"a token at the settled revision", "", func(h *history) { h.watchUntilSettled().tells(one, two).resumes().ends(nil) }},
		{"overridden before the look", "", func(h *history) { h.watchUntilSettled().tells(two, three).ends(errCanceled) }},
		{"a server dies in between", "", func(h *history) { h.watchUntilSettled().tells(two).ends(errUnavailable) }},
		{"the caller leaves at once", "", func(h *history) { h.watchUntilSettled().tells(two).ends(errCanceled) }},
		{"redacted", "", func(h *history) { h.watchUntilSettled().tells(at(1, erased)).ends(nil) }},
		{"a reference continues with the successor", "", func(h *history) {
			w := h.watchReference().tells(superseded, nil, at(1, about("vs_2"), counting(1, 1)))
			h.passes(10)
			w.tells(at(2, about("vs_2"), verified, counting(1, 1))).ends(nil)
		}},

		{"too early", SettledEnds, func(h *history) { h.watchUntilSettled().tells(one).ends(nil) }},
		{"with nothing shown", SettledEnds, func(h *history) { h.watchUntilSettled().ends(nil) }},
		{"after an override", SettledEnds, func(h *history) { h.watchUntilSettled().tells(two, three).ends(nil) }},
		{"a reference at a superseded session", SettledEnds, func(h *history) { h.watchReference().tells(superseded).ends(nil) }},
		{"not asked for", SettledEnds, func(h *history) { h.watchOne().tells(two).ends(nil) }},
		{"all sessions", SettledEnds, func(h *history) { h.watchAll().ends(nil) }},
		{"a sign of life after it", SettledEnds, func(h *history) { h.watchUntilSettled().tells(two, nil) }},
		{"a sign of life after a resume at it", SettledEnds, func(h *history) { h.watchUntilSettled().tells(two).resumes().tells(nil) }},
		{"stays open", SettledEnds, func(h *history) { h.watchUntilSettled().tells(two); h.passes(6) }},
		{"until the caller leaves", SettledEnds, func(h *history) {
			w := h.watchUntilSettled().tells(two)
			h.passes(6)
			w.ends(errCanceled)
		}},
		{"the flag is wrong", SettledEnds, func(h *history) { h.gets(0, at(1, func(v *verificationv1.Verification) { v.Settled = true }), nil) }},
	}, Options{MaxRetries: 2})
}
