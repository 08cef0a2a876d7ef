package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// grants returns the number of granted retries in a history.
func grants(response *verificationv1.GetStatusResponse) (n int) {
	for _, entry := range response.GetHistory() {
		if entry.GetSource() == verificationv1.Source_SOURCE_RETRY {
			n++
		}
	}
	return n
}

// twoReplicas is two servers that share a Redis and a simulated Stripe; webhooks go to the first.
type twoReplicas struct {
	stripe  *rig.FakeStripe
	redis   *redistest.Server
	servers [2]*rig.Process
	clients [2]verificationv1.VerificationServiceClient
}

func newTwoReplicas(t *testing.T, more ...string) *twoReplicas {
	t.Helper()
	p := &twoReplicas{stripe: rig.StartFakeStripe(t), redis: redistest.Start(t)}
	for i := range p.servers {
		p.servers[i] = rig.Serve(t, p.stripe.Settings(p.redis.Addr, more...))
		p.clients[i] = rig.ClientOf(t, p.servers[i])
	}
	p.stripe.SendTo(p.servers[0])
	return p
}

// TestG9_ConcurrentRetriesMakeOneGrant: 8 calls at the same time on one failure, over two servers, each of which
// makes a link a second.
func TestG9_ConcurrentRetriesMakeOneGrant(t *testing.T) {
	t.Parallel()
	p := newTwoReplicas(t)
	id := p.stripe.NewSession("person-1")
	p.stripe.SubmitAndFinish(id, "document_expired")

	var mu sync.Mutex
	links, secrets := map[string]bool{}, map[string]bool{}
	var group errgroup.Group
	began := time.Now()
	for n := range 8 {
		group.Go(func() error {
			response, err := rig.Retry(t, p.clients[n%2], &verificationv1.RetryVerificationRequest{SessionId: id})
			if err != nil {
				return fmt.Errorf("call %d: %w", n, err)
			}
			if got := response.GetVerification().GetRetry(); got.GetRetriesGranted() != 1 || response.GetUrl() == "" || response.GetClientSecret() == "" {
				return fmt.Errorf("call %d: granted %d, or no link", n, got.GetRetriesGranted())
			}
			mu.Lock()
			defer mu.Unlock()
			links[response.GetUrl()], secrets[response.GetClientSecret()] = true, true
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("8 calls in %v", time.Since(began).Round(time.Millisecond))
	if len(links) != 8 || len(secrets) != 8 {
		t.Errorf("8 calls got %d links and %d secrets; each must have its own", len(links), len(secrets))
	}
	for link := range links {
		p.stripe.OpenLink(link)
	}
	for _, client := range p.clients {
		got := rig.GetStatus(t, client, id)
		if state := got.GetVerification().GetRetry(); state.GetRetriesGranted() != 1 || state.GetRetriesRemaining() != 1 || grants(got) != 1 {
			t.Errorf("%d entries of grants, state %v; want one grant", grants(got), state)
		}
	}
}

// TestG9_TheLimitIsShownInAdvance: after MAX_RETRIES granted failures the next retry is refused, and GetStatus said so before.
// A granted retry stays granted.
func TestG9_TheLimitIsShownInAdvance(t *testing.T) {
	t.Parallel()
	p := newTwoReplicas(t, "MAX_RETRIES=2")
	id := p.stripe.NewSession("person-2")
	request := &verificationv1.RetryVerificationRequest{SessionId: id}

	// Never submitted: a link, and nothing is used.
	if got := rig.MustRetry(t, p.clients[0], request); got.GetVerification().GetRetry().GetRetriesGranted() != 0 {
		t.Fatalf("a retry was used for a session never submitted: %v", got.GetVerification())
	}
	link := rig.MustRetry(t, p.clients[1], request).GetUrl()
	for failure := int32(1); failure <= 2; failure++ {
		p.stripe.UseLink(link, id, "document_expired")
		shown := rig.GetStatus(t, p.clients[1], id).GetVerification().GetRetry()
		if !shown.GetAllowed() || shown.GetRetriesRemaining() != 3-failure || shown.GetFailedAttempts() != failure {
			t.Fatalf("after failure %d: %v", failure, shown)
		}
		for range 3 { // repeating a call uses nothing
			got := rig.MustRetry(t, p.clients[failure%2], request)
			if got.GetVerification().GetRetry().GetRetriesGranted() != failure {
				t.Fatalf("after failure %d: %v", failure, got.GetVerification())
			}
			link = got.GetUrl()
		}
	}
	p.stripe.UseLink(link, id, "selfie_face_mismatch")
	shown := rig.GetStatus(t, p.clients[0], id).GetVerification().GetRetry()
	if shown.GetAllowed() || shown.GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED || shown.GetRetriesRemaining() != 0 {
		t.Errorf("GetStatus does not say that the limit is reached: %v", shown)
	}
	for _, client := range p.clients {
		_, err := rig.Retry(t, client, request)
		info := rig.WantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED)
		failure := rig.Detail[*errdetails.PreconditionFailure](status.Convert(err))
		if info.GetMetadata()["denial"] != "RETRY_DENIAL_LIMIT_REACHED" || len(failure.GetViolations()) != 1 {
			t.Errorf("the refusal says %v, %v", info, failure)
		}
	}
	if got := rig.GetStatus(t, p.clients[0], id); grants(got) != 2 {
		t.Errorf("%d grants; want 2", grants(got))
	}
}
