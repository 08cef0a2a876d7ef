package checker

import (
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestG6_WatchesOfAllSessions: each change at least once, in order within a session.
func TestG6_WatchesOfAllSessions(t *testing.T) {
	one, two, three := at(1), at(2, is("processing")), at(3, verified)
	other := func(revision int32) *verificationv1.Verification { return at(revision, about("vs_2")) }
	born := func(revision int32) *verificationv1.Verification { return at(revision, later(5, 4+int64(revision))) }
	check(t, []story{
		{"in order within a session", "", func(h *history) { h.watchAll().tells(one, other(4), two, nil, other(5), three).ends(errCanceled) }},
		{"repeated after a resume", "", func(h *history) { h.watchAll().tells(one, two).resumes().tells(nil, one, two, three) }},
		{"the newest again", "", func(h *history) { h.watchAll().tells(one, one, two) }},
		{"an older token", "", func(h *history) { h.watchAll().tells(one, two, three).resumesBehind(1).tells(nil, two, three) }},
		{"begun in the middle of a session", "", func(h *history) {
			h.gets(0, two, nil)
			h.watchAll().tells(three)
		}},
		{"seen by others before it began, but not shown", "", func(h *history) { h.gets(0, two, nil); h.watchAll(); h.gets(0, two, nil) }},
		{"an old revision seen late", "", func(h *history) { h.watchAll(); h.gets(0, two, nil) }},
		{"cut off and not resumed", "", func(h *history) {
			w := h.watchAll().tells(one)
			h.gets(0, two, nil)
			w.ends(errUnavailable)
		}},
		{"seen by others after it was closed", "", func(h *history) { h.watchAll().tells(one).ends(errCanceled); h.gets(0, two, nil) }},
		{"lost before it was shown", "", func(h *history) {
			h.watchAll().tells(one)
			h.gets(0, two, nil)
			h.loses(Loss{Reason: "failover"})
		}},

		{"no bookmark", SnapshotFirst, func(h *history) {
			h.watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{}}).tells(one)
		}},
		{"no bookmark after a resume", SnapshotFirst, func(h *history) { h.watchAll().tells(one).resumes().tells(two) }},

		{"a revision falls", Ordered, func(h *history) { h.watchAll().tells(one, two, one, two) }},
		{"a repeat falls", Ordered, func(h *history) { h.watchAll().tells(one, two, three).resumes().tells(nil, two, one, two, three) }},

		{"a hole", Gapless, func(h *history) { h.watchAll().tells(one, three) }},
		{"the head of a session that was born since", Gapless, func(h *history) {
			w := h.watchAll()
			h.passes(10)
			w.tells(born(2))
		}},
		{"a change since that others saw", Gapless, func(h *history) {
			w := h.watchAll()
			h.passes(10)
			h.gets(0, at(2, is("processing"), later(0, 5)), nil)
			w.tells(at(3, verified, later(0, 6)))
		}},
		{"the newest", Gapless, func(h *history) { h.watchAll().tells(one); h.gets(0, two, nil) }},
		{"the newest, when it is closed", Gapless, func(h *history) {
			w := h.watchAll().tells(one)
			h.gets(0, two, nil)
			w.ends(errCanceled)
		}},
		{"a whole session that was born since", Gapless, func(h *history) {
			h.watchAll()
			h.passes(10)
			h.gets(0, born(1), nil)
		}},
		{"the newest of an era", Gapless, func(h *history) {
			h.watchAll().tells(one)
			h.loses(Loss{Reason: "failover"})
			h.gets(0, two, nil)
		}},

		{"a resume leaves one out", Resumable, func(h *history) { h.watchAll().tells(one).resumes().tells(nil, three) }},
		{"an older token leaves one out", Resumable, func(h *history) { h.watchAll().tells(one, two).resumesBehind(1).tells(nil, three) }},
		{"a resume leaves out a session's birth", Resumable, func(h *history) {
			w := h.watchAll()
			h.passes(10)
			w.resumes().tells(nil, born(2))
		}},
	}, Options{})
}
