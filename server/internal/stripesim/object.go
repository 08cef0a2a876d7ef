package stripesim

import (
	"bytes"
	"encoding/json"
)

// sessionObject is a VerificationSession in Stripe's JSON. It has no verified_outputs on purpose: Stripe sends it only if the request
// expands it, which the simulator refuses.
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
	Status                 string            `json:"status"`
	Type                   string            `json:"type"`
	URL                    *string           `json:"url"`
	VerificationFlow       string            `json:"verification_flow,omitempty"`
}

type redactionObject struct {
	Status string `json:"status"`
}

type sessionOptions struct {
	Document *documentOptions `json:"document,omitempty"`
	Email    *contactOptions  `json:"email,omitempty"`
	IDNumber *struct{}        `json:"id_number,omitempty"`
	Phone    *contactOptions  `json:"phone,omitempty"`
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
		RelatedCustomer: orNull(sess.relatedCustomer), Status: sess.status, Type: sess.kind, VerificationFlow: sess.flow}
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
	if links && sess.status == statusRequiresInput {
		link, secret := s.newLink(sess), s.newID(sess.id+"_secret_", 40)
		o.URL, o.ClientSecret = &link, &secret
	}
	return o
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
