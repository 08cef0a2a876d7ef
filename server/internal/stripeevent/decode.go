package stripeevent

import (
	"errors"
	"slices"
	"strings"

	"example.com/verification-status/server/internal/verification"
)

// typePrefix begins the type of every snapshot event about an Identity session, and after verification.ThinPrefix of every thin event.
// An event of an unknown type with this prefix is usable, since the status comes from the object or from a read.
const typePrefix = "identity.verification_session."

// The types of other events that matter.
const (
	typePing         = "v2.core.event_destination.ping"
	typeDeauthorized = "account.application.deauthorized"
)

// ErrNotIdentity means that an event is not about an Identity session: acknowledge and ignore it.
var ErrNotIdentity = errors.New("not an event about an Identity verification session")

// ErrPing means that somebody pinged the event destination at Stripe: acknowledge it.
var ErrPing = errors.New("a ping of the event destination")

// DeauthorizedError means that an event says that a connected account has taken its permission from this platform.
type DeauthorizedError struct {
	// EventID and Account are not empty.
	EventID, Account string
	Livemode         bool
}

func (e *DeauthorizedError) Error() string {
	return "account " + e.Account + " has revoked its permission"
}

// MalformedError means that a body cannot be used, also if it is sent again.
type MalformedError struct {
	// Reason is a fixed sentence; it never quotes the body.
	Reason string
	// EventID is Stripe's event id, or "" if it cannot be read.
	EventID string
}

func (e *MalformedError) Error() string { return "malformed Stripe body: " + e.Reason }

// Options are options of Decode and DecodeObject.
type Options struct {
	// ReferenceKey is the metadata key whose value is the reference if client_reference_id is empty. Empty: the metadata is not
	// read.
	ReferenceKey string
}

// maxID bounds ids, in bytes.
const maxID = 255

// ValidSessionID reports whether id has the form of the contract, ^vs_[A-Za-z0-9_]{1,252}$. Such an id is safe in a path and in a
// Redis key.
func ValidSessionID(id string) bool {
	rest, ok := strings.CutPrefix(id, "vs_")
	if !ok || rest == "" || len(id) > maxID {
		return false
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return false
		}
	}
	return true
}

// validID reports whether another id is visible ASCII, so that it can be logged and sent in a header.
func validID(id string) bool {
	for i := range len(id) {
		if id[i] < '!' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// envelope is an event of either style. Its own fields never fail to decode: an event of another type must not be refused for a field
// that does not matter.
type envelope struct {
	ID       text     `json:"id"`
	Object   text     `json:"object"`
	Type     text     `json:"type"`
	Created  rawValue `json:"created"`
	Livemode flag     `json:"livemode"`
	Account  text     `json:"account"`
	Context  text     `json:"context"`
	Data     rawValue `json:"data"`

	// Of thin events.
	Related  rawValue `json:"related_object"`
	Snapshot text     `json:"snapshot_event"`

	// Of Amazon EventBridge's envelope.
	BridgeType   text     `json:"detail-type"`
	BridgeDetail rawValue `json:"detail"`
}

// Decode decodes an event of either style. It does not set Source and RecordTime. It returns ErrNotIdentity, ErrPing, a
// *DeauthorizedError or a *MalformedError.
//
// Of a thin event, Thin is set, Snapshot holds the id of the snapshot event of the same change if the event names one, and Object holds
// nothing but ID, Account, ByContext and Livemode.
func Decode(body []byte, options Options) (verification.Event, error) {
	var e envelope
	err := Unmarshal(body, &e)
	if errors.Is(err, errSyntax) || trimSpace(body)[0] != '{' {
		return verification.Event{}, &MalformedError{Reason: "not a JSON object"}
	}
	repeated := (*fieldError)(nil) // no other error is possible
	errors.As(err, &repeated)
	id := e.id()
	malformed := func(reason string) (verification.Event, error) {
		return verification.Event{}, &MalformedError{Reason: reason, EventID: id}
	}
	plain, thin := strings.CutPrefix(string(e.Type), verification.ThinPrefix)
	account, byContext, accountOK := e.account()
	switch {
	case repeated != nil && repeated.path == "type":
		return malformed(repeated.Error())
	case e.Type == "" && e.BridgeType != "" && len(e.BridgeDetail) > 0:
		id = e.bridgedID()
		return malformed("an event in the envelope of Amazon EventBridge, which this server does not take: send it as Stripe would, signed")
	case e.Type == typePing:
		return verification.Event{}, ErrPing
	case plain == typeDeauthorized && repeated == nil && id != "" && accountOK && account != "":
		return verification.Event{}, &DeauthorizedError{EventID: id, Account: account, Livemode: e.Livemode.value}
	case !strings.HasPrefix(plain, typePrefix):
		return verification.Event{}, ErrNotIdentity
	case repeated != nil:
		return malformed(repeated.Error())
	case id == "":
		return malformed(`no usable event "id"`)
	case !accountOK:
		return malformed(`"account" or "context" is not a usable id`)
	}
	event := verification.Event{ID: id, Type: bounded(string(e.Type), maxWord), Thin: thin}
	var reason string
	if thin {
		reason = e.decodeThin(&event)
	} else {
		reason = e.decodeSnapshot(&event, options)
	}
	if reason != "" {
		return malformed(reason)
	}
	event.Object.Account, event.Object.ByContext = account, byContext
	if e.Livemode.set {
		event.Object.Livemode = e.Livemode.value
	}
	return event, nil
}

// DecodeSnapshot is Decode for an answer of Stripe's API, which holds snapshot events only.
func DecodeSnapshot(body []byte, options Options) (verification.Event, error) {
	event, err := Decode(body, options)
	if err == nil && event.Thin {
		return verification.Event{}, &MalformedError{Reason: "a thin event", EventID: event.ID}
	}
	return event, err
}

// decodeSnapshot sets the time and the session of a snapshot event. It returns why it cannot, or "".
func (e *envelope) decodeSnapshot(event *verification.Event, options Options) (malformed string) {
	if e.Object != "event" {
		return `"object" is not "event"`
	}
	var created second
	_ = created.UnmarshalJSON(e.Created)
	if !created.ok {
		return `"created" is not an integer of Unix seconds`
	}
	event.Second = created.value
	var data struct {
		Object rawValue `json:"object"`
	}
	if len(e.Data) == 0 || e.Data[0] != '{' {
		return `no "data.object"`
	}
	if err := unmarshalValid(e.Data, &data); err != nil {
		return `"data": ` + err.Error()
	}
	if len(data.Object) == 0 || data.Object[0] == 'n' {
		return `no "data.object"`
	}
	var reason string
	if event.Object, reason = decodeSession(data.Object, options); reason != "" {
		return `"data.object": ` + reason
	}
	return ""
}

// decodeThin sets the time, the session and the snapshot event of a thin event. It returns why it cannot, or "".
func (e *envelope) decodeThin(event *verification.Event) (malformed string) {
	var ok bool
	if event.Second, ok = parseTime(e.Created); !ok {
		return `"created" is not a time of RFC 3339`
	}
	var related struct {
		ID text `json:"id"`
	}
	if len(e.Related) == 0 || e.Related[0] != '{' {
		return `no "related_object"`
	}
	if err := unmarshalValid(e.Related, &related); err != nil {
		return `"related_object": ` + err.Error()
	}
	if !ValidSessionID(string(related.ID)) {
		return `"related_object" has no "id" of a session ("vs_...")`
	}
	event.Object.ID = string(related.ID)
	if validID(string(e.Snapshot)) {
		event.Snapshot = string(e.Snapshot)
	}
	return ""
}

// id returns the event id, or "" if it is not usable.
func (e *envelope) id() string {
	if !validID(string(e.ID)) {
		return ""
	}
	return string(e.ID)
}

// bridgedID returns the id of the event in EventBridge's envelope, or "" if it is not usable.
func (e *envelope) bridgedID() string {
	var bridged envelope
	if e.BridgeDetail[0] != '{' || unmarshalValid(e.BridgeDetail, &bridged) != nil {
		return ""
	}
	return bridged.id()
}

// account returns the connected account of an event: "account", else the last account in "context". An organization's events have only
// "context", which is the id of an account or a path that ends with one. ok is false if the account is not usable.
func (e *envelope) account() (account string, byContext, ok bool) {
	if e.Account != "" {
		return string(e.Account), false, validID(string(e.Account))
	}
	for _, part := range slices.Backward(strings.Split(string(e.Context), "/")) {
		if strings.HasPrefix(part, "acct_") {
			return part, true, validID(part)
		}
	}
	return "", false, true
}
