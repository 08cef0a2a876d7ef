package stripesim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// eventsFor is how long Stripe lists an event: https://docs.stripe.com/api/events.
	eventsFor = 30 * 24 * time.Hour
	maxTypes  = 20
)

// eventList is a page of events, the newest first. They are as they were emitted.
type eventList struct {
	Object  string            `json:"object"`
	Data    []json.RawMessage `json:"data"`
	HasMore bool              `json:"has_more"`
	URL     string            `json:"url"`
}

type eventQuery struct {
	paging
	types     []string // patterns; none: all
	delivered *bool
}

func listEvents(s *Sim, c call) (operation, *Error) {
	q, err := parseEventList(c.params)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) { return s.listEvents(c, q) }, nil
}

// retrieveEvent shows one event of the last 30 days.
func retrieveEvent(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		e, _, ok := s.eventOf(c.realm, c.id)
		if !ok || e.ID != c.id || e.unlisted {
			return nil, errNoEvent(http.StatusNotFound, "id", c.id)
		}
		return json.RawMessage(s.replayed(e, c.own)), nil
	}, nil
}

func errNoEvent(status int, param, id string) *Error {
	return &Error{HTTPStatus: status, Type: typeInvalidRequest, Code: "resource_missing", Param: param, Message: "No such event: '" + id + "'"}
}

func parseEventList(n *node) (*eventQuery, *Error) {
	if err := n.only(append([]string{"type", "types", "delivery_success"}, pagingParams...)...); err != nil {
		return nil, err
	}
	q := &eventQuery{}
	kind, one, err := n.text("type", maxText)
	if err != nil {
		return nil, err
	}
	if q.types, err = n.list("types"); err != nil {
		return nil, err
	}
	switch {
	case one && len(q.types) > 0:
		return nil, errParam("type", "You may only specify one of these parameters: type, types.")
	case len(q.types) > maxTypes:
		return nil, errParam("types", "types can have up to 20 values.")
	case slices.ContainsFunc(q.types, func(t string) bool { return strings.Contains(t, "*") }):
		return nil, errParam("types", "types takes no wildcards: use type.")
	case one:
		q.types = []string{kind}
	}
	if q.delivered, err = n.boolean("delivery_success"); err != nil {
		return nil, err
	}
	q.paging, err = parsePaging(n)
	return q, err
}

// listEvents needs s.mu. It does not matter whether a webhook has delivered an event.
func (s *Sim) listEvents(c call, q *eventQuery) (any, *Error) {
	in := c.realm
	all := s.events[max(0, len(s.events)-s.cfg.MaxEvents):]
	oldest := s.now().Add(-eventsFor).Unix()
	from, step := len(all)-1, -1
	if q.startingAfter != "" || q.endingBefore != "" {
		param, id := "starting_after", q.startingAfter
		if q.endingBefore != "" {
			param, id, step = "ending_before", q.endingBefore, +1
		}
		e, at, ok := s.eventOf(in, id)
		cursor := at - (len(s.events) - len(all))
		if !ok || e.ID != id {
			return nil, errNoEvent(http.StatusBadRequest, param, id)
		}
		from = cursor + step
	}
	page := eventList{Object: "list", Data: []json.RawMessage{}, URL: eventsPath}
	for i := from; i >= 0 && i < len(all); i += step {
		if all[i].realm() != in || all[i].Created < oldest || all[i].unlisted || !s.matches(q, all[i]) {
			continue
		}
		if len(page.Data) == q.limit {
			page.HasMore = true
			break
		}
		page.Data = append(page.Data, s.replayed(all[i], c.own))
	}
	if step > 0 {
		slices.Reverse(page.Data)
	}
	return page, nil
}

func (e Event) realm() realm { return realm{e.Account, e.Livemode} }

// matches needs s.mu.
func (s *Sim) matches(q *eventQuery, e Event) bool {
	if q.delivered != nil && *q.delivered != (s.undelivered[e.ID] == 0) {
		return false
	}
	if len(q.types) > 0 && !slices.ContainsFunc(q.types, func(pattern string) bool { return typeMatches(pattern, e.Type) }) {
		return false
	}
	return q.within(e.Created)
}

// typeMatches compares with an exact type, or a group such as "identity.*".
func typeMatches(pattern, eventType string) bool {
	if group, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(eventType, group)
	}
	return pattern == eventType
}
