package stripeevent

import (
	"encoding/json"
	"errors"
	"strings"

	"example.com/verification-status/server/internal/verification"
)

// typePrefix begins the type of every event about an Identity session. An event of an unknown type with this prefix is usable, since
// the status comes from the object.
const typePrefix = "identity.verification_session."

// ErrNotIdentity means that an event is not about an Identity session: acknowledge and ignore it.
var ErrNotIdentity = errors.New("not an event about an Identity verification session")

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

// envelope is an event with its object, for one call of json.Unmarshal. Its own fields never fail to decode: an event of another type
// must not be refused for a field that does not matter.
type envelope struct {
	ID       text   `json:"id"`
	Object   text   `json:"object"`
	Type     text   `json:"type"`
	Created  second `json:"created"`
	Livemode flag   `json:"livemode"`
	Account  text   `json:"account"`
	Data     struct {
		Object *object `json:"object"`
	} `json:"data"`
}

// Decode decodes an event. It does not set Source and RecordTime. It returns ErrNotIdentity or a *MalformedError.
func Decode(body []byte, options Options) (verification.Event, error) {
	var e envelope
	err := json.Unmarshal(body, &e)
	wrong := (*json.UnmarshalTypeError)(nil) // a field of another type: json decodes the others
	if err != nil && (!errors.As(err, &wrong) || wrong.Field == "") {
		return verification.Event{}, &MalformedError{Reason: "not a JSON object"}
	}
	id := string(e.ID)
	if !validID(id) {
		id = ""
	}
	malformed := func(reason string) (verification.Event, error) {
		return verification.Event{}, &MalformedError{Reason: reason, EventID: id}
	}
	if e.Object != "event" {
		return malformed(`"object" is not "event": register the endpoint for snapshot events, not for thin ones`)
	}
	if !strings.HasPrefix(string(e.Type), typePrefix) {
		return verification.Event{}, ErrNotIdentity
	}
	switch {
	case id == "":
		return malformed(`no usable event "id"`)
	case !e.Created.ok:
		return malformed(`"created" is not an integer of Unix seconds`)
	case e.Account != "" && !validID(string(e.Account)):
		return malformed(`"account" is not a usable id`)
	}
	switch {
	case wrong != nil && strings.HasPrefix(wrong.Field, "data.object"):
		return malformed(`"data.object": not a session object`)
	case wrong != nil || e.Data.Object == nil:
		return malformed(`no "data.object"`)
	}
	session, reason := e.Data.Object.decoded(options)
	if reason != "" {
		return malformed(`"data.object": ` + reason)
	}
	session.Account = string(e.Account)
	if e.Livemode.set {
		session.Livemode = e.Livemode.value
	}
	return verification.Event{
		ID:     id,
		Type:   bounded(string(e.Type), maxWord),
		Second: e.Created.value,
		Object: session,
	}, nil
}
