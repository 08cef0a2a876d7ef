package stripeevent

import (
	"slices"
	"strings"

	"example.com/verification-status/server/internal/verification"
)

// envelope is an event of either style. Its own fields never fail to decode: an event of another type must not be refused for a field
// that does not matter.
type envelope struct {
	ID       text     `json:"id"`
	Object   text     `json:"object"`
	Type     text     `json:"type"`
	Created  rawValue `json:"created"`
	Livemode flag     `json:"livemode"`
	Account  rawValue `json:"account"`
	Context  rawValue `json:"context"`
	Data     rawValue `json:"data"`

	// Of thin events.
	Related  rawValue `json:"related_object"`
	Snapshot text     `json:"snapshot_event"`

	// Of Amazon EventBridge's envelope.
	BridgeType   text     `json:"detail-type"`
	BridgeDetail rawValue `json:"detail"`
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

// The fields of each style that must not be there twice. The others are those of another style.
var (
	snapshotFields = []string{"id", "object", "type", "created", "livemode", "account", "context", "data"}
	thinFields     = []string{"id", "object", "type", "created", "livemode", "account", "context", "related_object", "snapshot_event"}
)

// repeatedField returns the first field of an event that is there twice and must not be, or "".
func repeatedField(body []byte, thin bool) string {
	fields := snapshotFields
	if thin {
		fields = thinFields
	}
	at := slices.IndexFunc(fields, func(name string) bool {
		_, repeated := member(body, name)
		return repeated
	})
	if at < 0 {
		return ""
	}
	return fields[at]
}

// typesOf returns the types of an event: several if it names its type several times.
func typesOf(body []byte) (types []string) {
	eachMember(body, func(quoted, value []byte) {
		var named text
		if unquote(quoted) == "type" {
			_ = named.UnmarshalJSON(value) // a text never fails
			types = append(types, string(named))
		}
	})
	return types
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
// "context", which is the id of an account or a path that ends with one. It returns "" for the platform, if neither is set. A guess
// would be the platform too, so problem says why a value that is set names no account; otherwise it is "".
func (e *envelope) account() (account string, byContext bool, problem string) {
	if account, set := setText(e.Account); set {
		if !validID(account) || account == redactedText {
			return "", false, `"account" is not a usable id`
		}
		return account, false, ""
	}
	path, set := setText(e.Context)
	if !set {
		return "", false, ""
	}
	for _, part := range slices.Backward(strings.Split(path, "/")) {
		if strings.HasPrefix(part, "acct_") && validID(part) {
			return part, true, ""
		} else if strings.HasPrefix(part, "acct_") {
			break
		}
	}
	return "", false, `"context" names no usable account ("acct_..."), and "account" names none`
}

// setText returns the text of a value. set is false if there is none: no value, null or an empty text. The text is "" if the value is
// none.
func setText(value rawValue) (decoded string, set bool) {
	if len(value) == 0 || value[0] == 'n' || string(value) == `""` {
		return "", false
	}
	if value[0] != '"' {
		return "", true
	}
	return unquote(value), true
}
