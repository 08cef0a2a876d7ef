package stripesim

import "slices"

// The six types of event that a VerificationSession has; Stripe has no others.
const (
	eventCreated       = "identity.verification_session.created"
	eventProcessing    = "identity.verification_session.processing"
	eventVerified      = "identity.verification_session.verified"
	eventRequiresInput = "identity.verification_session.requires_input"
	eventCanceled      = "identity.verification_session.canceled"
	eventRedacted      = "identity.verification_session.redacted"
)

var eventTypes = []string{eventCreated, eventProcessing, eventVerified, eventRequiresInput, eventCanceled, eventRedacted}

// Event is an event that was emitted, whether or not a webhook has delivered it.
type Event struct {
	ID        string
	Type      string
	Created   int64  // unix seconds
	Account   string // "acct_...", empty for the platform's own
	Livemode  bool
	SessionID string
	// Status is the session's at that time.
	Status string
	// Body is the JSON of its webhooks. It can contain a link and a client_secret. Do not change it.
	Body []byte
}

// eventObject is Stripe's envelope. previous_attributes is absent: only *.updated types have it.
type eventObject struct {
	ID              string       `json:"id"`
	Object          string       `json:"object"`
	Account         string       `json:"account,omitempty"`
	APIVersion      *string      `json:"api_version"`
	Created         int64        `json:"created"`
	Data            eventData    `json:"data"`
	Livemode        bool         `json:"livemode"`
	PendingWebhooks int          `json:"pending_webhooks"`
	Request         eventRequest `json:"request"`
	Type            string       `json:"type"`
}

type eventData struct {
	Object sessionObject `json:"object"`
}

// eventRequest names the API call that made the event. Its fields are null if no API call made it.
type eventRequest struct {
	ID             *string `json:"id"`
	IdempotencyKey *string `json:"idempotency_key"`
}

// Events returns the newest MaxEvents events in the order in which they were emitted.
func (s *Sim) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events[max(0, len(s.events)-s.cfg.MaxEvents):])
}

// emit makes the event of a change, and queues its webhooks. Call it after the change. The caller holds s.mu.
//
// The snapshot has url and client_secret if the session has them. No sample of Stripe shows whether Stripe does the same. A consumer
// must not rely on their absence.
func (s *Sim) emit(sess *session, eventType string, by cause) {
	subscribed := s.subscribers(sess.realm, eventType)
	if eventType == eventRedacted && len(subscribed) == 0 {
		// Stripe does not even make this one unless an endpoint lists it by name.
		return
	}
	e := Event{ID: s.newID("evt_", 24), Type: eventType, Created: s.now().Unix(), Account: sess.realm.account,
		Livemode: sess.realm.live, SessionID: sess.id, Status: sess.status}
	object := eventObject{ID: e.ID, Object: "event", Account: e.Account, APIVersion: orNull(s.cfg.APIVersion),
		Created: e.Created, Data: eventData{Object: s.render(sess, true)}, Livemode: sess.realm.live,
		PendingWebhooks: len(subscribed),
		Request:         eventRequest{ID: orNull(by.requestID), IdempotencyKey: orNull(by.idempotencyKey)}, Type: eventType}
	e.Body = encode(object)
	if len(s.events) >= 2*s.cfg.MaxEvents {
		// Half is dropped at a time, so that each event is moved once on average.
		dropped := len(s.events) - s.cfg.MaxEvents
		for _, old := range s.events[:dropped] {
			delete(s.undelivered, old.ID)
		}
		s.events = slices.Clone(s.events[dropped:])
	}
	s.events = append(s.events, e)
	if len(subscribed) > 0 {
		s.undelivered[e.ID] = len(subscribed)
	}
	for _, to := range subscribed {
		body := e.Body
		if to.apiVersion != "" {
			object.APIVersion = &to.apiVersion
			body = encode(object)
		}
		s.dispatch(e, body, to)
	}
}
