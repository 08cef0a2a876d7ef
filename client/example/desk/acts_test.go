package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestAllow: a person is found in the queue and gets one more try. The history names the desk, and the log of the desk names the
// colleague.
func TestAllow(t *testing.T) {
	rig := newRig(t, settings{})
	seen := rig.underAge("vs_1").GetOutcomeRevision()
	rosa := rig.colleague("Rosa Okafor")
	rig.see(rosa.get("/", http.StatusOK), "user-vs_1", "Younger than the people Stripe verifies")
	page := rosa.act("vs_1", "allow", http.StatusOK)
	rig.see(page, "You allowed one more try.", "One more try is open", "One more try was allowed By token:desk")
	if !rig.now("vs_1").GetRetry().GetOverrideOpen() {
		t.Error("no override is open")
	}
	for _, want := range []string{`"msg":"an act at the desk"`, `"person":"Rosa Okafor"`, `"session_id":"vs_1"`, `"act":"allow"`, `"outcome_revision":` + number(seen), `"time":"`} {
		if !strings.Contains(rig.log.String(), want) {
			t.Errorf("the log has no %s: %s", want, &rig.log)
		}
	}
	rig.see(rosa.get("/", http.StatusOK), "Nobody waits for help.")
	rig.miss(rosa.get("/session/vs_1", http.StatusOK), "You allowed", "act-allow")
	rig.miss(rosa.get("/session/vs_1?done=resolve&seal=1.x", http.StatusOK), "You marked") // an address alone says nothing
}

// TestResolve: each kind reaches the service, and can be taken back.
func TestResolve(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.Value, func(t *testing.T) {
			rig := newRig(t, settings{})
			rig.underAge("vs_1")
			rosa := rig.colleague("Rosa")
			page := rosa.act("vs_1", "resolve", http.StatusOK, "kind", kind.Value)
			rig.see(page, "You marked this person as dealt with.", "Dealt with: "+lowerFirst(kind.Name), "By token:desk", "Marked as dealt with")
			if got := rig.now("vs_1").GetResolution().GetKind(); got != kind.kind {
				t.Errorf("the kind is %v, want %v", got, kind.kind)
			}
			rig.miss(page, "act-allow", "act-link", "act-resolve", "What helps")
			page = rosa.act("vs_1", "take-back", http.StatusOK)
			rig.see(page, "You took the mark back.", "Stuck: refused for good", "was taken back")
			if got := rig.now("vs_1").GetResolution(); got != nil {
				t.Errorf("the resolution is %v, want none", got)
			}
			if got := strings.Count(rig.log.String(), `"msg":"an act at the desk"`); got != 2 || !strings.Contains(rig.log.String(), `"kind":"`+kind.Value+`"`) {
				t.Errorf("the log has %d acts, want 2, one of them with the kind: %s", got, &rig.log)
			}
		})
	}
}

// TestResolveNeedsAKind: without a choice the question is asked again, and nothing is changed.
func TestResolveNeedsAKind(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rosa := rig.colleague("Rosa")
	rig.see(rosa.act("vs_1", "resolve", http.StatusUnprocessableEntity), "Choose one of the three.", "Mark as dealt with")
	rosa.act("vs_1", "resolve", http.StatusUnprocessableEntity, "kind", "UNSPECIFIED")
	if got := rig.now("vs_1").GetResolution(); got != nil {
		t.Errorf("the resolution is %v, want none", got)
	}
}

// TestLink: a link is shown once. It is in no log, no address, and on no other page.
func TestLink(t *testing.T) {
	rig := newRig(t, settings{})
	rig.backend.Set(refused("vs_1", "user-1", verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED))
	rig.backend.OnRetry(func(r *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
		if r.GetReplaceClosed() {
			t.Error("the link of an open session asks for a replacement")
		}
		return &verificationv1.RetryVerificationResponse{Verification: rig.now("vs_1"), Url: "https://verify.stripe.test/planted", ClientSecret: "vs_1_secret_planted"}, nil
	})
	rosa := rig.colleague("Rosa")
	page := rosa.act("vs_1", "link", http.StatusOK)
	if !strings.Contains(page, `value="https://verify.stripe.test/planted"`) {
		t.Errorf("the page has no link: %s", page)
	}
	rig.miss(page, "secret_planted")
	rig.miss(rosa.get("/session/vs_1", http.StatusOK), "planted")
	rig.miss(rig.log.String(), "planted")
	if !strings.Contains(rig.log.String(), `"act":"link"`) {
		t.Errorf("the log does not name the act: %s", &rig.log)
	}
}

// TestLinkOfAClosedSession begins a new one in its place.
func TestLinkOfAClosedSession(t *testing.T) {
	rig := newRig(t, settings{returnURL: "https://verify.example.com/"})
	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_1", Status: verificationv1.Status_STATUS_CANCELED})
	rosa := rig.colleague("Rosa")
	page := rosa.act("vs_1", "link", http.StatusOK)
	rig.see(page, "The closed check has a successor now: vs_1_replacement")
	rig.see(rosa.get("/session/vs_1", http.StatusOK), "Replaced by a newer check", "Look at the newer check")
	rig.see(rosa.get("/session/vs_1_replacement", http.StatusOK), "In place of an older check")
}

// TestConflict: something changes between the look and the act. Nothing is done, and the colleague looks again.
func TestConflict(t *testing.T) {
	changes := map[string]func(*deskRig){
		"verified": func(rig *deskRig) {
			rig.backend.Set(&verificationv1.Verification{SessionId: "vs_1", Status: verificationv1.Status_STATUS_VERIFIED})
		},
		"another failure": func(rig *deskRig) {
			rig.backend.Set(refused("vs_1", "user-1", verificationv1.ErrorCode_ERROR_CODE_CONSENT_DECLINED))
		},
	}
	for name, change := range changes {
		for _, act := range []string{"allow", "resolve"} {
			t.Run(name+" before "+act, func(t *testing.T) {
				rig := newRig(t, settings{})
				rig.underAge("vs_1")
				rosa := rig.colleague("Rosa")
				question := rosa.get(rosa.link("vs_1", act), http.StatusOK)
				change(rig)
				rig.see(rosa.sure("vs_1", act, http.StatusConflict, question, "kind", "closed"), "Something has changed since you looked", "Look again")
				if v := rig.now("vs_1"); v.GetRetry().GetOverrideOpen() || v.GetResolution() != nil {
					t.Errorf("the act was done: %v", v)
				}
				if !strings.Contains(rig.log.String(), "an act at the desk failed") {
					t.Errorf("the log has no failed act: %s", &rig.log)
				}
			})
		}
		t.Run(name+" before the question", func(t *testing.T) {
			rig := newRig(t, settings{})
			rig.underAge("vs_1")
			rosa := rig.colleague("Rosa")
			address := rosa.link("vs_1", "allow")
			change(rig)
			rig.see(rosa.get(address, http.StatusConflict), "Something has changed since you looked")
		})
	}
	t.Run("before a link", func(t *testing.T) {
		rig := newRig(t, settings{})
		rig.backend.Set(refused("vs_1", "user-1", verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED))
		rosa := rig.colleague("Rosa")
		question := rosa.get(rosa.link("vs_1", "link"), http.StatusOK)
		rig.backend.Set(&verificationv1.Verification{SessionId: "vs_1", Status: verificationv1.Status_STATUS_PROCESSING})
		rig.see(rosa.sure("vs_1", "link", http.StatusConflict, question), "Something has changed since you looked")
	})
}

// TestFasterColleague: the same act of two colleagues is done once, and the second one learns why.
func TestFasterColleague(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rosa, sam := rig.colleague("Rosa"), rig.colleague("Sam")
	address := sam.link("vs_1", "resolve")
	rosa.act("vs_1", "resolve", http.StatusOK, "kind", "declined")
	rig.see(sam.get(address, http.StatusConflict), "That is not needed any more", "Dealt with: declined", "Look at the story")
}

// TestForms: only a form of the desk, for this person, this session, this act and not too old, changes something.
func TestForms(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rig.underAge("vs_2")
	rosa, sam := rig.colleague("Rosa"), rig.colleague("Sam")
	question := rosa.get(rosa.link("vs_1", "allow"), http.StatusOK)
	token, seen := field(t, question, "token"), field(t, question, "seen")
	for name, try := range map[string]func() string{
		"no token": func() string { return rosa.post("/session/vs_1/allow", 403, url.Values{"seen": {seen}}) },
		"of another": func() string {
			return sam.post("/session/vs_1/allow", 403, url.Values{"seen": {seen}, "token": {token}})
		},
		"of another session": func() string {
			return rosa.post("/session/vs_2/allow", 403, url.Values{"seen": {seen}, "token": {token}})
		},
		"of another act": func() string {
			return rosa.post("/session/vs_1/link", 403, url.Values{"seen": {seen}, "token": {token}})
		},
		"by the address": func() string {
			return rosa.post("/session/vs_1/allow?"+url.Values{"seen": {seen}, "token": {token}}.Encode(), 403, nil)
		},
		"too old": func() string {
			rig.site.staff.now = func() time.Time { return time.Now().Add(-formFor) }
			old := rig.site.staff.seal("form", "Rosa", "vs_1", "allow")
			rig.site.staff.now = time.Now
			return rosa.post("/session/vs_1/allow", 403, url.Values{"seen": {seen}, "token": {old}})
		},
	} {
		rig.see(try(), "This page was open for too long", "Nothing was changed.")
		if rig.now("vs_1").GetRetry().GetOverrideOpen() || rig.now("vs_2").GetRetry().GetOverrideOpen() {
			t.Fatalf("%s: a try was allowed", name)
		}
	}
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		evil := rig.colleague("Rosa")
		evil.headers.Set(header, value)
		evil.post("/session/vs_1/allow", http.StatusForbidden, url.Values{"seen": {seen}, "token": {token}})
	}
	if rig.now("vs_1").GetRetry().GetOverrideOpen() {
		t.Error("a page of another site allowed a try")
	}
	rig.see(rosa.post("/session/vs_1/allow", http.StatusConflict, url.Values{"seen": {seen}, "token": {token}}), "Something has changed") // not all that was seen
	rosa.post("/session/vs_1/allow", http.StatusOK, formOf(t, question))
	if !rig.now("vs_1").GetRetry().GetOverrideOpen() {
		t.Error("the right form allowed no try")
	}
}

// TestFailedActs: each error says what happened, what to do, and leads back to the story.
func TestFailedActs(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		says   []string
	}{
		"no right":      {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED), 403, []string{"That right is missing", "override"}},
		"no token":      {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED), 403, []string{"does not know this desk"}},
		"Redis is away": {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE), 503, []string{"It is not known whether that was done", "the story says whether it was done"}},
		"gone":          {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND), 404, []string{"Nobody is known by that name"}},
		"old service":   {status.Error(codes.Unimplemented, "RECORD_FORMAT is 2"), 409, []string{"The service cannot do that yet", "RECORD_FORMAT is 2"}},
		"broken":        {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_INTERNAL), 502, []string{"That did not work"}},
		"too many":      {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED), 429, []string{"Too much at once", "Nothing was done.", "Try again"}},
		"writers":       {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_CONFLICT), 429, []string{"Too much at once", "Nothing was done.", "Try again"}},
		"verified":      {clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED, "", 0), 409, []string{"The person is verified already"}},
		"superseded":    {clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED, "vs_2", 0), 409, []string{"Look at the newer check"}},
	} {
		t.Run(name, func(t *testing.T) {
			rig := newRig(t, settings{})
			rig.underAge("vs_1")
			rosa := rig.colleague("Rosa")
			question := rosa.get(rosa.link("vs_1", "allow"), http.StatusOK)
			rig.setActErr(test.err)
			page := rosa.sure("vs_1", "allow", test.status, question)
			rig.see(page, test.says...)
			uncertain := test.status == 503
			if strings.Contains(words(page), "not known whether") != uncertain || strings.Contains(rig.log.String(), `"result":"unknown"`) != uncertain ||
				strings.Contains(rig.log.String(), `"result":"refused"`) == uncertain {
				t.Errorf("the page or the log is wrong about whether the act was done: %s; %s", words(page), &rig.log)
			}
		})
	}
}
