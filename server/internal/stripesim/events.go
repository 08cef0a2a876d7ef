package stripesim

import (
	"encoding/json"
	"slices"
)

// The six types of event that a VerificationSession has; Stripe has no others.
const (
	eventCreated       = "identity.verification_session.created"
	eventProcessing    = "identity.verification_session.processing"
	eventVerified      = "identity.verification_session.verified"
	eventRequiresInput = "identity.verification_session.requires_input"
	eventCanceled      = "identity.verification_session.canceled"
	eventRedacted      = "identity.verification_session.redacted"
)

// eventDeauthorized tells that a connected account has revoked the platform's access. Its endpoint must name it, or have "*".
const eventDeauthorized = "account.application.deauthorized"

// thinPrefix and the type of a snapshot event are the type of the thin event of the same change.
const thinPrefix = "v1."

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
	// ThinID is the id of the thin event of the same change. Empty: no endpoint gets one.
	ThinID string
	// ThinBody is the JSON of the thin event as the API shows it. Do not change it.
	ThinBody []byte

	unlisted bool // the API has no snapshot event, see Faults.NoUnsentSnapshots
}

// eventObject is Stripe's envelope. previous_attributes is absent: only *.updated types have it.
type eventObject struct {
	ID              string       `json:"id"`
	Object          string       `json:"object"`
	Account         string       `json:"account,omitempty"`
	Context         string       `json:"context,omitempty"`
	APIVersion      *string      `json:"api_version"`
	Created         int64        `json:"created"`
	Data            eventData    `json:"data"`
	Livemode        bool         `json:"livemode"`
	PendingWebhooks int          `json:"pending_webhooks"`
	Request         eventRequest `json:"request"`
	Type            string       `json:"type"`
}

type eventData struct {
	Object any `json:"object"`
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

// change is what an event is about.
type change struct {
	kind    string // the type of the snapshot event
	realm   realm
	object  any // data.object
	related relatedObject
	session *session // nil if it is no session's
	by      cause
}

// emit makes the event of a session's change, and queues its webhooks. Call it after the change. The caller holds s.mu.
//
// The snapshot has url and client_secret if the session has them. No sample of Stripe shows whether Stripe does the same. A consumer
// must not rely on their absence.
func (s *Sim) emit(sess *session, eventType string, by cause) {
	if !s.past.IsZero() && s.past.Before(s.cfg.Now().Add(-eventsFor)) {
		return // nothing would show it
	}
	if eventType == eventRedacted && len(s.subscribers(sess.realm, eventType)) == 0 {
		// Stripe does not even make this one unless an endpoint lists it by name.
		return
	}
	s.announce(change{kind: eventType, realm: sess.realm, object: s.render(sess, true), session: sess, by: by,
		related: relatedObject{sess.id, "identity.verification_session", sessionsPath + "/" + sess.id}})
}

// emitDeauthorized makes the event of a revoked access. The caller holds s.mu.
func (s *Sim) emitDeauthorized(account string) {
	const application = "ca_simulated"
	s.announce(change{kind: eventDeauthorized, realm: realm{account: account},
		object:  map[string]string{"id": application, "object": "application", "name": "Simulated platform"},
		related: relatedObject{account, "account", "/v1/accounts/" + account}})
}

// announce makes an event, and queues its webhooks in the forms that the endpoints get. The caller holds s.mu.
func (s *Sim) announce(c change) {
	var sent []form
	if s.past.IsZero() {
		sent = s.forms(c)
	}
	snapshots, thins := count(sent)
	e := Event{ID: s.newID("evt_", 24), Type: c.kind, Created: s.now().Unix(), Account: c.realm.account, Livemode: c.realm.live,
		unlisted: s.faults.NoUnsentSnapshots && snapshots == 0}
	if c.session != nil {
		e.SessionID, e.Status = c.session.id, c.session.status
	}
	object := eventObject{ID: e.ID, Object: "event", Account: e.Account, Context: e.Account, APIVersion: orNull(s.cfg.APIVersion),
		Created: e.Created, Data: eventData{Object: c.object}, Livemode: e.Livemode, PendingWebhooks: snapshots,
		Request: eventRequest{ID: orNull(c.by.requestID), IdempotencyKey: orNull(c.by.idempotencyKey)}, Type: c.kind}
	e.Body = encode(object)
	var thin thinObject
	if thins > 0 {
		thin = s.thinOf(c, e)
		e.ThinID, e.ThinBody = thin.ID, encode(thin)
	}
	s.keep(e, snapshots)
	for _, f := range sent {
		if f.thin {
			s.dispatch(e, thin.pushedTo(f), f)
		} else {
			s.dispatch(e, object.sentTo(f.to, e), f)
		}
	}
}

// sentTo returns the body for one endpoint, which can differ in the version and in the name of the account.
func (o eventObject) sentTo(to *endpoint, e Event) []byte {
	version, context := o.APIVersion, to.contextOf(e.Account)
	if to.apiVersion != "" {
		version = &to.apiVersion
	}
	account := e.Account
	if to.Organization != "" || context == "" {
		account = "" // an organization's event has context alone, and an account's own event names no account
	}
	if version == o.APIVersion && context == o.Context && account == o.Account {
		return e.Body
	}
	o.APIVersion, o.Context, o.Account = version, context, account
	return encode(o)
}

// keep adds an event to those that Events and the API show. The caller holds s.mu.
func (s *Sim) keep(e Event, snapshots int) {
	if len(s.events) >= 2*s.cfg.MaxEvents {
		// Half is dropped at a time, so that each event is moved once on average.
		dropped := len(s.events) - s.cfg.MaxEvents
		for _, old := range s.events[:dropped] {
			delete(s.undelivered, old.ID)
			delete(s.eventAt, old.ID)
			delete(s.eventAt, old.ThinID)
		}
		s.events = slices.Clone(s.events[dropped:])
		s.dropped += dropped
	}
	s.index(e, len(s.events))
	s.events = append(s.events, e)
	if snapshots > 0 {
		s.undelivered[e.ID] = snapshots
	}
}

// index notes the position of an event in s.events. The caller holds s.mu.
func (s *Sim) index(e Event, at int) {
	s.eventAt[e.ID] = s.dropped + at
	if e.ThinID != "" {
		s.eventAt[e.ThinID] = s.dropped + at
	}
}

// indexEvents notes the positions of all events again. The caller holds s.mu.
func (s *Sim) indexEvents() {
	for at, e := range s.events {
		s.index(e, at)
	}
}

// eventOf returns an event by its id or by the id of its thin event, and its position in s.events. The API shows an event for 30
// days, to the realm that it is of. The caller holds s.mu.
func (s *Sim) eventOf(in realm, id string) (Event, int, bool) {
	at, known := s.eventAt[id]
	at -= s.dropped
	if !known || at < len(s.events)-s.cfg.MaxEvents {
		return Event{}, 0, false
	}
	e := s.events[at]
	return e, at, e.realm() == in && e.Created >= s.now().Add(-eventsFor).Unix()
}

// replayed returns the body of an event as the API shows it later: without the texts that a redaction has erased since, and to an
// account's own key without the name of the account. The caller holds s.mu.
func (s *Sim) replayed(e Event, own bool) []byte {
	sess := s.sessions[e.SessionID]
	redacted := sess != nil && sess.redaction == redactionDone
	own = own && e.Account != ""
	if !redacted && !own {
		return e.Body
	}
	shown := sessionObject{}
	object := eventObject{Data: eventData{Object: &shown}}
	if sess == nil {
		object.Data.Object = nil
	}
	if err := json.Unmarshal(e.Body, &object); err != nil {
		panic("stripesim: an event cannot be read: " + err.Error()) // the simulator has written it
	}
	if redacted {
		shown.redact()
	}
	if own {
		object.Account, object.Context = "", ""
	}
	return encode(object)
}
