package stripeapi

import (
	"context"
	"net"
	"time"
)

// DialBy makes a client connect by dial.
func (c *Client) DialBy(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c.transport.DialContext = dial
}

// The numbers of the breaker.
const (
	BreakerFailures = breakerFailures
	BreakerPatience = breakerPatience
)

// BreakerPauses returns how long lookups are paused.
func BreakerPauses() []time.Duration { return breakerPauses }
