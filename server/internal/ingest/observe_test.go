package ingest

import (
	"context"
	"slices"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestAmbiguousOrdersAreCounted(t *testing.T) {
	for _, test := range []struct {
		name   string
		stripe Stripe
		want   []AmbiguousResult
	}{
		{"settled by Stripe", says(passed, base+60), []AmbiguousResult{AmbiguousResolved}},
		{"Stripe is unavailable", fails(verification.ErrStripeUnavailable), []AmbiguousResult{AmbiguousUnresolved}},
		{"no key", nil, []AmbiguousResult{AmbiguousUnresolved}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, i, second := ambiguous(t, test.stripe)
			var seen []AmbiguousResult
			i.config.ObserveAmbiguous = func(r AmbiguousResult) { seen = append(seen, r) }
			apply(t, i, second)
			apply(t, i, second) // known: no longer ambiguous
			if !slices.Equal(seen, test.want) {
				t.Errorf("got %v, want %v", seen, test.want)
			}
		})
	}
}

func TestAnAmbiguousOrderThatTheStoreCannotKeepIsNotCounted(t *testing.T) {
	kept := &records{}
	i := newIngest(t, kept, nil)
	apply(t, i, event(1, 5, failed))
	i.config.ObserveAmbiguous = func(r AmbiguousResult) { t.Errorf("called with %s", r) }
	i.config.Store = unavailable{kept}
	if _, err := i.Apply(t.Context(), event(2, 5, passed)); err == nil {
		t.Error("no error")
	}
}

// unavailable is a store that decides, and then cannot write.
type unavailable struct{ *records }

func (u unavailable) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	current, _ := u.Get(ctx, id)
	if _, _, err := fn(current); err != nil {
		return current, err
	}
	return current, store.ErrUnavailable
}

func TestReadThroughsAreCounted(t *testing.T) {
	for _, test := range []struct {
		name   string
		stripe Stripe
		want   []ReadThrough
	}{
		{"found", says(passed, base), []ReadThrough{ReadThroughFound}},
		{"unknown to Stripe too, and kept as a miss", fails(verification.ErrStripeUnknown), []ReadThrough{ReadThroughUnknown}},
		{"failed", fails(verification.ErrStripeUnavailable), []ReadThrough{ReadThroughFailed, ReadThroughFailed}},
		{"no key", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept := &records{}
			i := newIngest(t, kept, test.stripe)
			var seen []ReadThrough
			i.config.ObserveReadThrough = func(r ReadThrough) { seen = append(seen, r) }
			for range 2 {
				if _, err := kept.Get(t.Context(), sessionID); err != nil { // as callers do first
					_, _ = i.ReadUnknown(t.Context(), "", sessionID)
				}
			}
			if !slices.Equal(seen, test.want) {
				t.Errorf("got %v, want %v", seen, test.want)
			}
		})
	}
}
