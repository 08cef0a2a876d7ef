package stripesim

import (
	"slices"
	"strconv"
	"strings"
)

const (
	destinationsPath = "/v2/core/event_destinations"
	// defaultDestinations is the length of a page if the request names none.
	defaultDestinations = 20
	includeURL          = "webhook_endpoint.url"
	includeSecret       = "webhook_endpoint.signing_secret"
	payloadThin         = "thin"
	payloadSnapshot     = "snapshot"
	fromSelf            = "self"
	fromOthers          = "other_accounts"
)

// parseInclude reads include, whose values must be of those that the operation knows.
func parseInclude(n *node, known ...string) ([]string, *Error) {
	include, err := n.list("include")
	if err != nil {
		return nil, err
	}
	for _, name := range include {
		if !slices.Contains(known, name) {
			return nil, errParam("include", "Invalid include: must be one of "+strings.Join(known, ", "))
		}
	}
	return include, nil
}

// parseDestination reads the parameters that a creation and an update share.
func parseDestination(c call) (p endpointParams, err *Error) {
	n := c.params
	for _, field := range []struct {
		name string
		into **string
	}{{"name", &p.name}, {"description", &p.description}} {
		text, ok, err := n.text(field.name, maxText)
		if err != nil {
			return p, err
		}
		if ok {
			*field.into = &text
		}
	}
	if p.metadata, err = parseMetadata(n); err != nil {
		return p, err
	}
	hook, err := n.hash("webhook_endpoint")
	if err != nil || hook == nil {
		return p, err
	}
	if err := hook.only("url"); err != nil {
		return p, err
	}
	target, ok, err := hook.text("url", maxText)
	switch {
	case err != nil:
		return p, err
	case !ok:
		return p, errMissing("webhook_endpoint.url")
	case !isWebURL(target) || c.realm.live && !strings.HasPrefix(target, "https:"):
		return p, errBad("url_invalid", "webhook_endpoint.url", "Invalid URL: An explicit scheme (such as https) must be provided; in live mode it must be https.")
	}
	p.url = &target
	return p, nil
}

// parseDestinationEvents accepts the names of thin events for thin payloads, and those of snapshot events for snapshots.
func parseDestinationEvents(n *node, thin bool) ([]string, *Error) {
	events, err := n.list("enabled_events")
	if err != nil {
		return nil, err
	}
	if n.children["enabled_events"] != nil && len(events) == 0 {
		return nil, errParam("enabled_events", "Invalid enabled_events: there must be at least one")
	}
	prefix := ""
	if thin {
		prefix = thinPrefix
	}
	for _, t := range events {
		ours := strings.Contains(t, "identity.verification_session.")
		known := slices.ContainsFunc(eventTypes, func(known string) bool { return t == prefix+known })
		if t != "*" && !known && (ours || !otherEventPattern.MatchString(t)) {
			return nil, errParam("enabled_events", "Invalid enabled_events: "+t+" is no event of this payload")
		}
	}
	return events, nil
}

func createDestination(s *Sim, c call) (operation, *Error) {
	n := c.params
	if err := n.only("name", "type", "event_payload", "snapshot_api_version", "enabled_events", "events_from", "webhook_endpoint",
		"include", "description", "metadata"); err != nil {
		return nil, err
	}
	for _, name := range []string{"name", "type", "event_payload", "enabled_events", "webhook_endpoint"} {
		if n.children[name] == nil {
			return nil, errMissing(name)
		}
	}
	if _, _, err := n.oneOf("type", "webhook_endpoint"); err != nil {
		return nil, err
	}
	payload, _, err := n.oneOf("event_payload", payloadThin, payloadSnapshot)
	if err != nil {
		return nil, err
	}
	version, versioned, err := n.text("snapshot_api_version", maxText)
	switch {
	case err != nil:
		return nil, err
	case versioned && payload == payloadThin:
		return nil, errParam("snapshot_api_version", "snapshot_api_version is for snapshot payloads only.")
	case versioned && !apiVersionPattern.MatchString(version):
		return nil, errParam("snapshot_api_version", "Invalid snapshot_api_version: must be a version of the API such as 2023-10-16")
	}
	include, err := parseInclude(n, includeURL, includeSecret)
	if err != nil {
		return nil, err
	}
	from, err := n.list("events_from")
	if err != nil {
		return nil, err
	}
	if n.children["events_from"] != nil && !slices.Equal(from, []string{fromSelf}) && !slices.Equal(from, []string{fromOthers}) {
		return nil, errParam("events_from", "Invalid events_from: must be one of self, other_accounts")
	}
	p, err := parseDestination(c)
	if err != nil {
		return nil, err
	}
	if p.events, err = parseDestinationEvents(n, payload == payloadThin); err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		e, err := s.addEndpoint(c.realm, "ed_test_", p)
		if err != nil {
			return nil, err
		}
		e.v2, e.connect, e.apiVersion = true, slices.Equal(from, []string{fromOthers}), version
		if payload == payloadThin {
			e.Style, e.NamesSnapshot = Thin, s.cfg.NamesSnapshot
		}
		o := e.renderV2(c.realm, include)
		if slices.Contains(include, includeSecret) {
			if o.WebhookEndpoint == nil {
				o.WebhookEndpoint = &destinationWebhook{}
			}
			o.WebhookEndpoint.SigningSecret = e.Secrets[0]
		}
		return o, nil
	}, nil
}

func retrieveDestination(s *Sim, c call) (operation, *Error) {
	return s.onDestination(c, []string{"include"}, func(*endpoint) *Error { return nil })
}

func enableDestination(s *Sim, c call) (operation, *Error) { return s.switchDestination(c, false) }

func disableDestination(s *Sim, c call) (operation, *Error) { return s.switchDestination(c, true) }

func (s *Sim) switchDestination(c call, disabled bool) (operation, *Error) {
	return s.onDestination(c, nil, func(e *endpoint) *Error {
		e.disabled, e.updated = disabled, s.now().Unix()
		return nil
	})
}

func updateDestination(s *Sim, c call) (operation, *Error) {
	p, err := parseDestination(c)
	if err != nil {
		return nil, err
	}
	return s.onDestination(c, []string{"name", "description", "enabled_events", "webhook_endpoint", "metadata", "include"}, func(e *endpoint) *Error {
		if p.events, err = parseDestinationEvents(c.params, e.Style == Thin); err != nil {
			return err
		}
		e.updated = s.now().Unix()
		return e.change(p)
	})
}

// onDestination finds the destination, changes it and shows it.
func (s *Sim) onDestination(c call, names []string, change func(*endpoint) *Error) (operation, *Error) {
	if err := c.params.only(names...); err != nil {
		return nil, err
	}
	include, err := parseInclude(c.params, includeURL)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		e, err := s.endpointOf(c.realm, c.id)
		if err != nil {
			return nil, err
		}
		if err := change(e); err != nil {
			return nil, err
		}
		return e.renderV2(c.realm, include), nil
	}, nil
}

// pingDestination sends a ping, and answers with it.
func pingDestination(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		e, err := s.endpointOf(c.realm, c.id)
		if err != nil {
			return nil, err
		}
		if e.disabled {
			return nil, errStatus("You cannot ping an event destination that is disabled.")
		}
		return s.ping(e, c.realm), nil
	}, nil
}

func deleteDestination(s *Sim, c call) (operation, *Error) {
	remove, err := deleteEndpoint(s, c)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		if _, err := remove(); err != nil {
			return nil, err
		}
		return map[string]string{"id": c.id, "object": "v2.core.event_destination"}, nil
	}, nil
}

// listDestinations shows the endpoints of both APIs, the newest first.
func listDestinations(s *Sim, c call) (operation, *Error) {
	if err := c.params.only("include", "limit", "page"); err != nil {
		return nil, err
	}
	include, err := parseInclude(c.params, includeURL)
	if err != nil {
		return nil, err
	}
	limit, limited, err := c.params.integer("limit")
	switch {
	case err != nil:
		return nil, err
	case !limited:
		limit = defaultDestinations
	case limit < 1 || limit > maxListLimit:
		return nil, errParam("limit", "This value must be from 1 to "+strconv.Itoa(maxListLimit)+".")
	}
	from, _, err := c.params.integer("page")
	if err != nil || from < 0 {
		return nil, errParam("page", "This is no page of this list.")
	}
	return func() (any, *Error) {
		shown := slices.Clone(s.endpointsOf(c.realm))
		slices.Reverse(shown)
		page := destinationList{Data: []destinationObject{}}
		for _, e := range shown[min(int(from), len(shown)):min(int(from+limit), len(shown))] {
			page.Data = append(page.Data, e.renderV2(c.realm, include))
		}
		if next := int(from + limit); next < len(shown) {
			page.NextPageURL = destinationsPage(int(limit), next, include)
		}
		return page, nil
	}, nil
}
