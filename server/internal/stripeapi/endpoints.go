package stripeapi

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

const (
	// endpointsPerPage is Stripe's limit. endpointPages bounds the list; an account can have 16 endpoints.
	endpointsPerPage = 100
	endpointPages    = 10
	// endpointTries is how often a creation is tried while Stripe is unavailable.
	endpointTries = 3

	endpointType  = "webhook_endpoint"
	statusEnabled = "enabled"
)

var (
	// endpointIDPattern has no prefix: Stripe's begin with we_ or ed_ today.
	endpointIDPattern     = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)
	endpointSecretPattern = regexp.MustCompile(`^whsec_[!-~]{1,249}$`)
)

// Endpoint is a webhook endpoint or another event destination that is registered at Stripe. Its texts contain no control
// characters.
type Endpoint struct {
	ID string
	// URL is empty if Transport is not, or if Stripe does not show it.
	URL string
	// Transport is Stripe's name of another way than a webhook, such as amazon_eventbridge. It is empty for a webhook.
	Transport string
	// Thin is true if the endpoint gets thin events. API v1 does not say it.
	Thin bool
	// V2 is true if API v2 shows the endpoint. V1 of the API can show it too.
	V2 bool
	// EnabledEvents holds event types, or "*" for all types but those that must be named.
	EnabledEvents []string
	Enabled       bool
	// APIVersion is the version of its events. Empty means the version of the account.
	APIVersion string
	Livemode   bool
}

// NewEndpoint describes an endpoint to create. It gets the event types of Identity sessions by name, because "*" does not
// include redacted.
type NewEndpoint struct {
	URL string
	// Connect selects the events of connected accounts instead of the account's own.
	Connect bool
	// APIVersion, such as "2023-10-16", cannot be changed later. Empty means the version of the account.
	APIVersion  string
	Description string // can be empty
}

// Endpoints returns all webhook endpoints of the account in the mode of the key, the newest first. Its errors are those of
// Retrieve.
func (c *Client) Endpoints(ctx context.Context) ([]Endpoint, error) {
	var all []Endpoint
	after, more := "", true
	for page := 0; more; page++ {
		if page == endpointPages {
			c.config.Logger.Warn("stripe: the list of webhook endpoints does not end", "read", len(all))
			return nil, verification.ErrStripeUnavailable
		}
		filter := &form.Values{}
		filter.Add("limit", strconv.Itoa(endpointsPerPage))
		if after != "" {
			filter.Add("starting_after", after)
		}
		err := c.call(ctx, request{
			operation: OperationEndpoints, method: http.MethodGet, path: endpointsPath, form: filter, purpose: verification.PurposeLookup,
			decode: func(a answer) (wrong string) {
				var read []Endpoint
				read, after, more, wrong = c.decodeEndpoints(a.body)
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

// CreateEndpoint registers an endpoint. It returns the endpoint and the secret that signs its webhooks: Stripe shows the
// secret only in this answer. It does not check whether another endpoint has the same URL. If it returns
// ErrStripeUnavailable, Stripe might have created the endpoint. Other errors are those of Retrieve.
func (c *Client) CreateEndpoint(ctx context.Context, n NewEndpoint) (made Endpoint, secret verification.Secret, err error) {
	fields := &form.Values{}
	fields.Add("url", n.URL)
	for _, eventType := range verification.EventTypes {
		fields.Add("enabled_events[]", eventType)
	}
	if n.APIVersion != "" {
		fields.Add("api_version", n.APIVersion)
	}
	if n.Description != "" {
		fields.Add("description", n.Description)
	}
	if n.Connect {
		fields.Add("connect", "true")
	}
	creation := request{
		operation: OperationCreateEndpoint, method: http.MethodPost, path: endpointsPath, form: fields, purpose: verification.PurposeLookup,
		idempotencyKey: "verification-status-endpoint-" + rand.Text(),
		decode: func(a answer) (wrong string) {
			made, secret, wrong = decodeNewEndpoint(a.body)
			return wrong
		},
	}
	if err := c.callAgain(ctx, creation); err != nil {
		return Endpoint{}, "", err
	}
	return made, secret, nil
}

// callAgain repeats a creation while Stripe is unavailable, since its answer might be lost. Under the same key Stripe repeats the
// answer, including the secret.
func (c *Client) callAgain(ctx context.Context, creation request) error {
	err := c.call(ctx, creation)
	for try := 1; errors.Is(err, verification.ErrStripeUnavailable) && try < endpointTries && pause(ctx, createPause); try++ {
		err = c.call(ctx, creation)
	}
	return err
}

// endpointObject holds the fields of Stripe's object that are used.
type endpointObject struct {
	ID         string   `json:"id"`
	Object     string   `json:"object"`
	URL        string   `json:"url"`
	Events     []string `json:"enabled_events"`
	Status     string   `json:"status"`
	APIVersion string   `json:"api_version"`
	Livemode   bool     `json:"livemode"`
	Secret     string   `json:"secret"`
}

// decodeEndpoints decodes a page. last is the id from which the list continues. An object whose id cannot be used does not hide the
// others.
func (c *Client) decodeEndpoints(body []byte) (read []Endpoint, last string, more bool, wrong string) {
	var list struct {
		Object string           `json:"object"`
		Data   []endpointObject `json:"data"`
		More   bool             `json:"has_more"`
	}
	if stripeevent.Unmarshal(body, &list) != nil || list.Object != "list" {
		return nil, "", false, "an answer that is not a list of webhook endpoints"
	}
	for _, o := range list.Data {
		last = o.ID
		e := o.endpoint()
		switch {
		case o.Object != endpointType && o.Object != destinationType:
			return nil, "", false, "a list of other objects than webhook endpoints"
		case !e.printable():
			return nil, "", false, "a list of webhook endpoints with control characters"
		case !endpointIDPattern.MatchString(o.ID):
			c.config.Logger.Warn("stripe: a webhook endpoint of the list cannot be used: its id has another form than Stripe's")
			continue
		}
		read = append(read, e)
	}
	if list.More && last == "" {
		return nil, "", false, "a list that continues, without an endpoint to continue from"
	}
	return read, last, list.More, ""
}

func decodeNewEndpoint(body []byte) (made Endpoint, secret verification.Secret, wrong string) {
	var o endpointObject
	if stripeevent.Unmarshal(body, &o) != nil {
		return Endpoint{}, "", "an answer that is not a webhook endpoint"
	}
	made = o.endpoint()
	if !endpointIDPattern.MatchString(o.ID) || o.URL == "" || !made.printable() || !endpointSecretPattern.MatchString(o.Secret) {
		return Endpoint{}, "", "an answer that is not a webhook endpoint with its secret"
	}
	return made, verification.Secret(o.Secret), ""
}

func (o endpointObject) endpoint() Endpoint {
	return Endpoint{ID: o.ID, URL: o.URL, EnabledEvents: o.Events, Enabled: o.Status == statusEnabled, APIVersion: o.APIVersion, Livemode: o.Livemode}
}

// printable returns false if the endpoint contains characters that must not be shown on a terminal.
func (e Endpoint) printable() bool {
	shown := strings.Join(append([]string{e.URL, e.Transport, e.APIVersion}, e.EnabledEvents...), "")
	return !strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) })
}
