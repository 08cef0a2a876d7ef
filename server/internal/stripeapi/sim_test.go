package stripeapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// TestAgainstTheSimulator takes one session through its life against something that keeps state.
func TestAgainstTheSimulator(t *testing.T) {
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{key}, ProcessingDelay: stripesim.Immediately})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	c, ctx := dial(t, server.URL, nil), context.Background()

	created, err := sim.Create(stripesim.NewSession{ClientReferenceID: "case-17", Metadata: map[string]string{"team": "a&b"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Submit(created.ID, "document_expired"); err != nil {
		t.Fatal(err)
	}
	first, err := c.Retrieve(ctx, "", created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if o := first.Object; o.Status != "requires_input" || o.Error.Code != "document_expired" || o.Report == "" || o.Created != created.Created || o.Livemode {
		t.Errorf("object %+v", o)
	}
	second, err := c.Retrieve(ctx, "", created.ID)
	if err != nil || first.Link.URL == "" || first.Link.ClientSecret == "" || first.Link == second.Link {
		t.Errorf("links are not fresh, error %v", err)
	}
	if age := first.AsOf - created.Created; age < -10 || age > 60 {
		t.Errorf("as of %d s after the creation", age)
	}
	found, err := c.FindByReference(ctx, "case-17")
	if err != nil || found.Object != first.Object {
		t.Errorf("found %+v, error %v", found.Object, err)
	}
	if _, err := c.FindByReference(ctx, "case-18"); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("error %v", err)
	}
	if _, err := c.Retrieve(ctx, "acct_1Abc", created.ID); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("in another account: error %v", err)
	}

	if err := sim.Cancel(created.ID); err != nil {
		t.Fatal(err)
	}
	newID, err := c.CreateLike(ctx, "", created.ID, "https://shop.example/back")
	if err != nil || newID == created.ID {
		t.Fatalf("new id %s, error %v", newID, err)
	}
	if again, err := c.CreateLike(ctx, "", created.ID, "https://shop.example/back"); err != nil || again != newID {
		t.Errorf("asked again: %s, error %v; want %s", again, err, newID)
	}
	var refused *verification.StripeRefusedError
	if _, err := c.CreateLike(ctx, "", created.ID, "https://elsewhere.example"); !errors.As(err, &refused) || refused.Code != "idempotency_error" {
		t.Errorf("with another return URL: error %v", err)
	}
	successor, ok := sim.Session(newID)
	if !ok || successor.Type != created.Type || successor.ClientReferenceID != "case-17" || successor.Metadata["team"] != "a&b" ||
		successor.Metadata[verification.ReplacesKey] != created.ID {
		t.Errorf("successor %+v", successor)
	}
	if read, err := c.Retrieve(ctx, "", newID); err != nil || read.Object.Replaces != created.ID {
		t.Errorf("the successor claims to replace %q, error %v; want %s", read.Object.Replaces, err, created.ID)
	}
	if newest, err := c.FindByReference(ctx, "case-17"); err != nil || newest.Object.ID != newID {
		t.Errorf("newest %s, error %v", newest.Object.ID, err)
	}
}
