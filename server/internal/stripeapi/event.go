package stripeapi

import (
	"context"
	"net/http"
	"regexp"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// eventPattern matches the ids of events, which are safe in a path.
var eventPattern = regexp.MustCompile(`^evt_[A-Za-z0-9_]{1,251}$`)

// Event reads a snapshot event of a session, for a thin event that names it. account is the connected account, or empty for the
// platform. Stripe keeps events for 30 days.
//
// It returns the errors of Retrieve. ErrStripeUnknown also means that Stripe's answer is not a usable event of this session: the answer
// to another request would be the same.
func (c *Client) Event(ctx context.Context, purpose verification.Purpose, account, sessionID, id string) (verification.Event, error) {
	if !eventPattern.MatchString(id) || account != "" && !accountPattern.MatchString(account) {
		return verification.Event{}, verification.ErrStripeUnknown
	}
	var event verification.Event
	var unusable error
	err := c.call(ctx, request{
		operation: OperationEvent, method: http.MethodGet, path: eventsPath + "/" + id, account: account, purpose: purpose,
		decode: func(a answer) (wrong string) {
			event, unusable = c.event(a.body, account)
			return ""
		},
	})
	switch {
	case err != nil:
		return verification.Event{}, err
	case unusable != nil || event.ID != id || event.Object.ID != sessionID:
		c.config.Logger.Warn("stripe: the snapshot event of a thin event cannot be used", "event_id", id, "session_id", sessionID, "error", unusable)
		return verification.Event{}, verification.ErrStripeUnknown
	}
	return event, nil
}

// event decodes a snapshot event of an account. It returns the errors of stripeevent.DecodeSnapshot.
func (c *Client) event(body []byte, account string) (verification.Event, error) {
	event, err := stripeevent.DecodeSnapshot(body, stripeevent.Options{ReferenceKey: c.config.ReferenceKey})
	if err != nil {
		return verification.Event{}, err
	}
	event.Source = verification.SourceStripeAPI
	// In an answer for an account Stripe can leave out the account of the event. Without the account the session could never be read
	// again.
	if account != "" {
		event.Object.Account = account
	}
	return event, nil
}
