package rpc

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
)

// The simulated Stripe refuses a parameter that Stripe's reference does not list, and shows more than it takes.
func TestG9_AReplacementIsTakenByStripeAndVerifiesTheSamePerson(t *testing.T) {
	person := stripesim.RelatedPerson{Account: "acct_9", Person: "person_1"}
	for name, test := range map[string]struct {
		session stripesim.NewSession
		shown   stripesim.ShownOptions
	}{
		"a flow with e-mail":  {stripesim.NewSession{Flow: "vf_1", ProvidedEmail: "a@example.com"}, stripesim.ShownOptions{Email: true}},
		"a flow with all":     {stripesim.NewSession{Flow: "vf_1", ProvidedPhone: "+15550100"}, stripesim.ShownOptions{Email: true, Phone: true, IDNumber: true}},
		"matching":            {stripesim.NewSession{}, stripesim.ShownOptions{MatchingDOB: "similar", MatchingName: "similar"}},
		"a person":            {stripesim.NewSession{RelatedPerson: person}, stripesim.ShownOptions{}},
		"a customer":          {stripesim.NewSession{RelatedCustomer: "cus_42"}, stripesim.ShownOptions{}},
		"a customer account":  {stripesim.NewSession{RelatedCustomerAccount: "acct_42"}, stripesim.ShownOptions{}},
		"a connected account": {stripesim.NewSession{Account: "acct_1", RelatedPerson: person}, stripesim.ShownOptions{IDNumber: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			sim := simulated(t, b, nil)
			r := b.replica(t)
			test.session.ClientReferenceID, test.session.Metadata = "person", map[string]string{"team": "a&b"}
			old, err := sim.Create(test.session)
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.ShowOptions(old.ID, test.shown); err != nil {
				t.Fatal(err)
			}
			if err := sim.Cancel(old.ID); err != nil {
				t.Fatal(err)
			}
			deliver(t, r, sim, 0)
			response := r.retry(replaceRequest(old.ID))
			successor, ok := sim.Session(response.GetVerification().GetSessionId())
			if !ok || successor.ID == old.ID || successor.ClientReferenceID != "person" || successor.Metadata["team"] != "a&b" || successor.Account != old.Account ||
				successor.Type != old.Type || successor.Flow != old.Flow || successor.RelatedPerson != old.RelatedPerson || successor.RelatedCustomer != old.RelatedCustomer ||
				successor.RelatedCustomerAccount != old.RelatedCustomerAccount || successor.ProvidedEmail != old.ProvidedEmail || successor.ProvidedPhone != old.ProvidedPhone {
				t.Errorf("the successor is %+v; want one like %+v", successor, old)
			}
		})
	}
}

// One session of a connected account, from before its first webhook to its end, as a backend of a mobile app sees it.
func TestASessionOfAnAccountWithTheSimulatedStripe(t *testing.T) {
	b := newBackend(t)
	sim := simulated(t, b, nil)
	r := b.replica(t)
	session, err := sim.Create(stripesim.NewSession{Account: "acct_1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.GetStatus(t.Context(), statusByID(session.ID))
	wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	response, err := r.GetStatus(t.Context(), statusIn("acct_1", session.ID))
	if err != nil || response.GetVerification().GetAccount() != "acct_1" {
		t.Fatalf("%v, %v; want the session of acct_1", response, err)
	}
	keys := map[string]bool{}
	for range 2 {
		request := retryIn("acct_1", session.ID)
		request.EphemeralKeyVersion = libraryVersion
		secret := r.retry(request).GetEphemeralKeySecret()
		if keys[secret] = true; !strings.HasPrefix(secret, "ek_test_") {
			t.Errorf("key %q", secret)
		}
	}
	if len(keys) != 2 {
		t.Errorf("%d keys, want one for each call", len(keys))
	}

	if err := sim.WithholdLinks(session.ID, true); err != nil {
		t.Fatal(err)
	}
	_, err = r.RetryVerification(t.Context(), keyRequest(session.ID))
	if d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED); d.info.GetMetadata()["stripe_code"] != "no_link" {
		t.Errorf("metadata %v, want stripe_code no_link", d.info.GetMetadata())
	}
	if err := sim.WithholdLinks(session.ID, false); err != nil {
		t.Fatal(err)
	}
	r.retry(retryRequest(session.ID))

	if err := sim.Delete(session.ID); err != nil {
		t.Fatal(err)
	}
	_, err = r.RetryVerification(t.Context(), retryRequest(session.ID))
	wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN)
}
