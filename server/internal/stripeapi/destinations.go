package stripeapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// DestinationsVersion is the Stripe-Version of every request to API v2. It is the first version in which Identity events exist as thin
// events for every account: https://docs.stripe.com/changelog.
const DestinationsVersion = "2026-09-30.endive"

// DestinationsPath is the path of the event destinations of API v2.
const DestinationsPath = "/v2/core/event_destinations"

const (
	destinationType = "v2.core.event_destination"
	payloadThin     = "thin"
	includeField    = "include[0]"
	includeURL      = "webhook_endpoint.url"
	includeSecret   = "webhook_endpoint.signing_secret"
	fromAccounts    = "other_accounts"
)

// NewDestination describes an event destination of API v2 to create. It gets thin events, of the types of Identity sessions by name.
type NewDestination struct {
	URL string
	// Name is the label in Stripe's Dashboard. It is required.
	Name string
	// Connect selects the events of connected accounts instead of the account's own.
	Connect bool
}

// ThinType returns the type of the thin event for a type of verification.EventTypes.
func ThinType(eventType string) string { return "v1." + eventType }

// Destinations returns all event destinations of the account in the mode of the key, as API v2 shows them: endpoints for thin and for
// snapshot events, and other transports. Its errors are those of Retrieve. ErrStripeUnknown means that the account has no API v2.
func (c *Client) Destinations(ctx context.Context) ([]Endpoint, error) {
	filter := &form.Values{}
	filter.Add(includeField, includeURL)
	filter.Add("limit", strconv.Itoa(endpointsPerPage))
	var all []Endpoint
	for page := 0; filter != nil; page++ {
		if page == endpointPages {
			c.config.Logger.Warn("stripe: the list of event destinations does not end", "read", len(all))
			return nil, verification.ErrStripeUnavailable
		}
		err := c.call(ctx, request{
			operation: OperationDestinations, method: http.MethodGet, path: DestinationsPath, version: DestinationsVersion,
			form: filter, purpose: verification.PurposeLookup,
			decode: func(a answer) (wrong string) {
				var read []Endpoint
				read, filter, wrong = c.decodeDestinations(a.body)
				all = append(all, read...)
				return wrong
			},
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// CreateDestination registers an event destination for thin events. It returns the destination and the secret that signs its webhooks:
// Stripe shows the secret only in this answer. It does not check whether another destination has the same URL. Its errors are those
// of CreateEndpoint.
func (c *Client) CreateDestination(ctx context.Context, n NewDestination) (made Endpoint, secret verification.Secret, err error) {
	fields := newDestinationObject{
		Name: n.Name, Type: endpointType, Payload: payloadThin, Include: []string{includeSecret, includeURL},
		Webhook: webhookObject{URL: n.URL},
	}
	for _, eventType := range verification.EventTypes {
		fields.Events = append(fields.Events, ThinType(eventType))
	}
	if n.Connect {
		fields.From = []string{fromAccounts}
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return Endpoint{}, "", err
	}
	err = c.callAgain(ctx, request{
		operation: OperationCreateDestination, method: http.MethodPost, path: DestinationsPath, version: DestinationsVersion,
		json: body, purpose: verification.PurposeLookup, idempotencyKey: "verification-status-destination-" + rand.Text(),
		decode: func(a answer) (wrong string) {
			made, secret, wrong = decodeNewDestination(a.body)
			return wrong
		},
	})
	if err != nil {
		return Endpoint{}, "", err
	}
	return made, secret, nil
}

// newDestinationObject is the body of a creation.
type newDestinationObject struct {
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	Payload string        `json:"event_payload"`
	Events  []string      `json:"enabled_events"`
	From    []string      `json:"events_from,omitempty"`
	Webhook webhookObject `json:"webhook_endpoint"`
	Include []string      `json:"include"`
}

type webhookObject struct {
	URL    string `json:"url,omitempty"`
	Secret string `json:"signing_secret,omitempty"`
}

// destinationObject holds the fields of Stripe's object that are used.
type destinationObject struct {
	ID         string         `json:"id"`
	Object     string         `json:"object"`
	Type       string         `json:"type"`
	Payload    string         `json:"event_payload"`
	Events     []string       `json:"enabled_events"`
	Status     string         `json:"status"`
	APIVersion string         `json:"snapshot_api_version"`
	Livemode   bool           `json:"livemode"`
	Webhook    *webhookObject `json:"webhook_endpoint"`
}

// decodeDestinations decodes a page. next has the parameters of the next page, or is nil. A destination that cannot be used does not
// hide the others.
func (c *Client) decodeDestinations(body []byte) (read []Endpoint, next *form.Values, wrong string) {
	var list struct {
		Data []json.RawMessage `json:"data"`
		Next string            `json:"next_page_url"`
	}
	if stripeevent.Unmarshal(body, &list) != nil || list.Data == nil {
		return nil, nil, "an answer that is not a list of event destinations"
	}
	for _, item := range list.Data {
		var o destinationObject
		if stripeevent.Unmarshal(item, &o) != nil || o.Object != destinationType {
			return nil, nil, "a list of other objects than event destinations"
		}
		e := o.endpoint()
		if !e.printable() {
			return nil, nil, "a list of event destinations with control characters"
		}
		if !endpointIDPattern.MatchString(e.ID) {
			c.config.Logger.Warn("stripe: an event destination of the list cannot be used: its id has another form than Stripe's")
			continue
		}
		read = append(read, e)
	}
	if list.Next == "" {
		return read, nil, ""
	}
	if next, wrong = nextPage(list.Next); wrong != "" {
		return nil, nil, wrong
	}
	return read, next, ""
}

// nextPage returns the parameters of a next_page_url. The path of the URL is not used, so that the key goes only to the list itself.
func nextPage(text string) (next *form.Values, wrong string) {
	u, err := url.Parse(text)
	if err != nil || !strings.HasSuffix(u.Path, DestinationsPath) || u.Query().Get("page") == "" {
		return nil, "a list that continues at an address that is not the list's"
	}
	query := u.Query()
	if !query.Has(includeField) {
		query.Set(includeField, includeURL)
	}
	next = &form.Values{}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			next.Add(name, value)
		}
	}
	return next, ""
}

func decodeNewDestination(body []byte) (made Endpoint, secret verification.Secret, wrong string) {
	var o destinationObject
	if stripeevent.Unmarshal(body, &o) != nil || o.Object != destinationType {
		return Endpoint{}, "", "an answer that is not an event destination"
	}
	made = o.endpoint()
	if o.Webhook == nil || !endpointIDPattern.MatchString(o.ID) || !made.printable() || !endpointSecretPattern.MatchString(o.Webhook.Secret) {
		return Endpoint{}, "", "an answer that is not an event destination with its secret"
	}
	return made, verification.Secret(o.Webhook.Secret), ""
}

func (o destinationObject) endpoint() Endpoint {
	e := Endpoint{
		ID: o.ID, EnabledEvents: o.Events, Enabled: o.Status == statusEnabled, APIVersion: o.APIVersion, Livemode: o.Livemode,
		Thin: o.Payload == payloadThin, V2: true,
	}
	if o.Webhook != nil {
		e.URL = o.Webhook.URL
	}
	if o.Type != endpointType {
		e.Transport = o.Type
	}
	return e
}
