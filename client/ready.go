package client

import (
	"context"
	"errors"

	"google.golang.org/grpc/connectivity"
)

// Ready returns nil if the service can be called, or the error that a call gets. With a connection it sends
// nothing. Without one it makes a call that names no session: that connects, and the service refuses it
// before it reads anything.
func (c *Client) Ready(ctx context.Context) error {
	if c.conn.GetState() == connectivity.Ready {
		return nil
	}
	_, err := c.Status(ctx, Subject{})
	if errors.Is(err, ErrInvalidRequest) {
		return nil
	}
	return err
}
