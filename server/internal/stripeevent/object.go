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

// DecodeObject decodes a session object. It does not set Account, which is not in the object. It returns a *MalformedError if the
// object cannot be used.
//
// It refuses an object without a status, since the object would erase the status that is known. It refuses a last_error or redaction
// of another type: a guess would hide a failure, or redact a record.
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

// decoded returns the core's object. If the object cannot be used, malformed says why; otherwise it is "".
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

// redaction maps Stripe's open list of values: every value but "redacted" means that the redaction is not done yet.
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

// reference returns client_reference_id if it is usable, else the value of the metadata key.
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

// replaces returns the id of the session that this one claims to replace. It returns "" for a claim that is not a session id, or is
// the session's own id.
func (o *object) replaces() string {
	// Few sessions have the key, and decoding all metadata would be a good part of the cost of an event.
	if !bytes.Contains(o.Metadata, []byte(verification.ReplacesKey)) {
		return ""
	}
	claimed := o.metadata(verification.ReplacesKey)
	if !ValidSessionID(claimed) || claimed == string(o.ID) {
		return ""
	}
	return claimed
}

// metadata returns the text under a key. Everyone with the API key can write metadata. If it cannot be decoded, metadata returns "",
// and the event is still used.
func (o *object) metadata(key string) string {
	var metadata map[string]text
	if json.Unmarshal(o.Metadata, &metadata) != nil {
		return ""
	}
	return string(metadata[key])
}

// usableReference reports whether callers can ask for a reference and it belongs to one person only. The gRPC API allows 255 bytes: a
// longer reference could be another person's after it was cut. The JSON decoder replaces what is not UTF-8 by U+FFFD, so that
// different references could become the same one.
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
