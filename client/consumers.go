package client

import (
	"context"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// ListConsumers returns the named consumers by name: how far each is behind, and whether a stream of it is open. While the
// service cannot be reached, it waits as Status does.
func (c *Client) ListConsumers(ctx context.Context) ([]*verificationv1.Consumer, error) {
	ctx, cancel := withDefaultTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := c.feed.ListConsumers(ctx, &verificationv1.ListConsumersRequest{})
	if err != nil {
		return nil, asError(ctx, err)
	}
	return response.GetConsumers(), nil
}

// DeleteConsumer deletes a named consumer with its position. It returns nil if the consumer does not exist. A Consume of the
// name ends with [ErrConsumerNotFound].
func (c *Client) DeleteConsumer(ctx context.Context, name string) error {
	if err := checkText("the name of the consumer", name); err != nil {
		return err
	}
	ctx, cancel := withDefaultTimeout(ctx, statusTimeout)
	defer cancel()
	if _, err := c.feed.DeleteConsumer(ctx, &verificationv1.DeleteConsumerRequest{Consumer: name}); err != nil {
		return asError(ctx, err)
	}
	return nil
}
