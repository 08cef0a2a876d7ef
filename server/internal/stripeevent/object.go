package stripeevent

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"example.com/verification-status/server/internal/verification"
)

// object is the part of a VerificationSession that the core needs.
// See https://docs.stripe.com/api/identity/verification_sessions/object.
type object struct {
	ID        text     `json:"id"`
	Livemode  flag     `json:"livemode"`
	Type      text     `json:"type"`
	Status    text     `json:"status"`
	Created   second   `json:"created"`
	Report    reportID `json:"last_verification_report"`
	Reference text     `json:"client_reference_id"`
	Metadata  rawValue `json:"metadata"`
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
	if err := Unmarshal(body, &o); err != nil {
		return verification.Object{}, &MalformedError{Reason: "not a session object: " + err.Error()}
	}
	decoded, reason := o.decoded(options)
	if reason != "" {
		return verification.Object{}, &MalformedError{Reason: reason}
	}
	return decoded, nil
}

// decodeSession is DecodeObject for bytes that are known to be one JSON value. It returns why it cannot decode them, or "".
func decodeSession(value []byte, options Options) (decoded verification.Object, malformed string) {
	var o object
	if err := unmarshalValid(value, &o); err != nil {
		return decoded, "not a session object: " + err.Error()
	}
	return o.decoded(options)
}

// decoded returns the core's object. If the object cannot be used, malformed says why; otherwise it is "".
func (o *object) decoded(options Options) (decoded verification.Object, malformed string) {
	switch {
	case !ValidSessionID(string(o.ID)):
		return decoded, `no "id" of a session ("vs_...")`
	case o.Status == "":
		return decoded, `no "status"`
	}
	reference, tooLong, repeated := o.reference(options.ReferenceKey)
	claimed, claimedTwice := o.replaces()
	if repeated || claimedTwice {
		return decoded, `a key of "metadata" is there twice`
	}
	decoded = verification.Object{
		ID:               string(o.ID),
		Livemode:         o.Livemode.value,
		Type:             bounded(string(o.Type), maxWord),
		Status:           bounded(string(o.Status), maxWord),
		Report:           string(o.Report),
		Created:          o.Created.value,
		Reference:        reference,
		ReferenceTooLong: tooLong,
		Replaces:         claimed,
		Redaction:        o.redaction(),
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

// reference returns client_reference_id if it is usable, else the value of the metadata key. tooLong is true if there is no usable
// reference but one that is too long. repeated is true if the metadata has the key twice.
func (o *object) reference(key string) (reference string, tooLong, repeated bool) {
	value := ""
	if key != "" {
		value, repeated = o.metadata(key)
	}
	for _, candidate := range []string{string(o.Reference), value} {
		if usableReference(candidate) {
			return candidate, false, repeated
		}
		tooLong = tooLong || len(candidate) > maxReference
	}
	return "", tooLong, repeated
}

// replaces returns the id of the session that this one claims to replace. It returns "" for a claim that is not a session id, or is
// the session's own id. repeated is true if the metadata has the claim twice.
func (o *object) replaces() (id string, repeated bool) {
	// Few sessions have the key. A name with an escape can be the key too.
	if !bytes.Contains(o.Metadata, []byte(verification.ReplacesKey)) && !bytes.ContainsRune(o.Metadata, '\\') {
		return "", false
	}
	claimed, repeated := o.metadata(verification.ReplacesKey)
	if !ValidSessionID(claimed) || claimed == string(o.ID) {
		return "", repeated
	}
	return claimed, repeated
}

// metadata returns the text under a key. Everyone with the API key can write metadata. If the metadata has another form, metadata returns
// "", and the event is still used.
func (o *object) metadata(key string) (value string, repeated bool) {
	found, repeated := member(o.Metadata, key)
	if found == nil {
		return "", false
	}
	var decoded text
	_ = decoded.UnmarshalJSON(found) // a text never fails
	return string(decoded), repeated
}

// usableReference reports whether callers can ask for a reference and it belongs to one person only. The gRPC API allows 255 bytes: a
// longer reference could be another person's after it was cut. The JSON decoder replaces what is not UTF-8 by U+FFFD, so that
// different references could become the same one.
func usableReference(reference string) bool {
	if reference == "" || len(reference) > maxReference {
		return false
	}
	return !strings.ContainsRune(reference, utf8.RuneError)
}
