package stripesim

import (
	"fmt"
	"net/url"
	"slices"
)

// maxEndpoints is Stripe's limit.
const maxEndpoints = 16

// Endpoint is a webhook endpoint. It gets the events of all accounts and of both modes, as a Connect
// endpoint does: telling them apart is the consumer's part.
type Endpoint struct {
	// URL is its absolute http or https URL; no two endpoints share one.
	URL string
	// Secrets sign each webhook, one v1 signature each; several while a secret is rolled.
	Secrets []string
	// EnabledEvents are the types it gets. Empty: all six. "*" means all but redacted, as at Stripe.
	EnabledEvents []string
}

// SetEndpoints replaces the endpoints. A webhook already queued goes to the endpoint that has its URL
// when it is sent, with that one's secrets; if there is none any more, it is given up.
func (s *Sim) SetEndpoints(endpoints ...Endpoint) error {
	if err := checkEndpoints(endpoints); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = copyEndpoints(endpoints)
	return nil
}

func checkEndpoints(endpoints []Endpoint) error {
	if len(endpoints) > maxEndpoints {
		return fmt.Errorf("stripesim: %d endpoints are too many: 16 at most", len(endpoints))
	}
	for i, e := range endpoints {
		u, err := url.Parse(e.URL)
		switch {
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
			return fmt.Errorf("stripesim: Endpoints[%d].URL must be an absolute http or https URL", i)
		case slices.ContainsFunc(endpoints[:i], func(o Endpoint) bool { return o.URL == e.URL }):
			return fmt.Errorf("stripesim: Endpoints[%d].URL is there twice", i)
		case len(e.Secrets) == 0 || slices.Contains(e.Secrets, ""):
			return fmt.Errorf("stripesim: Endpoints[%d].Secrets needs at least one secret, none of them empty", i)
		}
		for _, t := range e.EnabledEvents {
			if t != "*" && !slices.Contains(eventTypes, t) {
				return fmt.Errorf("stripesim: Endpoints[%d].EnabledEvents: %q is neither an Identity event nor *", i, t)
			}
		}
	}
	return nil
}

func copyEndpoints(endpoints []Endpoint) []Endpoint {
	out := slices.Clone(endpoints)
	for i := range out {
		out[i].Secrets = slices.Clone(out[i].Secrets)
		out[i].EnabledEvents = slices.Clone(out[i].EnabledEvents)
	}
	return out
}

// subscribers returns the URLs of the endpoints that want the type. Needs s.mu.
func (s *Sim) subscribers(eventType string) []string {
	var urls []string
	for _, e := range s.endpoints {
		all := slices.Contains(e.EnabledEvents, "*") && eventType != eventRedacted
		if all || len(e.EnabledEvents) == 0 || slices.Contains(e.EnabledEvents, eventType) {
			urls = append(urls, e.URL)
		}
	}
	return urls
}
