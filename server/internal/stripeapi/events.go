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

// eventsPerPage is how many events a page holds at most: Stripe's limit.
const eventsPerPage = 100

var eventTypes = []string{
	verification.EventCreated, verification.EventProcessing, verification.EventRequiresInput,
	verification.EventVerified, verification.EventCanceled, verification.EventRedacted,
}

// EventQuery says which events to list. The zero value: all that Stripe still has.
type EventQuery struct {
	// From and Before bound the events' `created`, in Unix seconds: From is included, Before is not.
	// 0: no bound.
	From, Before int64
	// After is the id of the event that the page follows, in the list's order: EventPage.Last. Empty:
	// the first page.
	After string
}

// EventPage is one page of Stripe's events about Identity sessions, the newest first.
type EventPage struct {
	// Events are those that can be used, with SourceStripeAPI. RecordTime is not set.
	Events []verification.Event
	// Malformed are the ids of those that cannot; empty where the id cannot be read either.
	Malformed []string
	// Oldest and Newest are the least and the greatest `created` of all events of the page, also of
	// those that are of no use, in Unix seconds; 0 for an empty page.
	Oldest, Newest int64
	// Last is the id of the page's last event.
	Last string
	// More says that the list goes on after Last.
	More bool
	// AsOf is verification.Read.AsOf: by Stripe's clock; 0 where Stripe did not tell the time.
	AsOf int64
}

// Events lists a page of the events of a connected account, or of the platform's own with an empty
// account. Stripe keeps them for 30 days. Errors are Retrieve's; ErrStripeUnknown says that Stripe no
// longer has the event query.After, or that the account has the wrong form.
func (c *Client) Events(ctx context.Context, account string, query EventQuery) (EventPage, error) {
	if account != "" && !accountPattern.MatchString(account) {
		return EventPage{}, verification.ErrStripeUnknown
	}
	filter := &form.Values{}
	for _, eventType := range eventTypes {
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
	var page EventPage
	err := c.call(ctx, request{
		operation: OperationEvents, method: http.MethodGet, path: eventsPath, account: account, form: filter, purpose: verification.PurposeCatchUp,
		decode: func(a answer) (wrong string) {
			page, wrong = c.eventPage(a, account)
			return wrong
		},
	})
	if err != nil {
		return EventPage{}, err
	}
	return page, nil
}

// eventPage decodes an answer. An event that cannot be used does not hide the others.
func (c *Client) eventPage(a answer, account string) (page EventPage, wrong string) {
	var list struct {
		Object string            `json:"object"`
		Data   []json.RawMessage `json:"data"`
		More   bool              `json:"has_more"`
	}
	if json.Unmarshal(a.body, &list) != nil || list.Object != "list" {
		return EventPage{}, "an answer that is not a list"
	}
	page.AsOf, page.More = a.asOf, list.More
	for _, item := range list.Data {
		page.place(item)
		event, err := stripeevent.Decode(item, stripeevent.Options{ReferenceKey: c.config.ReferenceKey})
		if errors.Is(err, stripeevent.ErrNotIdentity) {
			continue
		}
		if malformed := (*stripeevent.MalformedError)(nil); errors.As(err, &malformed) {
			c.config.Logger.Warn("stripe: an event of the list cannot be used", "event_id", malformed.EventID, "reason", malformed.Reason)
			page.Malformed = append(page.Malformed, malformed.EventID)
			continue
		}
		event.Source = verification.SourceStripeAPI
		// In an answer for an account Stripe can leave out the account of the event. Without the account the session
		// could never be read again.
		if account != "" {
			event.Object.Account = account
		}
		page.Events = append(page.Events, event)
	}
	if page.More && page.Last == "" {
		return EventPage{}, "a list that continues, without an event to continue from"
	}
	return page, ""
}

// place notes where an item stands in the list, as far as that can be read.
func (p *EventPage) place(item json.RawMessage) {
	var place struct {
		ID      string `json:"id"`
		Created int64  `json:"created"`
	}
	_ = json.Unmarshal(item, &place) // a field of another type leaves the other one readable
	p.Last = place.ID
	if place.Created <= 0 {
		return
	}
	if p.Oldest == 0 || place.Created < p.Oldest {
		p.Oldest = place.Created
	}
	p.Newest = max(p.Newest, place.Created)
}
