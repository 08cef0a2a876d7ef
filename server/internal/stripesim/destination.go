package stripesim

import (
	"slices"
	"strconv"
	"time"
)

// destinationObject is a webhook endpoint as /v2 shows it. Its fields are those of EventDestination in Stripe's libraries of 2026.
type destinationObject struct {
	ID                 string              `json:"id"`
	Object             string              `json:"object"`
	Created            string              `json:"created"`
	Description        string              `json:"description"`
	EnabledEvents      []string            `json:"enabled_events"`
	EventPayload       string              `json:"event_payload"`
	EventsFrom         []string            `json:"events_from"`
	Livemode           bool                `json:"livemode"`
	Metadata           map[string]string   `json:"metadata"`
	Name               string              `json:"name"`
	SnapshotAPIVersion *string             `json:"snapshot_api_version,omitempty"`
	Status             string              `json:"status"`
	StatusDetails      *statusDetails      `json:"status_details"`
	Type               string              `json:"type"`
	Updated            string              `json:"updated"`
	WebhookEndpoint    *destinationWebhook `json:"webhook_endpoint,omitempty"`
}

type statusDetails struct {
	Disabled disabledDetails `json:"disabled"`
}

type disabledDetails struct {
	Reason string `json:"reason"`
}

// destinationWebhook has what a request includes. The secret is in the answer to the creation and nowhere else.
type destinationWebhook struct {
	SigningSecret string `json:"signing_secret,omitempty"`
	URL           string `json:"url,omitempty"`
}

type destinationList struct {
	Data            []destinationObject `json:"data"`
	NextPageURL     *string             `json:"next_page_url"`
	PreviousPageURL *string             `json:"previous_page_url"`
}

// renderV2 shows an endpoint as a destination, with what the request includes.
func (e *endpoint) renderV2(in realm, include []string) destinationObject {
	o := destinationObject{ID: e.id, Object: "v2.core.event_destination", Created: rfc3339(e.created), Description: e.description,
		EnabledEvents: e.EnabledEvents, EventPayload: payloadSnapshot, EventsFrom: []string{fromSelf}, Livemode: in.live, Metadata: e.metadata,
		Name: e.name, Status: "enabled", Type: "webhook_endpoint", Updated: rfc3339(e.updated)}
	if e.Style == Thin {
		o.EventPayload = payloadThin
	} else {
		o.SnapshotAPIVersion = orNull(e.apiVersion)
	}
	if e.connect {
		o.EventsFrom = []string{fromOthers}
	}
	if o.Metadata == nil {
		o.Metadata = map[string]string{}
	}
	if e.disabled {
		o.Status, o.StatusDetails = "disabled", &statusDetails{disabledDetails{"user"}}
	}
	if slices.Contains(include, includeURL) {
		o.WebhookEndpoint = &destinationWebhook{URL: e.URL}
	}
	return o
}

func rfc3339(second int64) string {
	return time.Unix(second, 0).UTC().Format("2006-01-02T15:04:05.000Z")
}

func destinationsPage(limit, from int, include []string) *string {
	target := destinationsPath + "?limit=" + strconv.Itoa(limit) + "&page=" + strconv.Itoa(from)
	for i, name := range include {
		target += "&include[" + strconv.Itoa(i) + "]=" + name
	}
	return &target
}
