package stripeapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// TestLookupsLeaveHalfOfTheBudget: lookups can use half of the day's reads. The other half is for retries and for
// ambiguous orders.
func TestLookupsLeaveHalfOfTheBudget(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, c call) { always(200, encode(session(nil)))(w, c) })
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 5 })
	ctx := context.Background()
	for n := range 3 {
		if read, err := c.Read(ctx, verification.PurposeLookup, "", id); err != nil || read.Link != (verification.Link{}) {
			t.Fatalf("lookup %d: %v, %v", n, read, err)
		}
	}
	if _, err := c.Read(ctx, verification.PurposeLookup, "", id); !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("a fourth lookup: %v", err)
	}
	if _, err := c.FindByReference(ctx, "case-17"); !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("find: %v", err)
	}
	for n := range 2 {
		if _, err := c.Retrieve(ctx, "", id); err != nil {
			t.Errorf("retrieve %d: %v", n, err)
		}
	}
	if _, err := c.Retrieve(ctx, "", id); !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("beyond the budget: %v", err)
	}
}
