package checker

import (
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// TestG8_NeverBackwards: what answers to min_revision must be, and what a revision must show to all.
func TestG8_NeverBackwards(t *testing.T) {
	one, two, three := at(1), at(2, failedWith("vr_1"), counting(1, 0)), at(3, failedWith("vr_1"), counting(1, 1))
	another := at(2, is("processing"))
	flushed := Loss{Reason: "FLUSHALL", Everything: true}
	check(t, []story{
		{"fresh enough", "", func(h *history) { h.gets(0, two, nil); h.gets(2, two, nil); h.gets(2, three, nil) }},
		{"not asked for", "", func(h *history) { h.gets(0, two, nil); h.gets(0, one, nil) }},
		{"the store is unavailable", "", func(h *history) { h.gets(0, two, nil); h.gets(2, nil, errUnavailable) }},
		{"a revision that nobody saw", "", func(h *history) { h.gets(0, two, nil); h.gets(3, nil, errOutOfRange) }},
		{"lost", "", func(h *history) { h.gets(0, two, nil); h.loses(flushed); h.gets(2, nil, errOutOfRange) }},
		{"lost, and not yet back", "", func(h *history) { h.gets(0, two, nil); h.loses(flushed); h.gets(2, nil, errNotFound) }},
		{"being lost", "", func(h *history) { h.gets(0, two, nil); h.Era(flushed); h.gets(2, nil, errOutOfRange) }},
		{"another content after a loss", "", func(h *history) { h.gets(0, two, nil); h.loses(flushed); h.gets(0, another, nil) }},
		{"the old content while it is being lost", "", func(h *history) {
			settled := h.Era(flushed)
			h.gets(0, two, nil)
			settled()
			h.gets(0, another, nil)
		}},
		{"less after a loss", "", func(h *history) {
			h.gets(0, at(1, later(0, 9), counting(2, 2)), nil)
			h.loses(flushed)
			h.gets(0, at(2, later(0, 1)), nil)
		}},
		{"what the clock decides may differ", "", func(h *history) {
			h.gets(0, one, nil)
			h.gets(0, at(1, func(v *verificationv1.Verification) {
				v.Retry.Allowed, v.Retry.RetriesRemaining, v.Retry.Denial = true, 7, verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN
			}), nil)
		}},

		{"older than asked for", NeverBackwards, func(h *history) { h.gets(0, two, nil); h.gets(2, one, nil) }},
		{"older than asked for after a loss", NeverBackwards, func(h *history) { h.gets(0, two, nil); h.loses(flushed); h.gets(2, one, nil) }},
		{"said to be lost", NeverBackwards, func(h *history) { h.watchOne().tells(two); h.gets(2, nil, errOutOfRange) }},
		{"said to be lost, for another's loss", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(Loss{Reason: "failover", Affects: func(id string) bool { return id != "vs_1" }})
			h.gets(2, nil, errOutOfRange)
		}},
		{"said to be lost, but seen since", NeverBackwards, func(h *history) { h.loses(flushed); h.gets(0, two, nil); h.gets(2, nil, errOutOfRange) }},
		{"said to be unknown", NeverBackwards, func(h *history) { h.gets(0, one, nil); h.gets(0, nil, errNotFound) }},
		{"two contents", NeverBackwards, func(h *history) { h.watchOne().tells(two); h.gets(0, another, nil) }},
		{"two contents of a retry", NeverBackwards, func(h *history) { h.gets(0, at(1, counting(1, 0)), nil); h.retries(at(1, counting(1, 1)), "a") }},
		{"two contents after a loss", NeverBackwards, func(h *history) { h.loses(flushed); h.gets(0, two, nil); h.gets(0, another, nil) }},
		{"three contents and one loss", NeverBackwards, func(h *history) {
			h.gets(0, two, nil)
			h.loses(flushed)
			h.gets(0, another, nil)
			h.gets(0, at(2, verified), nil)
		}},
		{"update_time falls", NeverBackwards, func(h *history) { h.gets(0, at(1, later(0, 9)), nil); h.gets(0, at(3, later(0, 8)), nil) }},
		{"redaction falls", NeverBackwards, func(h *history) { h.gets(0, at(1, processing), nil); h.gets(0, at(2), nil) }},
		{"attempts fall", NeverBackwards, func(h *history) { h.gets(0, at(1, counting(1, 0)), nil); h.gets(0, at(2), nil) }},
		{"grants fall", NeverBackwards, func(h *history) { h.gets(0, at(1, counting(1, 1)), nil); h.gets(0, at(3, counting(1, 0)), nil) }},
	}, Options{MaxRetries: 2})
}

// TestEveryFieldCounts: a revision that differs in any one field is another content.
func TestEveryFieldCounts(t *testing.T) {
	for name, change := range map[string]edit{
		"status":                   is("processing"),
		"type":                     func(v *verificationv1.Verification) { v.StripeType = "id_number" },
		"last_error":               func(v *verificationv1.Verification) { v.LastError = &verificationv1.VerificationError{} },
		"last_verification_report": func(v *verificationv1.Verification) { v.LastVerificationReport = "vr_2" },
		"client_reference_id":      func(v *verificationv1.Verification) { v.ClientReferenceId = "r" },
		"account":                  func(v *verificationv1.Verification) { v.Account = "acct_1" },
		"superseded_by":            supersededBy("vs_2"),
		"create_time":              later(1, 0),
		"update_time":              later(0, 1),
		"failed_attempts":          counting(1, 0),
		"retries_granted":          func(v *verificationv1.Verification) { v.Retry.RetriesGranted = 1 },
		"redaction":                processing,
		"livemode":                 func(v *verificationv1.Verification) { v.Livemode = true },
		"settled":                  func(v *verificationv1.Verification) { v.Settled = true },
		"resolution":               func(v *verificationv1.Verification) { v.Resolution = &verificationv1.Resolution{Kind: 2} },
		"override_open":            func(v *verificationv1.Verification) { v.Retry.OverrideOpen = true },
	} {
		h := newHistory()
		h.gets(0, at(1), nil)
		h.gets(0, at(1, change), nil)
		found := false
		for _, v := range h.Check(Options{MaxRetries: 2}) {
			found = found || v.Rule == NeverBackwards && v.Text == "revision 1 shows different "+name
		}
		if !found {
			t.Errorf("a different %s is not seen", name)
		}
	}
}

// TestG1_Converged: the last answer is Stripe's final word, and every failure was counted once.
func TestG1_Converged(t *testing.T) {
	truth := func(h *history, o verification.Object) { o.ID = "vs_1"; h.Truth(o) }
	failure := verification.Object{Status: "requires_input", Error: verification.Error{Code: "document_expired"}}
	replaced := func(h *history, inherits int32) {
		h.fails("vs_1", "evt_1", "vr_1")
		h.gets(0, at(2, failedWith("vr_1"), counting(1, 0)), nil)
		h.gets(0, at(3, canceled, counting(1, 0)), nil)
		h.gets(0, at(5, canceled, counting(1, 1), supersededBy("vs_2")), nil)
		h.getsOf(at(2, about("vs_2"), counting(inherits, 1)))
		h.Truth(verification.Object{ID: "vs_2", Status: "requires_input"})
	}
	check(t, []story{
		{"verified", "", func(h *history) { truth(h, verification.Object{Status: "verified"}); h.gets(0, at(1, verified), nil) }},
		{"failed twice, counted three times", "", func(h *history) {
			h.fails("vs_1", "evt_1", "vr_1")
			h.fails("vs_1", "evt_2", "vr_1")
			h.fails("vs_1", "evt_3", "")
			truth(h, failure)
			h.gets(0, at(4, failedWith(""), counting(2, 0)), nil)
		}},
		{"abandoned is not counted", "", func(h *history) {
			o := verification.Object{ID: "vs_1", Status: "requires_input", Error: verification.Error{Code: "abandoned"}}
			h.Emitted(verification.Event{ID: "evt_1", Object: o})
			h.Emitted(verification.Event{ID: "evt_2", Object: verification.Object{ID: "vs_1", Status: "requires_input"}})
			h.Truth(o)
			h.gets(0, at(2, func(v *verificationv1.Verification) {
				v.LastError = &verificationv1.VerificationError{StripeCode: "abandoned"}
			}), nil)
		}},
		{"a redaction erases the error", "", func(h *history) {
			o := failure
			o.Status, o.Redaction = "canceled", verification.RedactionRedacted
			truth(h, o)
			h.gets(0, at(2, canceled, erased), nil)
		}},
		{"wrong at first", "", func(h *history) {
			h.gets(0, nil, errUnavailable)
			h.gets(0, at(1), nil)
			truth(h, verification.Object{Status: "verified"})
			h.gets(0, at(2, verified), nil)
		}},
		{"inherited", "", func(h *history) { replaced(h, 1) }},
		{"the inheritance was lost", "", func(h *history) { replaced(h, 1); h.loses(Loss{}); h.getsOf(at(1, about("vs_2"))) }},

		{"another status", Converged, func(h *history) { truth(h, verification.Object{Status: "verified"}); h.gets(0, at(1), nil) }},
		{"no error", Converged, func(h *history) { truth(h, failure); h.gets(0, at(1), nil) }},
		{"another error", Converged, func(h *history) {
			o := failure
			o.Error.Code = "selfie_manipulated"
			truth(h, o)
			h.gets(0, at(1, failedWith("")), nil)
		}},
		{"no redaction", Converged, func(h *history) {
			truth(h, verification.Object{Status: "verified", Redaction: verification.RedactionRedacted})
			h.gets(0, at(1, verified, processing), nil)
		}},
		{"a failure lost", Converged, func(h *history) {
			h.fails("vs_1", "evt_1", "")
			truth(h, verification.Object{Status: "verified"})
			h.gets(0, at(1, verified), nil)
		}},
		{"a failure counted twice", Converged, func(h *history) {
			h.fails("vs_1", "evt_1", "vr_1")
			h.fails("vs_1", "evt_1", "vr_1")
			truth(h, failure)
			h.gets(0, at(1, failedWith("vr_1"), counting(2, 0)), nil)
		}},
		{"never asked", Converged, func(h *history) { truth(h, failure) }},
		{"not answered in the end", Converged, func(h *history) {
			truth(h, verification.Object{Status: "verified"})
			h.gets(0, at(1, verified), nil)
			h.gets(0, nil, errUnavailable)
		}},
		{"not inherited", Converged, func(h *history) { replaced(h, 0) }},
		{"inherited twice", Converged, func(h *history) { replaced(h, 2) }},
	}, Options{MaxRetries: 2})
}

// TestG9_AtMostLimit: grants, links and successors.
func TestG9_AtMostLimit(t *testing.T) {
	failed := func(revision int32, report string, attempts, granted int32) *verificationv1.Verification {
		return at(revision, failedWith(report), counting(attempts, granted))
	}
	abandoned := func(revision, attempts, granted int32) *verificationv1.Verification {
		return at(revision, failedWith("vr_3"), counting(attempts, granted), func(v *verificationv1.Verification) {
			v.LastError.StripeCode = "abandoned"
		})
	}
	check(t, []story{
		{"one for each failure", "", func(h *history) {
			h.watchOne().tells(failed(1, "vr_1", 1, 0), failed(2, "vr_1", 1, 1), failed(3, "vr_2", 2, 1), failed(4, "vr_2", 2, 2))
			h.retries(failed(2, "vr_1", 1, 1), "a")
			h.retries(failed(2, "vr_1", 1, 1), "b")
			h.Retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1"}, nil, errUnavailable)
		}},
		{"a replacement and what it inherits", "", func(h *history) {
			h.watchOne().tells(failed(1, "vr_1", 1, 0), failed(2, "vr_1", 1, 1), at(3, canceled, counting(1, 1)), at(4, canceled, counting(1, 2)), at(5, canceled, counting(1, 2), supersededBy("vs_2")))
			h.watchAll().tells(at(1, about("vs_2")), at(2, about("vs_2"), counting(1, 2)))
			h.retries(at(2, about("vs_2"), counting(1, 2)), "a")
		}},
		{"a grant lost and made again", "", func(h *history) {
			h.watchOne().tells(failed(1, "vr_1", 1, 0), failed(2, "vr_1", 1, 1))
			h.loses(Loss{})
			h.gets(0, failed(1, "vr_1", 1, 0), nil)
			h.gets(0, failed(2, "vr_1", 1, 1), nil)
		}},

		{"one for each failure that is counted behind an abandoned one", "", func(h *history) {
			h.watchOne().tells(abandoned(1, 1, 0), abandoned(2, 1, 1), abandoned(3, 2, 1), abandoned(4, 2, 2))
		}},

		{"twice for the newest failure behind an abandoned one", AtMostLimit, func(h *history) {
			h.watchOne().tells(abandoned(1, 2, 0), abandoned(2, 2, 1), abandoned(3, 2, 2))
		}},
		{"for a failure, and again once it was abandoned", AtMostLimit, func(h *history) {
			h.watchOne().tells(failed(1, "vr_2", 2, 0), failed(2, "vr_2", 2, 1), abandoned(3, 2, 1), abandoned(4, 2, 2))
		}},
		{"over the limit", AtMostLimit, func(h *history) { h.gets(0, failed(9, "vr_1", 5, 3), nil) }},
		{"more than failures", AtMostLimit, func(h *history) { h.gets(0, failed(9, "vr_1", 1, 2), nil) }},
		{"twice for one failure", AtMostLimit, func(h *history) {
			h.watchOne().tells(failed(1, "vr_2", 2, 0), failed(2, "vr_2", 2, 1), at(3, is("processing"), counting(2, 1)), failed(4, "vr_2", 2, 1), failed(5, "vr_2", 2, 2))
		}},
		{"two at once", AtMostLimit, func(h *history) { h.watchOne().tells(failed(1, "vr_2", 2, 0), failed(2, "vr_2", 2, 2)) }},
		{"for no failure", AtMostLimit, func(h *history) {
			h.watchOne().tells(at(1, is("processing"), counting(2, 0)), at(2, is("processing"), counting(2, 1)))
		}},
		{"two replacements", AtMostLimit, func(h *history) {
			h.watchOne().tells(at(3, canceled, counting(1, 0)), at(4, canceled, counting(1, 1)), at(5, canceled, counting(1, 2)))
		}},
		{"inherited, and twice for one failure", AtMostLimit, func(h *history) {
			h.gets(0, at(1, canceled, supersededBy("vs_2"), counting(1, 1)), nil)
			two := about("vs_2")
			h.watchAll().tells(at(1, two), at(2, two, counting(1, 1)), at(3, two, failedWith("vr_2"), counting(4, 1)),
				at(4, two, failedWith("vr_2"), counting(4, 2)), at(5, two, failedWith("vr_2"), counting(4, 3)))
		}},
		{"no link", AtMostLimit, func(h *history) { h.retries(at(1), "") }},
		{"one link for two calls", AtMostLimit, func(h *history) { h.retries(at(1), "a"); h.retries(at(1), "a") }},
		{"two successors", AtMostLimit, func(h *history) {
			h.gets(0, at(1, canceled, supersededBy("vs_2")), nil)
			h.loses(Loss{Everything: true})
			h.gets(0, at(1, canceled, supersededBy("vs_3")), nil)
		}},
	}, Options{MaxRetries: 2})
}
