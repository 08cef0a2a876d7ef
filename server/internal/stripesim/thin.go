package stripesim

import (
	"encoding/json"
	"net/http"
	"time"
)

const (
	thinEventsPath = "/v2/core/events"
	eventPing      = "v2.core.event_destination.ping"
	// testEventID is the id of every event that the Dashboard sends as a test.
	testEventID = "evt_00000000000000"
)

// thinObject is a thin event: it names an object, and has nothing of it.
type thinObject struct {
	ID            string        `json:"id"`
	Object        string        `json:"object"`
	Type          string        `json:"type"`
	Livemode      bool          `json:"livemode"`
	Created       string        `json:"created"` // RFC 3339 with milliseconds
	Context       *string       `json:"context"`
	RelatedObject relatedObject `json:"related_object"`
	Reason        *thinReason   `json:"reason"`
	SnapshotEvent string        `json:"snapshot_event,omitempty"`
}

type relatedObject struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	URL  string `json:"url"`
}

// thinReason names the API call that made the event.
type thinReason struct {
	Type    string       `json:"type"`
	Request eventRequest `json:"request"`
}

// thinOf returns the thin event of a change whose snapshot event is e. The caller holds s.mu.
func (s *Sim) thinOf(c change, e Event) thinObject {
	o := s.newThin(thinPrefix+c.kind, c.realm, c.related)
	if c.by.requestID != "" {
		o.Reason = &thinReason{Type: "request", Request: eventRequest{ID: &c.by.requestID, IdempotencyKey: orNull(c.by.idempotencyKey)}}
	}
	if !e.unlisted {
		o.SnapshotEvent = e.ID
	}
	return o
}

// newThin needs s.mu.
func (s *Sim) newThin(kind string, in realm, related relatedObject) thinObject {
	prefix := "evt_test_"
	if in.live {
		prefix = "evt_"
	}
	return thinObject{ID: s.newID(prefix, 46), Object: "v2.core.event", Type: kind, Livemode: in.live, Context: orNull(in.account),
		Created: s.now().UTC().Format("2006-01-02T15:04:05.000Z"), RelatedObject: related}
}

// pushedTo returns the body for one endpoint.
func (o thinObject) pushedTo(f form) []byte {
	account := ""
	if o.Context != nil {
		account = *o.Context
	}
	o.Context = orNull(f.to.contextOf(account))
	if !f.names {
		o.SnapshotEvent = ""
	}
	return encode(o)
}

// retrieveThinEvent shows one thin event of the last 30 days, with its snapshot event.
func retrieveThinEvent(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		e, _, ok := s.eventOf(c.realm, c.id)
		if !ok || e.ThinID != c.id {
			return nil, errNoEvent(http.StatusNotFound, "id", c.id)
		}
		return json.RawMessage(e.ThinBody), nil
	}, nil
}

// Ping sends the ping of an event destination to every endpoint with a URL, whatever its style: a ping is a thin event. It returns
// an error if there is no such endpoint.
func (s *Sim) Ping(target string) error {
	return s.onURL(target, func(to *endpoint) { s.ping(to, realm{}) })
}

// ping needs s.mu.
func (s *Sim) ping(to *endpoint, in realm) thinObject {
	o := s.newThin(eventPing, realm{live: in.live}, relatedObject{to.id, "v2.core.event_destination", destinationsPath + "/" + to.id})
	s.enqueue(&delivery{eventID: o.ID, body: encode(o), endpoint: to.id, copied: true, thin: true}, 0)
	return o
}

// SendTest sends what the Dashboard sends as a test to every endpoint with a URL: an event with the id evt_00000000000000, of a
// session that the simulator need not have. kind is such as "verified".
func (s *Sim) SendTest(target, kind, session string) error {
	return s.onURL(target, func(to *endpoint) {
		body := encode(testEvent(kind, session, s.now(), orNull(s.cfg.APIVersion)))
		s.enqueue(&delivery{eventID: testEventID, body: body, endpoint: to.id, copied: true}, 0)
	})
}

func testEvent(kind, session string, at time.Time, version *string) eventObject {
	status := kind
	if kind == "created" {
		status = statusRequiresInput
	}
	object := sessionObject{ID: session, Object: "identity.verification_session", Created: at.Unix(), Status: status, Type: "document",
		Metadata: map[string]string{}, Options: struct{}{}}
	return eventObject{ID: testEventID, Object: "event", APIVersion: version, Created: at.Unix(),
		Type: "identity.verification_session." + kind, Data: eventData{Object: object}}
}

// onURL does something for each endpoint with a URL.
func (s *Sim) onURL(target string, do func(*endpoint)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, e := range s.endpoints {
		if e.URL == target && !e.disabled {
			do(e)
			found = true
		}
	}
	if !found {
		return errParam("url", "No enabled endpoint has this URL.")
	}
	return nil
}
