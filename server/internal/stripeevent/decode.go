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
const typePing = "v2.core.event_destination.ping"

// ErrNotIdentity means that an event is not about an Identity session: acknowledge and ignore it.
var ErrNotIdentity = errors.New("not an event about an Identity verification session")

// ErrPing means that somebody pinged the event destination at Stripe: acknowledge it.
var ErrPing = errors.New("a ping of the event destination")

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

// Decode decodes an event of either style. It does not set Source and RecordTime. It returns ErrNotIdentity, ErrPing, a
// *DeauthorizedError, an *AuthorizedError or a *MalformedError.
//
// Of a thin event, Thin is set, Snapshot holds the id of the snapshot event of the same change if the event names one, and Object holds
// nothing but ID, Account, ByContext and Livemode. ModeUnknown is set if the event has no Livemode.
func Decode(body []byte, options Options) (verification.Event, error) {
	var e envelope
	err := Unmarshal(body, &e)
	if errors.Is(err, errSyntax) || trimSpace(body)[0] != '{' {
		return verification.Event{}, &MalformedError{Reason: "not a JSON object"}
	}
	id := e.id()
	malformed := func(reason string) (verification.Event, error) {
		return verification.Event{}, &MalformedError{Reason: reason, EventID: id}
	}
	plain, thin := strings.CutPrefix(string(e.Type), verification.ThinPrefix)
	account, byContext, accountProblem := e.account()
	twice := ""
	if err != nil { // a repetition, since no other error is possible
		if types := typesOf(trimSpace(body)); len(types) > 1 {
			if slices.ContainsFunc(types, isSessionType) {
				return malformed(`"type" is there twice`)
			}
			return verification.Event{}, ErrNotIdentity
		}
		twice = repeatedField(trimSpace(body), thin)
	}
	switch {
	case e.Type == "" && e.BridgeType != "" && len(e.BridgeDetail) > 0:
		id = e.bridgedID()
		return malformed("an event in the envelope of Amazon EventBridge, which this server does not take: send it as Stripe would, signed")
	case e.Type == typePing:
		return verification.Event{}, ErrPing
	case (plain == typeDeauthorized || plain == typeAuthorized) && twice == "" && id != "" && account != "":
		return verification.Event{}, e.access(plain, id, account)
	case !isSessionType(string(e.Type)):
		return verification.Event{}, ErrNotIdentity
	case twice != "":
		return malformed(`"` + twice + `" is there twice`)
	case id == "":
		return malformed(`no usable event "id"`)
	case accountProblem != "":
		return malformed(accountProblem)
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
	event.ModeUnknown = thin && !e.Livemode.set
	return event, nil
}

// isSessionType reports whether an event of a type, of either style, is about an Identity session.
func isSessionType(eventType string) bool {
	return strings.HasPrefix(strings.TrimPrefix(eventType, verification.ThinPrefix), typePrefix)
}

// DecodeSnapshot is Decode for an answer of Stripe's API, which holds snapshot events only.
func DecodeSnapshot(body []byte, options Options) (verification.Event, error) {
	event, err := Decode(body, options)
	if err == nil && event.Thin {
		return verification.Event{}, &MalformedError{Reason: "a thin event", EventID: event.ID}
	}
	return event, err
}
