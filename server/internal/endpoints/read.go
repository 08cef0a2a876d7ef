package endpoints

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// Stripe is the part of stripeapi.Client that lists endpoints.
type Stripe interface {
	Endpoints(ctx context.Context) ([]stripeapi.Endpoint, error)
	Destinations(ctx context.Context) ([]stripeapi.Endpoint, error)
}

// Read returns the endpoints of both versions of Stripe's API, each once. V2 is true for those that API v2 alone shows. If one of the
// lists cannot be read, the endpoints are those of the other one, and note is a sentence that says why. Read returns an error if
// neither can be read.
func Read(ctx context.Context, client Stripe) (all []stripeapi.Endpoint, note string, err error) {
	first, err := client.Endpoints(ctx)
	second, errSecond := client.Destinations(ctx)
	switch {
	case err != nil && errSecond != nil:
		return nil, "", fmt.Errorf("the webhook endpoints cannot be listed: %w", explain(err))
	case err != nil:
		note = fmt.Sprintf("the webhook endpoints of API v1 cannot be listed, so some can be missing here: %s", explain(err))
	case errSecond != nil:
		note = fmt.Sprintf("the event destinations of API v2 cannot be listed, so endpoints for thin events can be missing here: %s", explain(errSecond))
	}
	return merge(first, second), note, nil
}

// noListError is a verification.ErrStripeUnknown without its text, which is about sessions.
type noListError struct{}

func (noListError) Error() string {
	return "Stripe answers 404: the account does not have this part of the API, or STRIPE_API_BASE is wrong"
}

func (noListError) Unwrap() error { return verification.ErrStripeUnknown }

func explain(err error) error {
	if errors.Is(err, verification.ErrStripeUnknown) {
		return noListError{}
	}
	return err
}

// merge returns each endpoint once. API v1 can show destinations of v2, and v2 the endpoints of v1.
func merge(first, second []stripeapi.Endpoint) []stripeapi.Endpoint {
	all := slices.Clone(first)
	for _, e := range second {
		i := slices.IndexFunc(all, func(o stripeapi.Endpoint) bool { return o.ID == e.ID })
		if i < 0 {
			all = append(all, e)
			continue
		}
		e.V2 = false
		if e.URL == "" && e.Transport == "" {
			e.URL = all[i].URL
		}
		if e.APIVersion == "" {
			e.APIVersion = all[i].APIVersion
		}
		all[i] = e
	}
	return all
}

// missingEvents returns the types that the server needs and the endpoint does not get. "*" does not include redacted:
// https://docs.stripe.com/api/events/types.
func missingEvents(e stripeapi.Endpoint) []string {
	var missing []string
	for _, eventType := range verification.EventTypes {
		all := slices.Contains(e.EnabledEvents, "*") && eventType != verification.EventRedacted
		if named := nameOf(e, eventType); !all && !slices.Contains(e.EnabledEvents, named) {
			missing = append(missing, named)
		}
	}
	return missing
}

// nameOf returns the name of an event type in the endpoint's style.
func nameOf(e stripeapi.Endpoint, eventType string) string {
	if e.Thin {
		return stripeapi.ThinType(eventType)
	}
	return eventType
}

// ofIdentity reports whether the endpoint gets any event of an Identity session.
func ofIdentity(e stripeapi.Endpoint) bool {
	return len(missingEvents(e)) < len(verification.EventTypes)
}

// sameURL reports whether two URLs address the same endpoint. A slash at the end makes a different URL.
func sameURL(a, b string) bool {
	return a == b || normal(a) == normal(b)
}

func normal(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Scheme == "https" {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

// withoutQuery returns the normal form of a URL without its query.
func withoutQuery(text string) string {
	base, _, _ := strings.Cut(normal(text), "?")
	return base
}
