package stripeapi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// The reads that are left are told for each purpose, since lookups end at half of the day. Each refused read is reported with its
// purpose, and whether the day or a caller's share was spent.
func TestTheBudgetTellsWhatIsLeftAndWhatIsRefused(t *testing.T) {
	type refusal struct {
		purpose verification.Purpose
		share   bool
	}
	refused := map[refusal]int{}
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) {
		config.ReadsPerDay, config.CallerSharePercent = 20, 25
		config.Refused = func(purpose verification.Purpose, err error) {
			refused[refusal{purpose, errors.Is(err, verification.ErrStripeShare)}]++
		}
	})
	read := func(ctx context.Context, purpose verification.Purpose, times int) {
		for range times {
			_, _ = c.Read(ctx, purpose, "", id)
		}
	}
	wantLeft := func(when string, retry, catchUp, lookup int) {
		t.Helper()
		got := [3]int{c.ReadsLeftFor(verification.PurposeRetry), c.ReadsLeftFor(verification.PurposeCatchUp), c.ReadsLeftFor(verification.PurposeLookup)}
		if want := [3]int{retry, catchUp, lookup}; got != want {
			t.Errorf("%s: left for retries, catch-ups and lookups: %v, want %v", when, got, want)
		}
	}
	wantLeft("at first", 20, 16, 10)
	one := shares.WithHolder(t.Context(), shares.Named("one"))
	read(one, verification.PurposeLookup, 4) // its share of ten is two
	wantLeft("after one caller's share", 18, 14, 8)
	read(t.Context(), verification.PurposeLookup, 9)
	wantLeft("after all lookups", 10, 6, 0)
	read(t.Context(), verification.PurposeCatchUp, 7)
	wantLeft("after all catch-ups", 4, 0, 0)
	read(one, verification.PurposeRetry, 4) // its share of twenty is five, and two are taken
	wantLeft("after one caller's retries", 1, 0, 0)
	read(t.Context(), verification.PurposeRetry, 3)
	read(t.Context(), verification.PurposeAmbiguous, 2)
	wantLeft("at the end", 0, 0, 0)
	want := map[refusal]int{
		{verification.PurposeLookup, true}: 2, {verification.PurposeLookup, false}: 1, {verification.PurposeCatchUp, false}: 1,
		{verification.PurposeRetry, true}: 1, {verification.PurposeRetry, false}: 2,
	}
	if diff := cmp.Diff(want, refused, cmp.AllowUnexported(refusal{})); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

// The lookups' half is the first half of the day's reads, whichever purpose uses them.
func TestRetriesLeaveLessToLookups(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 20 })
	for taken := range 12 {
		if got, want := c.ReadsLeftFor(verification.PurposeLookup), max(0, 10-taken); got != want {
			t.Errorf("after %d retries %d lookups are left, want %d", taken, got, want)
		}
		if _, err := c.Retrieve(t.Context(), "", id); err != nil {
			t.Fatal(err)
		}
	}
}
