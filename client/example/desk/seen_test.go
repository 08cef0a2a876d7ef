package main

import (
	"net/http"
	"strings"
	"testing"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestTwoMarks: a form that was open while a colleague marked the person, or took a mark back, changes nothing.
func TestTwoMarks(t *testing.T) {
	for name, test := range map[string]struct {
		before  func(ben *colleague)
		act     string
		between func(ben *colleague)
		want    verificationv1.ResolutionKind
	}{
		"a mark over a mark": {
			func(*colleague) {}, "resolve",
			func(ben *colleague) { ben.act("vs_1", "resolve", 200, "kind", "verified-elsewhere") },
			verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE,
		},
		"take another mark back": {
			func(ben *colleague) { ben.act("vs_1", "resolve", 200, "kind", "declined") }, "take-back",
			func(ben *colleague) {
				ben.act("vs_1", "take-back", 200)
				ben.act("vs_1", "resolve", 200, "kind", "verified-elsewhere")
			},
			verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE,
		},
		"take back twice": {
			func(ben *colleague) { ben.act("vs_1", "resolve", 200, "kind", "declined") }, "take-back",
			func(ben *colleague) { ben.act("vs_1", "take-back", 200) }, 0,
		},
		"allow after a mark": {
			func(*colleague) {}, "allow", func(ben *colleague) { ben.act("vs_1", "resolve", 200, "kind", "closed") },
			verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED,
		},
		"a mark after an allowance": {
			func(*colleague) {}, "resolve", func(ben *colleague) { ben.act("vs_1", "allow", 200) }, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rig := newRig(t, settings{})
			rig.underAge("vs_1")
			ana, ben := rig.colleague("Ana"), rig.colleague("Ben")
			test.before(ben)
			question := ana.get(ana.link("vs_1", test.act), http.StatusOK)
			test.between(ben)
			revision := rig.now("vs_1").GetRevision()
			rig.see(ana.sure("vs_1", test.act, http.StatusConflict, question, "kind", "declined"), "Something has changed since you looked", "Look again")
			if v := rig.now("vs_1"); v.GetResolution().GetKind() != test.want || v.GetRevision() != revision {
				t.Errorf("the resolution is %v in revision %d, want %v and %d", v.GetResolution().GetKind(), v.GetRevision(), test.want, revision)
			}
		})
	}
}

// TestAllowOfAClosedSession: where nobody needs an allowance, the desk offers a link, and says truly that nothing was changed.
func TestAllowOfAClosedSession(t *testing.T) {
	rig := newRig(t, settings{})
	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_1", Status: verificationv1.Status_STATUS_CANCELED})
	rosa := rig.colleague("Rosa")
	rig.miss(rosa.get("/session/vs_1", 200), "act-allow")
	question := rosa.get("/session/vs_1/allow", 200)
	page := rosa.sure("vs_1", "allow", 200, question)
	rig.see(page, "Nothing needed a change: the person can try again already.")
	rig.miss(page, "You allowed")
	if log := rig.log.String(); !strings.Contains(log, `"result":"not needed"`) || strings.Contains(log, `"result":"done"`) {
		t.Errorf("the log does not say that nothing was changed: %s", log)
	}

	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_2", Status: verificationv1.Status_STATUS_CANCELED, Retry: &verificationv1.RetryState{Denial: verificationv1.RetryDenial_RETRY_DENIAL_CANCELED}})
	rig.see(rosa.act("vs_2", "allow", 200), "You allowed one more try.", "Closed, and one more try is open")
}

// TestAllowAfterARefusedLink: a closed session does not say that its replacement is refused. The refusal leads to the question.
func TestAllowAfterARefusedLink(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	v := refused("vs_1", "user-1", verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE)
	v.Status = verificationv1.Status_STATUS_CANCELED
	rig.backend.Set(v)
	rosa := rig.colleague("Rosa")
	question := rosa.get(rosa.link("vs_1", "link"), 200)
	rig.setActErr(clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE, "", 0))
	page := rosa.sure("vs_1", "link", http.StatusConflict, question)
	if !strings.Contains(page, `href="/session/vs_1/allow"`) {
		t.Errorf("the refusal does not lead to the question: %s", words(page))
	}
	rosa.get("/session/vs_1/allow", 200)
}

// TestNoActWithoutAnOutcome: a replica of an older version does not number outcomes. Then no act is begun.
func TestNoActWithoutAnOutcome(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rosa := rig.colleague("Rosa")
	question := rosa.get(rosa.link("vs_1", "allow"), 200)
	rosa.sure("vs_1", "allow", http.StatusConflict, question, "seen", "0")
	rig.older(true)
	rig.see(rosa.get("/session/vs_1/allow?seen=0", http.StatusServiceUnavailable), "The service is being updated")
	rig.see(rosa.sure("vs_1", "allow", http.StatusServiceUnavailable, question, "seen", "0"), "The service is being updated", "Nothing was changed.")
	rig.older(false)
	if rig.now("vs_1").GetRetry().GetOverrideOpen() {
		t.Error("a try was allowed")
	}
}

// TestAskedBeforeTheCall: the log names the person before the call. A desk that is killed during the call leaves that line.
func TestAskedBeforeTheCall(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rosa := rig.colleague("Rosa Okafor")
	var before string
	rig.mu.Lock()
	rig.onAct = func() { before = rig.log.String() }
	rig.mu.Unlock()
	rosa.act("vs_1", "resolve", 200, "kind", "declined")
	for _, want := range []string{`"msg":"an act at the desk was asked for"`, `"person":"Rosa Okafor"`, `"session_id":"vs_1"`, `"act":"resolve"`, `"kind":"declined"`} {
		if !strings.Contains(before, want) {
			t.Errorf("the log before the call has no %s: %s", want, before)
		}
	}
	if strings.Contains(before, `"result"`) || !strings.Contains(rig.log.String(), `"result":"done"`) {
		t.Errorf("the outcome is in the log at the wrong time: before %s, after %s", before, &rig.log)
	}
}

// TestNoLookNoAct: if the session cannot be read, nothing was changed, and the page says so.
func TestNoLookNoAct(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rosa := rig.colleague("Rosa")
	question := rosa.get(rosa.link("vs_1", "allow"), 200)
	rig.backend.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE))
	page := rosa.sure("vs_1", "allow", http.StatusServiceUnavailable, question)
	rig.see(page, "Nothing was changed.")
	rig.miss(page, "not known whether")
}
