package stripeform

import "net/http"

// operation is one operation of the reference.
type operation struct {
	method, path string // {id} stands for one segment
	// names has the parameters. [] stands for an item of a list, * for a name that the caller chooses.
	names []string
	// required parameters must be there. Of a group, separated by |, exactly one must be there.
	required []string
	// excludes has pairs of parameters that a request must not have both.
	excludes  [][2]string
	versioned bool // the request must name its Stripe-Version
}

const (
	sessions     = "/v1/identity/verification_sessions"
	endpoints    = "/v1/webhook_endpoints"
	destinations = "/v2/core/event_destinations"
)

var (
	paging  = []string{"limit", "starting_after", "ending_before"}
	created = []string{"created", "created[gt]", "created[gte]", "created[lt]", "created[lte]"}
	// details has the parameters that a creation and an update of a session share.
	details = []string{
		"type", "metadata[*]", "options[document][allowed_types][]", "options[document][require_id_number]",
		"options[document][require_live_capture]", "options[document][require_matching_selfie]",
		"provided_details[email]", "provided_details[phone]",
	}
)

// reference has the operations that the service may use. It is without expand: the service expands nothing.
var reference = []operation{
	{method: http.MethodPost, path: sessions, names: with(details, "verification_flow", "client_reference_id", "related_customer",
		"related_customer_account", "related_person[account]", "related_person[person]", "return_url"),
		required: []string{"type|verification_flow"}, excludes: [][2]string{{"verification_flow", "options"}}},
	{method: http.MethodGet, path: sessions, names: with(append(with(paging), created...), "status", "client_reference_id",
		"related_customer", "related_customer_account"), excludes: [][2]string{{"starting_after", "ending_before"}}},
	{method: http.MethodGet, path: sessions + "/{id}"},
	{method: http.MethodPost, path: sessions + "/{id}", names: details},
	{method: http.MethodPost, path: sessions + "/{id}/cancel"},
	{method: http.MethodPost, path: sessions + "/{id}/redact"},
	{method: http.MethodGet, path: "/v1/events", names: with(append(with(paging), created...), "type", "types[]", "delivery_success"),
		excludes: [][2]string{{"type", "types"}, {"starting_after", "ending_before"}}},
	{method: http.MethodGet, path: "/v1/events/{id}"},
	{method: http.MethodPost, path: "/v1/ephemeral_keys", names: []string{"verification_session"}, required: []string{"verification_session"}, versioned: true},
	{method: http.MethodGet, path: endpoints, names: paging, excludes: [][2]string{{"starting_after", "ending_before"}}},
	{method: http.MethodPost, path: endpoints, names: []string{"url", "enabled_events[]", "api_version", "connect", "description", "metadata[*]"},
		required: []string{"url", "enabled_events"}},
	{method: http.MethodGet, path: endpoints + "/{id}"},
	{method: http.MethodPost, path: endpoints + "/{id}", names: []string{"url", "enabled_events[]", "description", "disabled", "metadata[*]"}},
	{method: http.MethodDelete, path: endpoints + "/{id}"},

	{method: http.MethodGet, path: "/v2/core/events/{id}", versioned: true},
	{method: http.MethodGet, path: destinations, names: []string{"include[]", "limit", "page"}, versioned: true},
	{method: http.MethodPost, path: destinations, versioned: true, names: []string{"name", "type", "event_payload", "snapshot_api_version",
		"enabled_events[]", "events_from[]", "webhook_endpoint[url]", "include[]", "description", "metadata[*]"},
		required: []string{"name", "type", "event_payload", "enabled_events", "webhook_endpoint"}},
	{method: http.MethodGet, path: destinations + "/{id}", names: []string{"include[]"}, versioned: true},
	{method: http.MethodPost, path: destinations + "/{id}", versioned: true,
		names: []string{"name", "description", "enabled_events[]", "webhook_endpoint[url]", "include[]", "metadata[*]"}},
	{method: http.MethodPost, path: destinations + "/{id}/ping", versioned: true},
	{method: http.MethodPost, path: destinations + "/{id}/enable", versioned: true},
	{method: http.MethodPost, path: destinations + "/{id}/disable", versioned: true},
}

// values has the values that a parameter can have, where the reference lists them.
var values = map[string][]string{
	"type":                               {"document", "id_number", "webhook_endpoint"},
	"status":                             {"requires_input", "processing", "verified", "canceled"},
	"options[document][allowed_types][]": {"driving_license", "id_card", "passport"},
	"event_payload":                      {"thin", "snapshot"},
	"events_from[]":                      {"self", "other_accounts"},
	"include[]":                          {"webhook_endpoint.signing_secret", "webhook_endpoint.url"},
}

// identityEvents are the names behind identity.verification_session.
var identityEvents = []string{"created", "processing", "verified", "requires_input", "canceled", "redacted"}

// with returns a copy of a list with more names.
func with(names []string, more ...string) []string {
	return append(append([]string{}, names...), more...)
}
