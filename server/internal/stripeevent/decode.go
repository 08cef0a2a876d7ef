// Package stripeevent turns the bytes of a Stripe event, or of a verification session as Stripe's
// API answers it, into the core's values. It is the only decoder, so that a webhook and a read can
// never disagree about what the same bytes mean.
//
// It takes what the core needs into small structs and leaves the rest: url, client_secret and
// verified_outputs are never read, so they cannot leave it. It knows no HTTP, no signature and no
// Stripe library, whose structs reject events of other API versions.
package stripeevent

import (
	"encoding/json"
	"errors"
	"strings"

	"example.com/verification-status/server/internal/verification"
)

// typePrefix begins the type of every event about an Identity session. What follows it may be new:
// the status is the object's, so an event of a type that is not known yet can be used all the same.
const typePrefix = "identity.verification_session."

// ErrNotIdentity says that an event is none about an Identity session: acknowledge and ignore it.
var ErrNotIdentity = errors.New("not an event about an Identity verification session")

// MalformedError says that a body cannot be used, and that sending it again will not help.
type MalformedError struct {
	// Reason is a fixed sentence; it never quotes the body.
	Reason string
	// EventID is Stripe's event id, where it could be read.
	EventID string
}

func (e *MalformedError) Error() string { return "malformed Stripe body: " + e.Reason }

// Options say how to read an object.
type Options struct {
	// ReferenceKey is the metadata key whose value is the reference where client_reference_id is
	// empty. Empty: metadata is not looked at.
	ReferenceKey string
}

// maxID bounds ids, in bytes.
const maxID = 255

// ValidSessionID reports whether id has the contract's form, ^vs_[A-Za-z0-9_]{1,252}$: such an id is
// safe in a path and in a Redis key.
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

// validID is the form of any other id: visible ASCII, so that it can be logged and sent in a header.
func validID(id string) bool {
	for i := range len(id) {
		if id[i] < '!' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// envelope is an event with its object, decoded in one go. Its own fields never fail to decode: whether
// a wrong one matters depends on the type, and an event that is not ours must not be refused for it.
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

// Decode reads an event. Source and RecordTime are left for the caller. The error is ErrNotIdentity
// or a *MalformedError.
func Decode(body []byte, options Options) (verification.Event, error) {
	var e envelope
	err := json.Unmarshal(body, &e)
	wrong := (*json.UnmarshalTypeError)(nil) // of another shape than ours, where the rest is decoded all the same
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
		return malformed(`"account" is no usable id`)
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
