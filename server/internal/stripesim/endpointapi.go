package stripesim

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// endpointObject is a webhook endpoint as Stripe's JSON shows it; the secret is in the answer to its
// creation and nowhere else.
type endpointObject struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	APIVersion    *string           `json:"api_version"`
	Application   *string           `json:"application"`
	Created       int64             `json:"created"`
	Description   *string           `json:"description"`
	EnabledEvents []string          `json:"enabled_events"`
	Livemode      bool              `json:"livemode"`
	Metadata      map[string]string `json:"metadata"`
	Secret        string            `json:"secret,omitempty"`
	Status        string            `json:"status"`
	URL           string            `json:"url"`
}

type endpointList struct {
	Object  string           `json:"object"`
	Data    []endpointObject `json:"data"`
	HasMore bool             `json:"has_more"`
	URL     string           `json:"url"`
}

type deletedObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

var (
	apiVersionPattern = regexp.MustCompile(`^20\d\d-\d\d-\d\d(\.[a-z]+)?$`)
	otherEventPattern = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+$`)
)

// render shows an endpoint to a realm, without its secret.
func (e *endpoint) render(in realm) endpointObject {
	o := endpointObject{ID: e.id, Object: "webhook_endpoint", APIVersion: orNull(e.apiVersion), Created: e.created,
		Description: orNull(e.description), EnabledEvents: e.EnabledEvents, Livemode: in.live, Metadata: e.metadata,
		Status: "enabled", URL: e.URL}
	if e.disabled {
		o.Status = "disabled"
	}
	if o.Metadata == nil {
		o.Metadata = map[string]string{}
	}
	return o
}

// endpointParams are the parameters of a creation or an update. A field that is nil does not change.
type endpointParams struct {
	url, description, apiVersion *string
	name                         *string // of /v2
	events                       []string
	connect, disabled            *bool
	metadata                     *metadataUpdate
}

func parseEndpoint(c call) (p endpointParams, err *Error) {
	n := c.params
	for _, field := range []struct {
		name string
		into **string
	}{{"url", &p.url}, {"description", &p.description}, {"api_version", &p.apiVersion}} {
		text, ok, err := n.text(field.name, maxText)
		if err != nil {
			return p, err
		}
		if ok {
			*field.into = &text
		}
	}
	if p.url != nil && (!isWebURL(*p.url) || c.realm.live && !strings.HasPrefix(*p.url, "https:")) {
		return p, errBad("url_invalid", "url", "Invalid URL: An explicit scheme (such as https) must be provided; in live mode it must be https.")
	}
	if p.apiVersion != nil && !apiVersionPattern.MatchString(*p.apiVersion) {
		return p, errParam("api_version", "Invalid api_version: must be a version of the API such as 2023-10-16")
	}
	if p.events, err = parseEnabledEvents(n); err != nil {
		return p, err
	}
	if p.connect, err = n.boolean("connect"); err != nil {
		return p, err
	}
	if p.disabled, err = n.boolean("disabled"); err != nil {
		return p, err
	}
	p.metadata, err = parseMetadata(n)
	return p, err
}

// parseEnabledEvents accepts "*", the six types, and texts that can be a type of another product.
func parseEnabledEvents(n *node) ([]string, *Error) {
	events, err := n.list("enabled_events")
	if err != nil {
		return nil, err
	}
	for _, t := range events {
		ours := strings.HasPrefix(t, "identity.verification_session.")
		if t != "*" && !slices.Contains(eventTypes, t) && (ours || !otherEventPattern.MatchString(t)) {
			return nil, errParam("enabled_events", "Invalid enabled_events: must be * or types of events")
		}
	}
	if n.children["enabled_events"] != nil && len(events) == 0 {
		return nil, errParam("enabled_events", "Invalid enabled_events: there must be at least one")
	}
	return events, nil
}

func createEndpoint(s *Sim, c call) (operation, *Error) {
	if err := c.params.only("url", "enabled_events", "api_version", "connect", "description", "metadata"); err != nil {
		return nil, err
	}
	p, err := parseEndpoint(c)
	switch {
	case err != nil:
		return nil, err
	case p.url == nil:
		return nil, errMissing("url")
	case p.events == nil:
		return nil, errMissing("enabled_events")
	}
	return func() (any, *Error) {
		e, err := s.addEndpoint(c.realm, "we_", p)
		if err != nil {
			return nil, err
		}
		e.connect = p.connect != nil && *p.connect
		o := e.render(c.realm)
		o.Secret = e.Secrets[0]
		return o, nil
	}, nil
}

// addEndpoint makes an endpoint of a realm. The caller holds s.mu.
func (s *Sim) addEndpoint(in realm, prefix string, p endpointParams) (*endpoint, *Error) {
	if len(s.endpointsOf(in)) >= maxEndpoints {
		return nil, errBad("", "", "You have reached the maximum of 16 webhook endpoints.")
	}
	e := &endpoint{id: s.newID(prefix, 24), by: &in, created: s.now().Unix(), updated: s.now().Unix()}
	e.Secrets = []string{s.newID("whsec_", 32)}
	if err := e.change(p); err != nil {
		return nil, err
	}
	s.endpoints = append(s.endpoints, e)
	return e, nil
}

// change sets all parameters, or none if one is wrong.
func (e *endpoint) change(p endpointParams) (err *Error) {
	if p.metadata != nil {
		if e.metadata, err = p.metadata.apply(e.metadata); err != nil {
			return err
		}
	}
	for _, field := range []struct{ from, into *string }{
		{p.url, &e.URL}, {p.description, &e.description}, {p.apiVersion, &e.apiVersion}, {p.name, &e.name},
	} {
		if field.from != nil {
			*field.into = *field.from
		}
	}
	if p.events != nil {
		e.EnabledEvents = p.events
	}
	if p.disabled != nil {
		e.disabled = *p.disabled
	}
	return nil
}

func retrieveEndpoint(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return s.onEndpoint(c, func(*endpoint) *Error { return nil }), nil
}

// shownByV1 returns the endpoints that /v1 shows to a realm: those of /v2 only with Config.V1ShowsDestinations. The caller holds s.mu.
func (s *Sim) shownByV1(in realm) []*endpoint {
	return slices.DeleteFunc(s.endpointsOf(in), func(e *endpoint) bool { return e.v2 && !s.cfg.V1ShowsDestinations })
}

// updateEndpoint cannot change api_version and connect. Neither can Stripe.
func updateEndpoint(s *Sim, c call) (operation, *Error) {
	if err := c.params.only("url", "enabled_events", "description", "disabled", "metadata"); err != nil {
		return nil, err
	}
	p, err := parseEndpoint(c)
	if err != nil {
		return nil, err
	}
	return s.onEndpoint(c, func(e *endpoint) *Error { return e.change(p) }), nil
}

func deleteEndpoint(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		gone, err := s.endpointOf(c.realm, c.id)
		if err != nil {
			return nil, err
		}
		s.endpoints = slices.DeleteFunc(s.endpoints, func(e *endpoint) bool { return e == gone })
		return deletedObject{ID: gone.id, Object: "webhook_endpoint", Deleted: true}, nil
	}, nil
}

// onEndpoint finds the endpoint, changes it and shows it.
func (s *Sim) onEndpoint(c call, change func(*endpoint) *Error) operation {
	return func() (any, *Error) {
		e, err := s.endpointOf(c.realm, c.id)
		if err != nil {
			return nil, err
		}
		if err := change(e); err != nil {
			return nil, err
		}
		return e.render(c.realm), nil
	}
}

// endpointOf needs s.mu.
func (s *Sim) endpointOf(in realm, id string) (*endpoint, *Error) {
	for _, e := range s.endpointsOf(in) {
		if e.id == id {
			return e, nil
		}
	}
	return nil, &Error{HTTPStatus: http.StatusNotFound, Type: typeInvalidRequest, Code: "resource_missing",
		Param: "webhook_endpoint", Message: "No such webhook endpoint: '" + url.PathEscape(id) + "'"}
}

func listEndpoints(s *Sim, c call) (operation, *Error) {
	if err := c.params.only("limit", "starting_after", "ending_before"); err != nil {
		return nil, err
	}
	q, err := parsePaging(c.params)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) { return s.listEndpoints(c.realm, q) }, nil
}

// listEndpoints needs s.mu. The newest is the first.
func (s *Sim) listEndpoints(in realm, q paging) (any, *Error) {
	shown := s.shownByV1(in)
	from, step := len(shown)-1, -1
	for param, id := range map[string]string{"starting_after": q.startingAfter, "ending_before": q.endingBefore} {
		if id == "" {
			continue // parsePaging allows at most one of them
		}
		cursor, err := s.endpointOf(in, id)
		if err != nil {
			err.HTTPStatus, err.Param = http.StatusBadRequest, param
			return nil, err
		}
		if param == "ending_before" {
			step = +1
		}
		from = slices.Index(shown, cursor) + step
	}
	page := endpointList{Object: "list", Data: []endpointObject{}, URL: endpointsPath}
	for i := from; i >= 0 && i < len(shown); i += step {
		if len(page.Data) == q.limit {
			page.HasMore = true
			break
		}
		page.Data = append(page.Data, shown[i].render(in))
	}
	if step > 0 {
		slices.Reverse(page.Data)
	}
	return page, nil
}
