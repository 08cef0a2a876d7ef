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
	// EnabledEvents are the types it gets, in the names of snapshot events. Empty: all six. "*" means all but redacted, as at Stripe.
	EnabledEvents []string
	// Style is the form of the events that it gets.
	Style Style
	// NamesSnapshot is the share, 0 to 1, of thin events whose pushed body names its snapshot event. Stripe's documentation leaves
	// open whether the body does.
	NamesSnapshot float64
	// Account makes it an endpoint of an account itself, "acct_...": it gets the events of this account alone, and they name no
	// account. Empty: it gets the events of all accounts.
	Account string
	// Organization, "org_...", makes it an endpoint of an organization: it gets the events of accounts, and they have a context
	// and no account.
	Organization string
	// PathContext makes the context of an organization's events a path, such as org_1/acct_1, instead of an account.
	PathContext bool
}

// Style is the form of the events that an endpoint gets.
type Style int

// The styles.
const (
	// Snapshot events hold the session.
	Snapshot Style = iota
	// Thin events name the session.
	Thin
	// Both: each event comes in both forms, as where two endpoints have one URL.
	Both
	// Mixed: each event comes in one of the forms or in both, at random.
	Mixed
)

// form is an endpoint and the form in which it gets an event.
type form struct {
	to    *endpoint
	thin  bool
	names bool // the thin event names its snapshot event
}

// forms returns the webhooks of a change. The caller holds s.mu.
func (s *Sim) forms(c change) (sent []form) {
	for _, to := range s.subscribers(c.realm, c.kind) {
		style := to.Style
		if style == Mixed {
			style = Style(s.faultRNG.IntN(int(Mixed)))
		}
		if style != Thin {
			sent = append(sent, form{to: to})
		}
		if style != Snapshot {
			names := to.NamesSnapshot == 1 || to.NamesSnapshot > 0 && s.faultRNG.Float64() < to.NamesSnapshot
			sent = append(sent, form{to: to, thin: true, names: names})
		}
	}
	return sent
}

func count(sent []form) (snapshots, thins int) {
	for _, f := range sent {
		if f.thin {
			thins++
		} else {
			snapshots++
		}
	}
	return snapshots, thins
}

func (f form) lane(session string) string {
	lane := f.to.id + " " + session
	if f.thin {
		lane += " thin"
	}
	return lane
}

// endpoint is an Endpoint with its state in the API.
type endpoint struct {
	Endpoint
	id                string
	by                *realm // whose API call made it; nil: Config or SetEndpoints, for all realms
	v2                bool   // the API /v2 made it
	name              string // of /v2
	connect, disabled bool
	apiVersion        string // of its events; empty: Config.APIVersion
	description       string
	metadata          map[string]string
	created, updated  int64
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
		e := &endpoint{Endpoint: given, created: s.now().Unix(), updated: s.now().Unix()}
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
		case e.Style < Snapshot || e.Style > Mixed || !(e.NamesSnapshot >= 0 && e.NamesSnapshot <= 1):
			return fmt.Errorf("stripesim: Endpoints[%d].Style or its NamesSnapshot, 0 to 1, is wrong", i)
		case e.Account != "" && (e.Organization != "" || !accountPattern.MatchString(e.Account)):
			return fmt.Errorf("stripesim: Endpoints[%d].Account must look like acct_123, without an Organization", i)
		}
		for _, t := range e.EnabledEvents {
			if t != "*" && t != eventDeauthorized && !slices.Contains(eventTypes, t) {
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
		named := slices.Contains(e.EnabledEvents, eventType) || slices.Contains(e.EnabledEvents, thinPrefix+eventType)
		if !e.disabled && e.hears(in) && (all || named) {
			wanting = append(wanting, e)
		}
	}
	return wanting
}

// hears reports whether the endpoint gets the events of a realm. A Connect endpoint gets the events of
// connected accounts. A live Connect endpoint gets the test events too: https://docs.stripe.com/connect/webhooks.
func (e *endpoint) hears(in realm) bool {
	switch {
	case e.by == nil && e.Organization != "":
		return in.account != ""
	case e.by == nil:
		return e.Account == "" || e.Account == in.account
	case e.connect:
		return in.account != "" && (e.by.live || !in.live)
	default:
		return *e.by == in
	}
}

// contextOf returns the context of an account's events for the endpoint. An account's own endpoint gets none.
func (e *endpoint) contextOf(account string) string {
	switch {
	case e.Organization != "" && e.PathContext:
		return e.Organization + "/" + account
	case e.Organization != "" || e.by == nil && e.Account == "" || e.connect:
		return account
	default:
		return ""
	}
}

// endpointsOf returns the endpoints that the API shows to a realm: the endpoints that the realm made. The platform also sees
// the endpoints that no call made. The caller holds s.mu.
func (s *Sim) endpointsOf(in realm) []*endpoint {
	var shown []*endpoint
	for _, e := range s.endpoints {
		if e.by == nil && in.account == e.Account || e.by != nil && *e.by == in {
			shown = append(shown, e)
		}
	}
	return shown
}
