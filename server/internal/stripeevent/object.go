package stripeevent

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"example.com/verification-status/server/internal/verification"
)

// object is the part of a VerificationSession that the core needs.
// See https://docs.stripe.com/api/identity/verification_sessions/object.
type object struct {
	ID        text            `json:"id"`
	Livemode  flag            `json:"livemode"`
	Type      text            `json:"type"`
	Status    text            `json:"status"`
	Created   second          `json:"created"`
	Report    reportID        `json:"last_verification_report"`
	Reference text            `json:"client_reference_id"`
	Metadata  json.RawMessage `json:"metadata"`
	LastError *struct {
		Code   text `json:"code"`
		Reason text `json:"reason"`
	} `json:"last_error"`
	Redaction *struct {
		Status text `json:"status"`
	} `json:"redaction"`
}

// DecodeObject reads a session object. Account is left for the caller: Stripe tells it beside the
// object. The error is a *MalformedError.
//
// Without a status an object says nothing about the person. It is refused, for applying it would
// wipe out what is known. A last_error or redaction of another shape is refused too: guessing would
// turn a failure into none, or erase a record.
func DecodeObject(body []byte, options Options) (verification.Object, error) {
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		return verification.Object{}, &MalformedError{Reason: "not a session object"}
	}
	decoded, reason := o.decoded(options)
	if reason != "" {
		return verification.Object{}, &MalformedError{Reason: reason}
	}
	return decoded, nil
}

// decoded is the core's object, or the reason why there is none; "" is none.
func (o *object) decoded(options Options) (decoded verification.Object, malformed string) {
	switch {
	case !ValidSessionID(string(o.ID)):
		return decoded, `no "id" of a session ("vs_...")`
	case o.Status == "":
		return decoded, `no "status"`
	}
	decoded = verification.Object{
		ID:        string(o.ID),
		Livemode:  o.Livemode.value,
		Type:      bounded(string(o.Type), maxWord),
		Status:    bounded(string(o.Status), maxWord),
		Report:    string(o.Report),
		Created:   o.Created.value,
		Reference: o.reference(options.ReferenceKey),
		Replaces:  o.replaces(),
		Redaction: o.redaction(),
	}
	if o.LastError != nil {
		decoded.Error = verification.Error{
			Code:   bounded(string(o.LastError.Code), maxWord),
			Reason: bounded(string(o.LastError.Reason), maxReason),
		}
	}
	return decoded, ""
}

// redaction reads Stripe's open list of values: every one but "redacted" is on its way there.
func (o *object) redaction() verification.Redaction {
	switch {
	case o.Redaction == nil || o.Redaction.Status == "":
		return verification.RedactionNone
	case o.Redaction.Status == "redacted":
		return verification.RedactionRedacted
	default:
		return verification.RedactionProcessing
	}
}

// reference is client_reference_id, or the metadata's value where that gives none.
func (o *object) reference(key string) string {
	if usableReference(string(o.Reference)) {
		return string(o.Reference)
	}
	if key == "" {
		return ""
	}
	if value := o.metadata(key); usableReference(value) {
		return value
	}
	return ""
}

// replaces is the session that this one claims to replace. The claim of another form than a session id,
// or of the session itself, is none.
func (o *object) replaces() string {
	// Few have the key, and decoding the metadata of all would be a good part of what an event costs.
	if !bytes.Contains(o.Metadata, []byte(verification.ReplacesKey)) {
		return ""
	}
	claimed := o.metadata(verification.ReplacesKey)
	if !ValidSessionID(claimed) || claimed == string(o.ID) {
		return ""
	}
	return claimed
}

// metadata is the text under a key. Metadata is free text of everyone that has the API key: one that
// cannot be read costs what it would have said, never the event.
func (o *object) metadata(key string) string {
	var metadata map[string]text
	if json.Unmarshal(o.Metadata, &metadata) != nil {
		return ""
	}
	return string(metadata[key])
}

// usableReference refuses what no caller can ask for, and what would make two people one. Over gRPC
// 255 bytes are allowed: cutting a longer one could give it to somebody else. What was not UTF-8
// comes out of the JSON decoder with U+FFFD in its place, alike for different bytes.
func usableReference(reference string) bool {
	if reference == "" || len(reference) > maxReference {
		return false
	}
	for _, r := range reference {
		if r == utf8.RuneError {
			return false
		}
	}
	return true
}
