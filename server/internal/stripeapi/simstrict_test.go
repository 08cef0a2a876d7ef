package stripeapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// simulated runs a simulator that refuses each parameter that Stripe's reference does not list, and returns a client of it.
func simulated(t *testing.T) (*stripesim.Sim, *client) {
	t.Helper()
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{key}, ProcessingDelay: stripesim.Immediately, RedactionDelay: stripesim.Immediately})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return sim, dial(t, server.URL, nil)
}

// TestG9_EverySessionCanBeReplaced: whatever a session shows, its replacement is created, and it verifies the same person.
func TestG9_EverySessionCanBeReplaced(t *testing.T) {
	everything := stripesim.ShownOptions{Email: true, Phone: true, IDNumber: true, MatchingDOB: "similar", MatchingName: "similar"}
	for name, test := range map[string]struct {
		old   stripesim.NewSession
		shown stripesim.ShownOptions
	}{
		"a document":          {stripesim.NewSession{ClientReferenceID: "case-17", Metadata: map[string]string{"team": "a"}}, stripesim.ShownOptions{}},
		"other options":       {stripesim.NewSession{ClientReferenceID: "case-17"}, everything},
		"a flow":              {stripesim.NewSession{Flow: "vf_1"}, stripesim.ShownOptions{}},
		"a flow with options": {stripesim.NewSession{Flow: "vf_1"}, everything},
		"a person of an account": {stripesim.NewSession{RelatedPerson: stripesim.RelatedPerson{Account: "acct_1", Person: "person_1"},
			RelatedCustomer: "cus_1", RelatedCustomerAccount: "acct_c"}, everything},
		"provided details": {stripesim.NewSession{ProvidedEmail: "a@b.example", ProvidedPhone: "+15550100"}, stripesim.ShownOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			sim, c := simulated(t)
			old, err := sim.Create(test.old)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(sim.ShowOptions(old.ID, test.shown), sim.Cancel(old.ID)); err != nil {
				t.Fatal(err)
			}
			newID, err := c.CreateLike(context.Background(), "", old.ID, "")
			if err != nil {
				t.Fatalf("CreateLike: %v", err)
			}
			successor, _ := sim.Session(newID)
			if successor.Metadata[verification.ReplacesKey] != old.ID {
				t.Errorf("metadata %v does not name %s", successor.Metadata, old.ID)
			}
			delete(successor.Metadata, verification.ReplacesKey)
			own := cmpopts.IgnoreFields(stripesim.Session{}, "ID", "Created", "Status")
			if diff := cmp.Diff(old, successor, own, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the successor differs (-old +new):\n%s", diff)
			}
		})
	}
}

// TestWhatTheSimulatorHasIsRead reads an event by its id, before and after a redaction, a key of a mobile app, and a session that was
// deleted.
func TestWhatTheSimulatorHasIsRead(t *testing.T) {
	sim, c := simulated(t)
	ctx := context.Background()
	session, err := sim.Create(stripesim.NewSession{ClientReferenceID: "case-17"})
	if err != nil {
		t.Fatal(err)
	}
	created := sim.Events()[0]
	event, err := c.Event(ctx, verification.PurposeAmbiguous, "", session.ID, created.ID)
	if err != nil || event.ID != created.ID || event.Second != created.Created || event.Object.Reference != "case-17" {
		t.Errorf("event %+v, error %v", event, err)
	}
	if secret, err := c.EphemeralKey(ctx, "", session.ID, "2025-12-15.clover"); err != nil || secret == "" {
		t.Errorf("an ephemeral key: error %v", err)
	}
	if err := sim.Redact(session.ID); err != nil {
		t.Fatal(err)
	}
	if event, err = c.Event(ctx, verification.PurposeAmbiguous, "", session.ID, created.ID); err != nil || event.Object.Reference != "" {
		t.Errorf("after the redaction the event has the reference %q, error %v", event.Object.Reference, err)
	}
	if read, err := c.Retrieve(ctx, "", session.ID); err != nil || read.Object.Reference != "" || read.Object.Redaction != verification.RedactionRedacted {
		t.Errorf("after the redaction the session is %+v, error %v", read.Object, err)
	}
	if err := sim.Delete(session.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Retrieve(ctx, "", session.ID); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("a deleted session: error %v, want ErrStripeUnknown", err)
	}
}
