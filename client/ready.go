package client

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Ready returns nil if the service answers a call now, or the error that a call gets. It always asks: a connection
// can outlive the service behind it. It makes a GetStatus that names no session. The service refuses that before
// it reads anything, at Stripe neither; the refusal, with the service's own reason, is the answer. It is for one
// question every few seconds, not for one in each request.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.Status(ctx, Subject{})
	var answer *Error
	if errors.As(err, &answer) && answer.Reason == verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST {
		return nil
	}
	return err
}
