package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// person is a session at the simulated Stripe, with the failures that it really had.
type person struct {
	id       string
	failures int32
}

// TestG1_HostileDelivery: Stripe sends copies, late and in random order, to both servers, with outcomes in the second of
// their submission, and people do everything that people do. At the end each status is the truth.
func TestG1_HostileDelivery(t *testing.T) {
	const people, rounds = 40, 8
	p := newTwoReplicas(t, "MAX_RETRIES=100")
	rng := newRand(t)
	err := p.stripe.SetEndpoints(
		stripesim.Endpoint{URL: p.servers[0].Webhook, Secrets: []string{rig.WebhookSecret}},
		stripesim.Endpoint{URL: p.servers[1].Webhook, Secrets: []string{rig.WebhookSecret, "whsec_rolled"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	err = p.stripe.SetFaults(stripesim.Faults{MaxCopies: 3, ReorderWindow: 40, DelayMax: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]person, people)
	for i := range all {
		session, err := p.stripe.Create(stripesim.NewSession{ClientReferenceID: fmt.Sprintf("person-%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		all[i].id = session.ID
	}
	for range rounds {
		p.stripe.Tick()
		for i := range all {
			all[i].act(t, p, rng)
		}
	}
	p.stripe.AwaitDelivered()
	for _, one := range all {
		truth, _ := p.stripe.Session(one.id)
		for _, client := range p.clients {
			got := rig.GetStatus(t, client, one.id)
			v := got.GetVerification()
			if v.GetStripeStatus() != truth.Status || v.GetRetry().GetFailedAttempts() != one.failures {
				t.Errorf("%s: %v; want %s after %d failures", one.id, v, truth.Status, one.failures)
			}
			if truth.Redaction != "" {
				if v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED || v.GetClientReferenceId() != "" || len(got.GetHistory()) > 0 {
					t.Errorf("%s is redacted at Stripe: %v", one.id, got)
				}
				continue
			}
			rig.CheckRevisions(t, got)
			if v.GetLastError().GetStripeCode() != truth.LastErrorCode || v.GetLastVerificationReport() != truth.LastVerificationReport {
				t.Errorf("%s: %v; want %+v", one.id, v, truth)
			}
		}
	}
	t.Logf("%+v", p.stripe.Stats())
}

// act makes the next step of a person, a reviewer or an operator.
func (one *person) act(t *testing.T, p *twoReplicas, rng *rand.Rand) {
	t.Helper()
	var err error
	session, _ := p.stripe.Session(one.id)
	switch chance := rng.IntN(100); {
	case session.Redaction != "" || session.Status == "canceled" || chance < 20:
		return // nothing happens
	case chance < 25:
		if err = p.stripe.Redact(one.id); err == nil {
			err = p.stripe.FinishRedaction(one.id)
		}
	case session.Status == "verified" && chance < 60:
		return
	case session.Status == "verified":
		one.failures++ // the report of the submission that a reviewer did not like
		err = p.stripe.Override(one.id, "requires_input", "document_unverified_other")
	case chance < 30:
		err = p.stripe.Cancel(one.id)
	case chance < 35:
		err = p.stripe.Submit(one.id, stripesim.OutcomeAbandoned)
	case chance < 45:
		// Whether the retry is granted depends on the webhooks that have arrived. The truth does not depend on it.
		_, _ = rig.Retry(t, p.clients[rng.IntN(2)], &verificationv1.RetryVerificationRequest{SessionId: one.id})
	case chance < 75:
		one.failures++
		if err = p.stripe.Submit(one.id, "selfie_face_mismatch"); err == nil {
			err = p.stripe.FinishProcessing(one.id)
		}
	default:
		if err = p.stripe.Submit(one.id, stripesim.OutcomeVerified); err == nil {
			err = p.stripe.FinishProcessing(one.id)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
