package checker

import (
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// rolledBack is a loss of all but the first revisions of each session.
func rolledBack(kept int32) Loss {
	return Loss{Reason: "failover", Kept: func(string) int32 { return kept }}
}

// TestG7_NoWatchContinuesFromALostRevision: a watch that has shown a lost revision ends with OUT_OF_RANGE.
func TestG7_NoWatchContinuesFromALostRevision(t *testing.T) {
	one, two, three := at(1), at(2, is("processing")), at(3, verified)
	other := at(2, is("processing"), later(0, 7))
	next := at(3, verified, later(0, 7))
	check(t, []story{
		{"showed a revision that was kept", "", func(h *history) {
			w, all := h.watchOne().tells(one, two), h.watchAll().tells(one, two)
			h.loses(rolledBack(2))
			w.tells(three)
			all.tells(three)
		}},
		{"ends with OUT_OF_RANGE", "", func(h *history) {
			w, all := h.watchOne().tells(one, two), h.watchAll().tells(one, two)
			h.loses(rolledBack(1))
			w.restarts().tells(other, next)
			all.restarts().tells(nil, other, next)
		}},
		{"continues from an older token that was kept", "", func(h *history) {
			w := h.watchOne().tells(one, two)
			h.loses(rolledBack(1))
			w.resumesBehind(0).tells(other)
		}},
		{"shows the new content while the loss lasted", "", func(h *history) {
			settled := h.Era(rolledBack(1))
			w := h.watchOne().tells(one, other)
			settled()
			w.tells(next)
		}},
		{"redacted since", "", func(h *history) {
			w := h.watchOne().tells(one, two)
			h.loses(rolledBack(1))
			w.tells(at(3, erased))
		}},

		{"continues from what is lost", Resumable, func(h *history) {
			w := h.watchOne().tells(one, two)
			h.loses(rolledBack(1))
			w.tells(next)
		}},
		{"all sessions: continues from what is lost", Resumable, func(h *history) {
			w := h.watchAll().tells(one, two)
			h.loses(rolledBack(1))
			w.tells(next)
		}},
		{"all sessions: continues from what is lost, redacted since", Resumable, func(h *history) {
			w := h.watchAll().tells(one, two)
			h.loses(rolledBack(1))
			w.tells(at(3, erased))
		}},
		{"all sessions: resumes behind what is lost", Resumable, func(h *history) {
			w := h.watchAll().tells(one, two)
			h.loses(rolledBack(1))
			w.resumes().tells(nil, next)
		}},
		{"nobody knows what was kept, but others see something else", Resumable, func(h *history) {
			w := h.watchOne().tells(one, two)
			h.loses(Loss{Reason: "failover"})
			h.gets(0, other, nil)
			w.tells(next)
		}},
		{"all sessions: nobody knows what was kept, but others see something else", Resumable, func(h *history) {
			w := h.watchAll().tells(one, two)
			h.loses(Loss{Reason: "failover"})
			w.tells(next)
			h.gets(0, other, nil)
		}},
		{"kept, and not shown", Gapless, func(h *history) {
			w := h.watchAll().tells(one)
			h.gets(0, at(2, later(0, 9)), nil)
			h.loses(rolledBack(2))
			w.ends(errCanceled)
		}},
	}, Options{MaxRetries: 2})
}

// TestG8_WhatALossTookIsNotShownAgain: what is shown after a loss is of one timeline, and what was kept
// stays.
func TestG8_WhatALossTookIsNotShownAgain(t *testing.T) {
	one, two := at(1), at(2, is("processing"))
	other := at(2, is("processing"), later(0, 7))
	check(t, []story{
		{"another content after a loss", "", func(h *history) {
			h.gets(0, two, nil)
			h.loses(rolledBack(1))
			h.gets(0, other, nil)
		}},
		{"the same content again", "", func(h *history) {
			h.gets(0, two, nil)
			h.loses(rolledBack(1))
			h.gets(2, nil, errOutOfRange)
			h.gets(0, two, nil)
			h.gets(2, two, nil)
		}},
		{"both while the loss lasts", "", func(h *history) {
			h.gets(0, two, nil)
			settled := h.Era(rolledBack(1))
			h.gets(0, other, nil)
			h.gets(0, two, nil)
			settled()
			h.gets(0, other, nil)
		}},

		{"both after a loss", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(Loss{Reason: "failover"})
			h.gets(0, other, nil)
			h.gets(0, two, nil)
		}},
		{"both after a loss, the lost one first", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(Loss{Reason: "failover"})
			h.gets(0, two, nil)
			h.gets(0, other, nil)
		}},
		{"shown after a loss by one, and unknown to another", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(rolledBack(1))
			h.gets(0, two, nil)
			h.gets(2, nil, errOutOfRange)
		}},
		{"what was kept is another one", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(rolledBack(2))
			h.gets(0, other, nil)
		}},
		{"what was kept is unknown", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(rolledBack(2))
			h.gets(2, nil, errOutOfRange)
		}},
		{"seen while the loss lasted, and kept", NeverBackwards, func(h *history) {
			settled := h.Era(rolledBack(2))
			h.gets(0, two, nil)
			settled()
			h.gets(0, other, nil)
		}},
		{"what was kept falls", NeverBackwards, func(h *history) {
			h.gets(0, at(2, counting(1, 1)), nil)
			h.loses(rolledBack(2))
			h.gets(0, at(4, counting(1, 0)), nil)
		}},
		{"kept over two losses", NeverBackwards, func(h *history) {
			h.gets(0, one, nil)
			h.loses(rolledBack(1))
			h.loses(rolledBack(1))
			h.gets(1, nil, errNotFound)
		}},
	}, Options{MaxRetries: 2})
}

// TestG8_Fresh: how old answers may be.
func TestG8_Fresh(t *testing.T) {
	one, two := at(1), at(2, is("processing"))
	asks := func(h *history, server string) func(revision int32) {
		answered := h.AsksAt(server, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}})
		return func(revision int32) {
			answered(&verificationv1.GetStatusResponse{Verification: at(revision, is("processing"))}, nil)
		}
	}
	check(t, []story{
		{"a second old", "", func(h *history) { h.gets(0, two, nil); h.passes(1); h.gets(0, one, nil) }},
		{"lost since", "", func(h *history) {
			h.gets(0, two, nil)
			h.passes(3)
			h.loses(Loss{Reason: "failover"})
			h.gets(0, one, nil)
		}},
		{"two servers", "", func(h *history) { asks(h, "a")(2); asks(h, "b")(1) }},
		{"answers that cross", "", func(h *history) {
			first := asks(h, "a")
			asks(h, "a")(2)
			first(1)
		}},
		{"a server after a loss", "", func(h *history) {
			asks(h, "a")(2)
			h.loses(rolledBack(1))
			asks(h, "a")(1)
		}},

		{"three seconds old", Fresh, func(h *history) { h.gets(0, two, nil); h.passes(3); h.gets(0, one, nil) }},
		{"kept, and three seconds old", Fresh, func(h *history) {
			h.gets(0, two, nil)
			h.passes(3)
			h.loses(rolledBack(2))
			h.gets(0, one, nil)
		}},
		{"seen again after a loss, three seconds before", Fresh, func(h *history) {
			h.gets(0, two, nil)
			h.loses(rolledBack(1))
			h.gets(0, two, nil)
			h.passes(3)
			h.gets(0, one, nil)
		}},
		{"one server goes back", Fresh, func(h *history) { asks(h, "a")(1); asks(h, "a")(2); asks(h, "a")(1) }},
	}, Options{MaxRetries: 2, Freshness: 2 * time.Second})
}
