package stripeapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// probedSession is the id of no session. Stripe's ids are longer.
const probedSession = "vs_verificationStatusProbe"

// ErrNotProbed means that the API key is of an organization, which has no sessions of its own, so Stripe was not asked.
var ErrNotProbed = errors.New("the API key is of an organization, so its permission cannot be tried")

// ProbeWrite returns nil if the key has the permission to write sessions, ErrStripeUnauthorized if it does not, and ErrNotProbed if the
// key is of an organization. It asks Stripe to cancel a session that does not exist, so that it changes nothing. Other errors are
// those of Retrieve.
func (c *Client) ProbeWrite(ctx context.Context) error {
	if !c.HasPlatform() {
		return ErrNotProbed
	}
	err := c.call(ctx, request{
		operation: OperationProbe, method: http.MethodPost, path: sessionsPath + "/" + probedSession + "/cancel",
		purpose: verification.PurposeLookup, decode: func(answer) string { return "" },
	})
	if refused := (*verification.StripeRefusedError)(nil); errors.As(err, &refused) || errors.Is(err, verification.ErrStripeUnknown) {
		return nil // Stripe looked for the session, so the key may write
	}
	return err
}

// Skew returns how far this machine's clock is ahead of Stripe's, to about a second; a negative time means that it is behind. It sends
// a request without the key, since each of Stripe's answers has a Date.
func (c *Client) Skew(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(strings.TrimSuffix(c.config.Base, "/"), "/v1")+eventsPath, nil)
	if err != nil {
		return 0, verification.ErrStripeUnavailable
	}
	began := c.config.Clock()
	response, err := newHTTPClient(c.transport, c.config.Timeout).Do(request)
	if err != nil {
		return 0, verification.ErrStripeUnavailable // err quotes the URL
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	ended := c.config.Clock()
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return 0, verification.ErrStripeUnavailable
	}
	// The Date is cut to whole seconds, so that it is half a second early on average.
	middle := began.Add(ended.Sub(began) / 2)
	return middle.Sub(date.Add(time.Second / 2)).Round(time.Second), nil
}
