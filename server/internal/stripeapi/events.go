package stripeapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// eventsPerPage is Stripe's limit of the events in a page.
const eventsPerPage = 100

// Events returns a page of the events of a connected account. An empty account selects the platform's own events. Stripe
// keeps events for 30 days. Events returns the errors of Retrieve. ErrStripeUnknown means that Stripe no longer has the
// event query.After, or that the account has the wrong form.
func (c *Client) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	if account != "" && !accountPattern.MatchString(account) {
		return verification.EventPage{}, verification.ErrStripeUnknown
	}
	filter := &form.Values{}
	for _, eventType := range verification.EventTypes {
		filter.Add("types[]", eventType)
	}
	filter.Add("limit", strconv.Itoa(eventsPerPage))
	if query.From > 0 {
		filter.Add("created[gte]", strconv.FormatInt(query.From, 10))
	}
	if query.Before > 0 {
		filter.Add("created[lt]", strconv.FormatInt(query.Before, 10))
	}
	if query.After != "" {
		filter.Add("starting_after", query.After)
	}
	var page verification.EventPage
	err := c.call(ctx, request{
		operation: OperationEvents, method: http.MethodGet, path: eventsPath, account: account, form: filter, purpose: query.Purpose(),
		decode: func(a answer) (wrong string) {
			page, wrong = c.eventPage(a, account)
			return wrong
		},
	})
	if err != nil {
		return verification.EventPage{}, err
	}
	return page, nil
}

// eventPage decodes an answer. An event that cannot be used does not hide the others.
func (c *Client) eventPage(a answer, account string) (page verification.EventPage, wrong string) {
	var list struct {
		Object string            `json:"object"`
		Data   []json.RawMessage `json:"data"`
		More   bool              `json:"has_more"`
	}
	if stripeevent.Unmarshal(a.body, &list) != nil || list.Object != "list" {
		return verification.EventPage{}, "an answer that is not a list"
	}
	page.AsOf, page.More = a.asOf, list.More
	for _, item := range list.Data {
		locate(&page, item)
		event, err := c.event(item, account)
		if malformed := (*stripeevent.MalformedError)(nil); errors.As(err, &malformed) {
			c.config.Logger.Warn("stripe: an event of the list cannot be used", "event_id", malformed.EventID, "reason", malformed.Reason)
			page.Malformed = append(page.Malformed, malformed.EventID)
		}
		if err != nil {
			continue // about something else
		}
		page.Events = append(page.Events, event)
	}
	if page.More && page.Last == "" {
		return verification.EventPage{}, "a list that continues, without an event to continue from"
	}
	return page, ""
}

// locate adds the id and the time of an item to the page, if they can be read.
func locate(p *verification.EventPage, item json.RawMessage) {
	var found struct {
		ID      string `json:"id"`
		Created int64  `json:"created"`
	}
	_ = stripeevent.Unmarshal(item, &found) // a field of another type leaves the other one readable
	p.Last = found.ID
	if found.Created <= 0 {
		return
	}
	if p.Oldest == 0 || found.Created < p.Oldest {
		p.Oldest = found.Created
	}
	p.Newest = max(p.Newest, found.Created)
}
