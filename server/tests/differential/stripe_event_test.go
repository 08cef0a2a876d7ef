package differential

import (
	"context"

	"example.com/verification-status/server/internal/verification"
)

// Event implements ingest.Stripe. Only thin events need it, and no test of this package sends one.
func (s *stripe) Event(context.Context, verification.Purpose, string, string, string) (verification.Event, error) {
	return verification.Event{}, verification.ErrStripeUnknown
}
