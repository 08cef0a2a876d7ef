package browser

import (
	"strings"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestOperatorsHelpInABrowser: operators help a person while the page is open. The page offers the try that an operator allowed, and
// no button when an operator has resolved the session. A person that is verified gets no link for a newer session.
func TestOperatorsHelpInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	redis, stripe := redistest.Start(t), rig.StartFakeStripe(t)
	p := rig.Serve(t, stripe.Settings(redis.Addr))
	stripe.SendTo(p)
	page := newPageServer(t, goSite(t), p.GRPC, stripe.URL)
	page.start()
	b := startBrowser(t)
	_, conn := rig.Dial(t, p.GRPC)
	operators, ctx := verificationv1.NewOperatorServiceClient(conn), rig.Within(t, 2*rig.Soon)
	var id string
	try := func(button, outcome string) {
		t.Helper()
		b.press(button)
		b.see("Simulation.")
		stripe.CatchUp()
		stripe.Tick()
		b.choose(outcome)
		b.see("We’re checking your document")
		id = stripe.Sessions()[0].ID
		stripe.Do(stripe.FinishProcessing, id)
	}
	allow := func() {
		t.Helper()
		if _, err := operators.AllowRetry(ctx, &verificationv1.AllowRetryRequest{SessionId: id}); err != nil {
			t.Fatal(err)
		}
	}
	resolve := func(kind verificationv1.ResolutionKind) {
		t.Helper()
		if _, err := operators.ResolveVerification(ctx, &verificationv1.ResolveVerificationRequest{SessionId: id, Kind: kind}); err != nil {
			t.Fatal(err)
		}
	}

	b.do("open", rig.Fields{"url": page.url})
	b.see("Verify your identity", "Live")
	try("Start verification", "under_supported_age")
	b.see("We couldn’t verify you", "You are younger than the people whom we can verify.", "Call 0800 555 0142")
	b.picture("stuck")
	allow()
	b.see("You can try once more", "Our team has given you one more try.") // the page is live
	b.inspect("allowed")

	try("Try again", "consent_declined")
	b.see("You chose not to be verified")
	resolve(verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED)
	b.see("Our team is looking at it", "Call 0800 555 0142")
	if text := b.text(); strings.Contains(text, "Try again") {
		t.Errorf("a resolved session is shown with a button: %s", text)
	}
	b.inspect("resolved")
	resolve(verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED)
	b.see("You chose not to be verified")

	allow()
	b.see("You can try once more")
	try("Try again", "verified")
	b.see("You’re verified")
	stripe.NewSession(stripe.Sessions()[0].ClientReferenceID) // another program of the company begins one
	b.do("open", rig.Fields{"url": page.url})
	b.see("Go on where you left off", "Live")
	b.press("Continue")
	b.see("You’re verified")
	b.picture("verified-before")
	if got := len(stripe.Sessions()); got != 2 {
		t.Errorf("%d sessions at Stripe; want none but the two", got)
	}
	if problems := b.do("problems", nil); problems != "[]" {
		t.Errorf("the browser complains: %s", problems)
	}
}
