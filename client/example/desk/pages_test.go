package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>`

// TestHostileTexts: what others have written is shown as text, on every page.
func TestHostileTexts(t *testing.T) {
	rig := newRig(t, settings{})
	v := refused("vs_1", hostile, verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE)
	v.LastError.Reason = hostile
	rig.backend.Set(v)
	rosa := rig.colleague("Rosa")
	for _, path := range []string{"/", "/session/vs_1", "/session/vs_1/allow", "/person?" + url.Values{"reference": {hostile}}.Encode(), "/search?" + url.Values{"q": {hostile}}.Encode()} {
		page := rosa.get(path, http.StatusOK)
		rig.see(page, hostile)
		rig.miss(page, "<script>alert", "<img src=x")
	}
	rig.miss(rosa.get("/search?"+url.Values{"q": {hostile + "2"}}.Encode(), http.StatusNotFound), "<script>alert", "<img src=x")
}

// TestQueue: people are listed by reason, the longest wait first.
func TestQueue(t *testing.T) {
	rig := newRig(t, settings{})
	rig.see(rig.colleague("Rosa").get("/", http.StatusOK), "Nobody waits for help.", "No tries left 0")
	for i, id := range []string{"vs_old", "vs_new"} {
		v := refused(id, "user-"+id, verificationv1.ErrorCode_ERROR_CODE_CONSENT_DECLINED)
		v.UpdateTime = timestamppb.New(time.Now().Add(-5*time.Hour + time.Duration(i)*time.Hour))
		rig.backend.Set(v)
	}
	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_long", Status: verificationv1.Status_STATUS_PROCESSING, UpdateTime: timestamppb.New(time.Now().Add(-longCheck - time.Minute))})
	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_unsure", Status: verificationv1.Status_STATUS_PROCESSING, UpdateTime: timestamppb.Now()})
	rig.backend.SetInDoubt("vs_unsure", true)
	rosa := rig.colleague("Rosa")
	order := func(path string) bool {
		page := rosa.get(path, http.StatusOK)
		rig.see(page, "user-vs_old", "user-vs_new", "They did not agree to the check")
		return strings.Index(page, "user-vs_old") < strings.Index(page, "user-vs_new")
	}
	if !order("/") || order("/?reason=refused&sort=newest") {
		t.Error("the order is wrong")
	}
	rig.see(rosa.get("/", http.StatusOK), "5 hours", "Refused for good 2", "Checked for long 1", "Uncertain 1")
	rig.see(rosa.get("/?reason=long", http.StatusOK), "vs_long", "Being checked by Stripe")
	rig.see(rosa.get("/?reason=unsure", http.StatusOK), "vs_unsure")
	rig.see(rosa.get("/?reason=no-tries", http.StatusOK), "Nobody in this list.", "Everybody who was refused still has a try.")
}

// TestBoundedQueue: a list of any length costs one page, and says that there are more.
func TestBoundedQueue(t *testing.T) {
	rig := newRig(t, settings{})
	for i := range maxRows + 5 {
		rig.underAge("vs_" + number(i))
	}
	rosa := rig.colleague("Rosa")
	rig.mu.Lock()
	rig.tokens = nil
	rig.mu.Unlock()
	page := rosa.get("/", http.StatusOK)
	rig.mu.Lock()
	if len(rig.tokens) != len(reasons) {
		t.Errorf("the queue costs %d calls, want one for each of %d lists", len(rig.tokens), len(reasons))
	}
	rig.mu.Unlock()
	rig.see(page, "These are the newest 200.", "Refused for good 200+")
	if got := strings.Count(page, `<li id="row-`); got != maxRows {
		t.Errorf("the page has %d rows, want %d", got, maxRows)
	}
}

// TestTrouble: a failed look says what to do, with the status of the failure.
func TestTrouble(t *testing.T) {
	rig := newRig(t, settings{})
	rig.underAge("vs_1")
	rosa := rig.colleague("Rosa")
	for reason, want := range map[verificationv1.ErrorReason]struct {
		status int
		says   string
	}{
		verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED: {403, "That right is missing"},
		verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED:   {403, "does not know this desk"},
		verificationv1.ErrorReason_ERROR_REASON_INTERNAL:          {502, "That did not work"},
	} {
		rig.backend.Fail(clienttest.Error(reason))
		for _, path := range []string{"/", "/consumers", "/session/vs_1", "/session/vs_1/allow", "/person?reference=a"} {
			rig.see(rosa.get(path, want.status), want.says)
		}
		rig.backend.Fail(nil)
	}
	rig.see(rosa.get("/search?q=nobody", 404), "Nobody is known as “nobody”")
	rig.see(rosa.get("/session/vs_2", 404), "Nobody is known by that name")
	for _, path := range []string{"/session/evil", "/session/vs_1/explode", "/missing"} {
		rig.see(rosa.get(path, 404), "There is no such page")
	}
	rosa.get("/person?reference="+strings.Repeat("a", 256), http.StatusBadRequest)
}

// TestPerson: somebody that is verified once is found to be verified, whichever session is looked at.
func TestPerson(t *testing.T) {
	rig := newRig(t, settings{})
	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_1", ClientReferenceId: "user-1", Status: verificationv1.Status_STATUS_VERIFIED})
	v := refused("vs_2", "user-1", verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED)
	v.CreateTime = timestamppb.New(time.Now().Add(time.Hour))
	rig.backend.Set(v)
	rosa := rig.colleague("Rosa")
	rig.see(rosa.get("/session/vs_2", 200), "Verified on", "by another check", "2 checks, 1 failed submission in all.")
	rig.see(rosa.get("/session/vs_1", 200), "Verified, by this check.")
	rig.see(rosa.get("/person?reference=user-1", 200), "vs_1", "vs_2", "Verified on")
	if !strings.Contains(rosa.get("/session/vs_2", 200), `href="https://dashboard.stripe.com/test/identity/verification-sessions/vs_2"`) {
		t.Error("the story does not lead to Stripe's Dashboard")
	}
}

// TestLongStory: a summary of the newest checks does not claim more than it knows.
func TestLongStory(t *testing.T) {
	rig := newRig(t, settings{})
	rig.backend.Set(&verificationv1.Verification{SessionId: "vs_first", ClientReferenceId: "user-1", Status: verificationv1.Status_STATUS_VERIFIED})
	for i := range maxSummary {
		rig.backend.Set(refused("vs_"+number(i), "user-1", verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED))
	}
	rosa := rig.colleague("Rosa")
	for _, path := range []string{"/session/vs_99", "/person?reference=user-1"} {
		page := rosa.get(path, http.StatusOK)
		rig.see(page, "Not verified in the newest 100 checks. Older checks were not looked at", "The newest 100 checks: 100 failed submissions.")
		rig.miss(page, "in all", "Not known to be verified")
	}
}

// TestDashboard: the address has the account and the mode.
func TestDashboard(t *testing.T) {
	for want, v := range map[string]*verificationv1.Verification{
		"https://dashboard.stripe.com/identity/verification-sessions/vs_1":             {SessionId: "vs_1", Livemode: true},
		"https://dashboard.stripe.com/test/identity/verification-sessions/vs_1":        {SessionId: "vs_1"},
		"https://dashboard.stripe.com/acct_1/test/identity/verification-sessions/vs_1": {SessionId: "vs_1", Account: "acct_1"},
	} {
		if got := dashboard(v); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestConsumers says of each whether somebody must do something.
func TestConsumers(t *testing.T) {
	rig := newRig(t, settings{})
	rig.see(rig.colleague("Rosa").get("/consumers", 200), "No program follows the feed by a name.")
	times := rig.site.clock()
	for want, c := range map[string]*verificationv1.Consumer{
		"Up to date":       {Name: "a", Active: true},
		"Catching up":      {Name: "a", Active: true, PendingChanges: 3, Lag: durationpb.New(3 * time.Minute)},
		"Not connected":    {Name: "a", PendingChanges: 3},
		"Has lost changes": {Name: "a", Expired: true, Active: true},
	} {
		got := consumerOf(c, times)
		if got.State != want || (got.Advice != "") != (want == "Not connected" || want == "Has lost changes") {
			t.Errorf("%v: got %+v, want %q", c, got, want)
		}
		if c.GetLag() != nil && got.Behind != "3 changes, the oldest 3 minutes old" {
			t.Errorf("behind: %q", got.Behind)
		}
	}
}

// TestEveryValueHasWords: no value of the contract leaves a hole in a page.
func TestEveryValueHasWords(t *testing.T) {
	times := clock{zone: time.UTC, now: time.Now()}
	for value, name := range verificationv1.ErrorCode_name {
		code := verificationv1.ErrorCode(value)
		_, known := failures[code]
		if open := code == 0 || code == verificationv1.ErrorCode_ERROR_CODE_OTHER; known == open {
			t.Errorf("%s: has words: %v", name, known)
		}
		if got := wordsOf(&verificationv1.VerificationError{Code: code}); got.What == "" || got.Helps == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for value, name := range verificationv1.RetryDenial_name {
		if denials[verificationv1.RetryDenial(value)] == "" && value != 0 {
			t.Errorf("%s has no words", name)
		}
	}
	for value, name := range verificationv1.ResolutionKind_name {
		known := slices.ContainsFunc(kinds, func(k kind) bool { return k.kind == verificationv1.ResolutionKind(value) })
		if known != (value != 0) {
			t.Errorf("%s can be chosen: %v", name, known)
		}
	}
	for status := range verificationv1.Status_name {
		for source, name := range verificationv1.Source_name {
			e := &verificationv1.HistoryEntry{Source: verificationv1.Source(source), Status: verificationv1.Status(status)}
			if got := timeline([]*verificationv1.HistoryEntry{e}, times)[0]; got.Title == "" || got.Source == "" || got.Tone == "" {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	for effect, name := range verificationv1.Effect_name {
		if _, known := became[verificationv1.Effect(effect)]; !known && effect != 0 {
			t.Errorf("%s has no words", name)
		}
	}
	titles := map[string]string{}
	for operation, name := range verificationv1.Operation_name {
		title := operated(verificationv1.Operation(operation)).Title
		if titles[title] != "" {
			t.Errorf("%s and %s have the title %q", name, titles[title], title)
		}
		titles[title] = name
	}
}
