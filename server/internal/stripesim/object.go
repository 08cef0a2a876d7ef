package stripesim

import (
	"bytes"
	"encoding/json"
)

// sessionObject is a VerificationSession in Stripe's JSON. It has verified_outputs only if the request expands them, as at
// Stripe. Events never have them.
type sessionObject struct {
	ID                     string            `json:"id"`
	Object                 string            `json:"object"`
	ClientReferenceID      *string           `json:"client_reference_id"`
	ClientSecret           *string           `json:"client_secret"`
	Created                int64             `json:"created"`
	LastError              *lastError        `json:"last_error"`
	LastVerificationReport *string           `json:"last_verification_report"`
	Livemode               bool              `json:"livemode"`
	Metadata               map[string]string `json:"metadata"`
	Options                any               `json:"options"`
	ProvidedDetails        *providedDetails  `json:"provided_details"`
	Redaction              *redactionObject  `json:"redaction"`
	RelatedCustomer        *string           `json:"related_customer"`
	RelatedCustomerAccount *string           `json:"related_customer_account"`
	RelatedPerson          *relatedPerson    `json:"related_person,omitempty"`
	Status                 string            `json:"status"`
	Type                   string            `json:"type"`
	URL                    *string           `json:"url"`
	VerificationFlow       string            `json:"verification_flow,omitempty"`
	VerifiedOutputs        *outputsObject    `json:"verified_outputs,omitempty"`
}

type redactionObject struct {
	Status string `json:"status"`
}

type relatedPerson struct {
	Account string `json:"account"`
	Person  string `json:"person"`
}

// sessionOptions are the options that a session shows. A creation takes document alone.
type sessionOptions struct {
	Document *documentOptions `json:"document,omitempty"`
	Email    *contactOptions  `json:"email,omitempty"`
	IDNumber *struct{}        `json:"id_number,omitempty"`
	Matching *matchingOptions `json:"matching,omitempty"`
	Phone    *contactOptions  `json:"phone,omitempty"`
}

type matchingOptions struct {
	DOB  string `json:"dob,omitempty"`
	Name string `json:"name,omitempty"`
}

type documentOptions struct {
	AllowedTypes          []string `json:"allowed_types,omitempty"`
	RequireIDNumber       *bool    `json:"require_id_number,omitempty"`
	RequireLiveCapture    *bool    `json:"require_live_capture,omitempty"`
	RequireMatchingSelfie *bool    `json:"require_matching_selfie,omitempty"`
}

type contactOptions struct {
	RequireVerification *bool `json:"require_verification,omitempty"`
}

type providedDetails struct {
	Email *string `json:"email"`
	Phone *string `json:"phone"`
}

// render returns the current state of a session. With links, a session that accepts input gets a new url and client_secret. Otherwise
// both are null. The caller holds s.mu.
func (s *Sim) render(sess *session, links bool) sessionObject {
	o := sessionObject{ID: sess.id, Object: "identity.verification_session", ClientReferenceID: orNull(sess.reference),
		Created: sess.created, LastError: sess.lastError, LastVerificationReport: orNull(sess.report),
		Livemode: sess.realm.live, Metadata: sess.metadata, ProvidedDetails: sess.details,
		RelatedCustomer: orNull(sess.relatedCustomer), RelatedCustomerAccount: orNull(sess.relatedAccount), RelatedPerson: sess.relatedPerson,
		Status: sess.status, Type: sess.kind, VerificationFlow: sess.flow}
	if o.Metadata == nil {
		o.Metadata = map[string]string{}
	}
	switch {
	case sess.options != nil:
		o.Options = sess.options
	case sess.kind == "verification_flow":
		o.Options = struct{}{}
	default:
		o.Options = map[string]struct{}{sess.kind: {}}
	}
	if sess.redaction != "" {
		o.Redaction = &redactionObject{Status: sess.redaction}
	}
	if sess.redaction == redactionDone {
		o.redact()
	}
	if links && sess.status == statusRequiresInput && !sess.linkless {
		link, secret := s.newLink(sess), s.newID(sess.id+"_secret_", 40)
		o.URL, o.ClientSecret = &link, &secret
	}
	return o
}

// redactedText is what a redaction leaves of a text.
const redactedText = "[redacted]"

// redact replaces the texts that a redaction erases. It changes no value that other objects share.
func (o *sessionObject) redact() {
	text := redactedText
	if o.ClientReferenceID != nil {
		o.ClientReferenceID = &text
	}
	if o.LastError != nil {
		o.LastError = &lastError{Code: o.LastError.Code, Reason: text}
	}
	if d := o.ProvidedDetails; d != nil {
		o.ProvidedDetails = &providedDetails{}
		if d.Email != nil {
			o.ProvidedDetails.Email = &text
		}
		if d.Phone != nil {
			o.ProvidedDetails.Phone = &text
		}
	}
	metadata := make(map[string]string, len(o.Metadata))
	for key := range o.Metadata {
		metadata[key] = text
	}
	o.Metadata = metadata
	o.URL, o.ClientSecret = nil, nil
}

func orEmpty(v *string) string {
	if v == nil {
		return ""
	}
	return *v
}

func orNull(v string) *string {
	if v == "" {
		return nil
	}
	return &v
}

// encode returns indented JSON, like Stripe for responses and webhooks: a consumer that hashes JSON which it has encoded again, and not
// the bytes that it got, fails here too.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		// All arguments are plain structs, strings and maps of strings.
		panic("stripesim: cannot encode: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// encodeLine adds a newline for answers of the API: without it, the prompt of a shell follows the JSON on the same line.
func encodeLine(v any) []byte { return append(encode(v), '\n') }
