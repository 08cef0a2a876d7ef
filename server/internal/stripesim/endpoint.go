package stripesim

import (
	"fmt"
	"net/url"
	"slices"
)

// maxEndpoints is Stripe's limit for each account and mode.
const maxEndpoints = 16

// Endpoint is a webhook endpoint for Config and SetEndpoints. It gets the events of all accounts and of both modes. An endpoint that
// is created by the API gets what Stripe would send to it.
type Endpoint struct {
	// URL is its absolute http or https URL; no two endpoints share one.
	URL string
	// Secrets sign each webhook, with one v1 signature each. There are several while a secret is rolled.
	Secrets []string
	// EnabledEvents are the types it gets. Empty: all six. "*" means all but redacted, as at Stripe.
	EnabledEvents []string
}

// endpoint is an Endpoint with its state in the API.
type endpoint struct {
	Endpoint
	id                string
	by                *realm // whose API call made it; nil: Config or SetEndpoints, for all realms
	connect, disabled bool
	apiVersion        string // of its events; empty: Config.APIVersion
	description       string
	metadata          map[string]string
	created           int64
}

// SetEndpoints replaces the endpoints of Config and of the last SetEndpoints. Endpoints that were created by the API stay. A queued
// webhook goes to the endpoint that has its URL at that time, with the secrets of that endpoint. If there is none, it is given up.
func (s *Sim) SetEndpoints(endpoints ...Endpoint) error {
	if err := checkEndpoints(endpoints); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setEndpoints(endpoints)
	return nil
}

// setEndpoints needs s.mu. An endpoint with a known URL keeps its id, and so its queued webhooks.
func (s *Sim) setEndpoints(endpoints []Endpoint) {
	old := s.endpoints
	s.endpoints = slices.DeleteFunc(slices.Clone(old), func(e *endpoint) bool { return e.by == nil })
	for _, given := range endpoints {
		e := &endpoint{Endpoint: given, created: s.now().Unix()}
		e.Secrets, e.EnabledEvents = slices.Clone(given.Secrets), slices.Clone(given.EnabledEvents)
		if len(e.EnabledEvents) == 0 {
			e.EnabledEvents = eventTypes
		}
		if i := slices.IndexFunc(old, func(o *endpoint) bool { return o.by == nil && o.URL == e.URL }); i >= 0 {
			e.id = old[i].id
		} else {
			e.id = s.newID("we_", 24)
		}
		s.endpoints = append(s.endpoints, e)
	}
}

func checkEndpoints(endpoints []Endpoint) error {
	if len(endpoints) > maxEndpoints {
		return fmt.Errorf("stripesim: %d endpoints are too many: 16 at most", len(endpoints))
	}
	for i, e := range endpoints {
		switch {
		case !isWebURL(e.URL):
			return fmt.Errorf("stripesim: Endpoints[%d].URL must be an absolute http or https URL", i)
		case slices.ContainsFunc(endpoints[:i], func(o Endpoint) bool { return o.URL == e.URL }):
			return fmt.Errorf("stripesim: Endpoints[%d].URL is a duplicate", i)
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

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// subscribers returns the endpoints that get a type of a realm's events. The caller holds s.mu.
func (s *Sim) subscribers(in realm, eventType string) []*endpoint {
	var wanting []*endpoint
	for _, e := range s.endpoints {
		all := slices.Contains(e.EnabledEvents, "*") && eventType != eventRedacted
		if !e.disabled && e.hears(in) && (all || slices.Contains(e.EnabledEvents, eventType)) {
			wanting = append(wanting, e)
		}
	}
	return wanting
}

// hears reports whether the endpoint gets the events of a realm. A Connect endpoint gets the events of
// connected accounts. A live Connect endpoint gets the test events too: https://docs.stripe.com/connect/webhooks.
func (e *endpoint) hears(in realm) bool {
	switch {
	case e.by == nil:
		return true
	case e.connect:
		return in.account != "" && (e.by.live || !in.live)
	default:
		return *e.by == in
	}
}

// endpointsOf returns the endpoints that the API shows to a realm: the endpoints that the realm made. The platform also sees
// the endpoints that no call made. The caller holds s.mu.
func (s *Sim) endpointsOf(in realm) []*endpoint {
	var shown []*endpoint
	for _, e := range s.endpoints {
		if e.by == nil && in.account == "" || e.by != nil && *e.by == in {
			shown = append(shown, e)
		}
	}
	return shown
}
