package e2e

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// crashRig is a service of which one server dies in the middle of a call and comes back, while another
// one takes the webhooks.
type crashRig struct {
	t      *testing.T
	stripe *rig.FakeStripe
	redis  *redistest.Server
	stable verificationv1.VerificationServiceClient
}

func newCrashRig(t *testing.T) *crashRig {
	t.Helper()
	c := &crashRig{t: t, stripe: rig.StartFakeStripe(t), redis: redistest.Start(t)}
	other := rig.Serve(t, c.stripe.Settings(c.redis.Addr))
	c.stripe.SendTo(other)
	c.stable = rig.ClientOf(t, other)
	return c
}

// killAt calls a server that dies at the step, and repeats the call at a new server.
func (c *crashRig) killAt(step string, request *verificationv1.RetryVerificationRequest) *verificationv1.RetryVerificationResponse {
	c.t.Helper()
	dying := rig.Serve(c.t, c.stripe.Settings(c.redis.Addr, rig.EnvKillAt+"="+step))
	if _, err := rig.Retry(c.t, rig.ClientOf(c.t, dying), request); status.Code(err) != codes.Unavailable {
		c.t.Fatalf("a call to a server that dies at %q: %v", step, err)
	}
	dying.AwaitKilled()
	restarted := rig.Serve(c.t, c.stripe.Settings(c.redis.Addr))
	response := rig.MustRetry(c.t, rig.ClientOf(c.t, restarted), request)
	restarted.Kill()
	return response
}

// TestG9_RetryKilledBetweenSteps: at whichever step the server dies, the repeated call finds or makes the one grant, and
// returns a link that works.
func TestG9_RetryKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	c := newCrashRig(t)
	for _, step := range []string{rpc.StepRead, rpc.StepRetrieve, rpc.StepGrant, rpc.StepAnswer} {
		id := c.stripe.NewSession("")
		c.stripe.SubmitAndFinish(id, "document_expired")
		response := c.killAt(step, &verificationv1.RetryVerificationRequest{SessionId: id})
		if got := rig.GetStatus(t, c.stable, id); grants(got) != 1 || got.GetVerification().GetRetry().GetRetriesGranted() != 1 {
			t.Errorf("killed at %q: %d grants, %v", step, grants(got), got.GetVerification())
		}
		c.stripe.UseLink(response.GetUrl(), id, "verified")
		got := rig.GetStatus(t, c.stable, id).GetVerification()
		if got.GetStatus() != verificationv1.Status_STATUS_VERIFIED || got.GetRetry().GetFailedAttempts() != 1 || got.GetRetry().GetRetriesGranted() != 1 {
			t.Errorf("killed at %q, and after the link was used: %v", step, got)
		}
	}
}

// TestG9_ReplacementKilledBetweenSteps: the same for the replacement of a canceled session, which is
// more steps: there is one new session, and it has the old one's counts once.
func TestG9_ReplacementKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	c := newCrashRig(t)
	for _, step := range []string{
		rpc.StepRead, rpc.StepRetrieve, rpc.StepReplace, rpc.StepCreate, rig.StepName(rpc.StepRetrieve, 2),
		rpc.StepInherit, rpc.StepSupersede, rpc.StepAnswer,
	} {
		person := "person of " + step
		id := c.stripe.NewSession(person)
		c.stripe.SubmitAndFinish(id, "document_expired")
		c.stripe.Do(c.stripe.Cancel, id)
		known := len(c.stripe.Sessions())
		request := &verificationv1.RetryVerificationRequest{SessionId: id, ReplaceClosed: true, ReturnUrl: "https://shop.example/back"}
		c.stripe.Tick()
		response := c.killAt(step, request)
		c.stripe.AwaitDelivered()
		c.checkReplaced(step, id, known, response)

		c.stripe.UseLink(response.GetUrl(), response.GetVerification().GetSessionId(), "verified")
		c.checkVerified(step, person, id, response.GetVerification().GetSessionId())
	}
}

// checkReplaced compares with Stripe, which had so many sessions before.
func (c *crashRig) checkReplaced(step, id string, known int, response *verificationv1.RetryVerificationResponse) {
	c.t.Helper()
	if made := len(c.stripe.Sessions()) - known; made != 1 {
		c.t.Errorf("killed at %q: Stripe has %d new sessions", step, made)
	}
	successor := response.GetVerification().GetSessionId()
	if newest := c.stripe.Sessions()[known].ID; successor != newest {
		c.t.Errorf("killed at %q: the answer is about %s, the new session is %s", step, successor, newest)
	}
	old, made := rig.GetStatus(c.t, c.stable, id), rig.GetStatus(c.t, c.stable, successor)
	if v := old.GetVerification(); v.GetSupersededBy() != successor || v.GetRetry().GetRetriesGranted() != 1 || v.GetStatus() != verificationv1.Status_STATUS_CANCELED {
		c.t.Errorf("killed at %q: the old session is %v", step, v)
	}
	if v := made.GetVerification(); v.GetRetry().GetFailedAttempts() != 1 || v.GetRetry().GetRetriesGranted() != 1 || v.GetRetry().GetRetriesRemaining() != 1 {
		c.t.Errorf("killed at %q: the new session is %v", step, v)
	}
	rig.CheckRevisions(c.t, old)
	rig.CheckRevisions(c.t, made)
}

func (c *crashRig) checkVerified(step, person, id, successor string) {
	c.t.Helper()
	ctx := rig.Within(c.t, rig.Soon)
	newest, err := c.stable.GetStatus(ctx, &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: person},
	})
	v := newest.GetVerification()
	if err != nil || v.GetSessionId() != successor || v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRetry().GetRetriesGranted() != 1 {
		c.t.Errorf("killed at %q, and after the link was used, the person's newest session is %v, %v", step, v, err)
	}
	if _, err := rig.Retry(c.t, c.stable, &verificationv1.RetryVerificationRequest{SessionId: id}); status.Code(err) != codes.FailedPrecondition {
		c.t.Errorf("killed at %q: a retry of the replaced session: %v", step, err)
	}
}
