package client

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Ready returns nil if the service answers a call now, or else the error of that call. It makes a call each time, because a
// connection to a proxy can outlive the service behind it: a GetStatus without a subject. The service refuses that with a
// reason of its own, before it reads from Redis or Stripe. Call Ready every few seconds, not in each request.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.Status(ctx, Subject{})
	var answer *Error
	if errors.As(err, &answer) && answer.Reason == verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST {
		return nil
	}
	return err
}
