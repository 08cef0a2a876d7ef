package e2e

import (
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// TestReplaceClosedTwice: any number of callers that replace a canceled session at the same time, on any server, get the
// same new session, and each a link of its own. A caller that loses the race for Stripe's idempotency key can be asked to
// try again.
func TestReplaceClosedTwice(t *testing.T) {
	t.Parallel()
	p := newTwoReplicas(t)
	for _, callers := range []int{2, 2, 8} {
		id := p.stripe.NewSession("")
		p.stripe.SubmitAndFinish(id, "document_expired")
		p.stripe.Do(p.stripe.CancelOverAPI, id)
		known := len(p.stripe.Sessions())
		p.stripe.Tick()

		responses := make([]*verificationv1.RetryVerificationResponse, callers)
		var group errgroup.Group
		for n := range callers {
			group.Go(func() error {
				// Others' return URLs: Stripe would refuse the same key for another request.
				request := &verificationv1.RetryVerificationRequest{SessionId: id, ReplaceClosed: true, ReturnUrl: "https://shop.example/" + string(rune('a'+n))}
				for range 5 {
					response, err := rig.Retry(t, p.clients[n%2], request)
					if code := status.Code(err); code == codes.Unavailable || code == codes.Aborted {
						continue
					}
					responses[n] = response
					return err
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		p.stripe.AwaitDelivered()
		if made := len(p.stripe.Sessions()) - known; made != 1 {
			t.Fatalf("%d callers made %d sessions at Stripe", callers, made)
		}
		successor := p.stripe.Sessions()[known]
		if successor.Metadata["case"] != "17" {
			t.Errorf("the replacement is not like the replaced one: %+v", successor)
		}
		links := map[string]bool{}
		for n, response := range responses {
			v := response.GetVerification()
			if v.GetSessionId() != successor.ID || v.GetRetry().GetRetriesGranted() != 1 || v.GetRetry().GetFailedAttempts() != 1 {
				t.Errorf("caller %d is answered %v", n, v)
			}
			p.stripe.OpenLink(response.GetUrl())
			links[response.GetUrl()] = true
		}
		if len(links) != callers {
			t.Errorf("%d callers have %d links", callers, len(links))
		}
		old := rig.GetStatus(t, p.clients[0], id)
		if v := old.GetVerification(); v.GetSupersededBy() != successor.ID || v.GetRetry().GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED {
			t.Errorf("the replaced session is %v", v)
		}
		rig.CheckRevisions(t, old)
		rig.CheckRevisions(t, rig.GetStatus(t, p.clients[1], successor.ID))
	}
}

// TestReplaceClosedCountsTowardsTheLimit: replacements use retries, over the whole chain.
func TestReplaceClosedCountsTowardsTheLimit(t *testing.T) {
	t.Parallel()
	p := newTwoReplicas(t, "MAX_RETRIES=2")
	id := p.stripe.NewSession("")
	first := id
	for replaced := int32(1); replaced <= 2; replaced++ {
		p.stripe.Do(p.stripe.Cancel, id)
		p.stripe.Tick()
		response := rig.MustRetry(t, p.clients[replaced%2], &verificationv1.RetryVerificationRequest{SessionId: first, ReplaceClosed: true})
		p.stripe.AwaitDelivered()
		next := response.GetVerification()
		if next.GetSessionId() == id || next.GetRetry().GetRetriesGranted() != replaced {
			t.Fatalf("replacement %d is %v", replaced, next)
		}
		id = next.GetSessionId()
	}
	p.stripe.Do(p.stripe.Cancel, id)
	for _, asked := range []string{first, id} {
		_, err := rig.Retry(t, p.clients[0], &verificationv1.RetryVerificationRequest{SessionId: asked, ReplaceClosed: true})
		info := rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
		if info.GetMetadata()["denial"] != "RETRY_DENIAL_LIMIT_REACHED" {
			t.Errorf("a third replacement of %s is refused with %v", asked, info)
		}
	}
}
