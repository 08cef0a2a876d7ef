package stripesim

import (
	"maps"
	"net/url"
	"slices"
	"unicode/utf8"
)

// Stripe's bounds, in characters and keys.
const (
	maxText          = 5000
	maxMetadataKeys  = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
)

var documentTypes = []string{"driving_license", "id_card", "passport"}

// parseCreate reads the parameters of POST /v1/identity/verification_sessions.
func parseCreate(n *node) (p sessionParams, err *Error) {
	if err := n.only("type", "verification_flow", "client_reference_id", "metadata", "options", "provided_details",
		"return_url", "related_customer", "related_customer_account", "related_person"); err != nil {
		return p, err
	}
	for _, field := range []struct {
		name string
		into *string
	}{
		{"verification_flow", &p.flow}, {"client_reference_id", &p.reference},
		{"return_url", &p.returnURL}, {"related_customer", &p.relatedCustomer}, {"related_customer_account", &p.relatedAccount},
	} {
		if *field.into, _, err = n.text(field.name, maxText); err != nil {
			return p, err
		}
	}
	if p.relatedPerson, err = parsePerson(n); err != nil {
		return p, err
	}
	u, err := parseUpdateFields(n)
	if err != nil {
		return p, err
	}
	switch {
	case p.flow != "" && u.options != nil:
		return p, errParam("options", optionsOfFlow)
	case u.kind != nil && p.flow != "":
		return p, errParam("type", "You may only specify one of these parameters: type, verification_flow.")
	case u.kind != nil:
		p.kind = *u.kind
	case p.flow != "":
		p.kind = "verification_flow"
	default:
		return p, errMissing("type")
	}
	p.options, p.details = u.options, u.details
	if u.metadata != nil {
		if p.metadata, err = u.metadata.apply(nil); err != nil {
			return p, err
		}
	}
	return p, checkCreate(p)
}

// optionsOfFlow is the refusal of options beside a flow. A flow has options of its own.
const optionsOfFlow = "You may only specify one of these parameters: verification_flow, options."

// parsePerson reads related_person, whose two fields are both required.
func parsePerson(n *node) (*relatedPerson, *Error) {
	child, err := n.hash("related_person")
	if err != nil || child == nil {
		return nil, err
	}
	if err := child.only("account", "person"); err != nil {
		return nil, err
	}
	p := &relatedPerson{}
	for name, into := range map[string]*string{"account": &p.Account, "person": &p.Person} {
		text, ok, err := child.text(name, maxText)
		switch {
		case err != nil:
			return nil, err
		case !ok || text == "":
			return nil, errMissing("related_person[" + name + "]")
		}
		*into = text
	}
	return p, nil
}

func checkCreate(p sessionParams) *Error {
	if utf8.RuneCountInString(p.reference) > maxText {
		return errParam("client_reference_id", "Invalid string: client_reference_id is too long.")
	}
	if p.returnURL == "" {
		return nil
	}
	// The hosted page redirects to it: a browser must not be sent to javascript: or a relative path.
	u, err := url.Parse(p.returnURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errBad("url_invalid", "return_url", "Not a valid URL: return_url must be an absolute http or https URL.")
	}
	return nil
}

// parseUpdate reads the parameters of POST /v1/identity/verification_sessions/{session}.
func parseUpdate(n *node) (sessionUpdate, *Error) {
	if err := n.only("type", "metadata", "options", "provided_details"); err != nil {
		return sessionUpdate{}, err
	}
	return parseUpdateFields(n)
}

func parseUpdateFields(n *node) (u sessionUpdate, err *Error) {
	kind, ok, err := n.oneOf("type", "document", "id_number")
	if err != nil {
		return u, err
	}
	if ok {
		u.kind = &kind
	}
	if u.metadata, err = parseMetadata(n); err != nil {
		return u, err
	}
	if u.options, err = parseOptions(n); err != nil {
		return u, err
	}
	u.details, err = parseDetails(n)
	return u, err
}

// metadataUpdate is the metadata of a request: keys to set (an empty value removes the key), and whether all keys are removed first.
type metadataUpdate struct {
	clear bool
	set   map[string]string
}

func parseMetadata(n *node) (*metadataUpdate, *Error) {
	child, err := n.hash("metadata")
	if err != nil || child == nil {
		return nil, err
	}
	u := &metadataUpdate{clear: len(child.children) == 0, set: make(map[string]string, len(child.children))}
	for key := range child.children {
		// A generous limit in bytes, against a huge body. apply counts characters.
		if u.set[key], _, err = child.text(key, maxMetadataValue*utf8.UTFMax); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// apply returns the metadata after the update. It does not change old, which events can still show.
func (u *metadataUpdate) apply(old map[string]string) (map[string]string, *Error) {
	if u.clear || len(u.set) == 0 {
		return nil, nil
	}
	next := maps.Clone(old)
	if next == nil {
		next = make(map[string]string, len(u.set))
	}
	for key, value := range u.set {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxMetadataKey:
			return nil, errParam("metadata", "Metadata keys must have 1 to 40 characters.")
		case utf8.RuneCountInString(value) > maxMetadataValue:
			return nil, errParam("metadata["+key+"]", "Metadata values can have up to 500 characters.")
		case value == "":
			delete(next, key)
		default:
			next[key] = value
		}
	}
	if len(next) > maxMetadataKeys {
		return nil, errParam("metadata", "Metadata can have up to 50 keys.")
	}
	if len(next) == 0 {
		return nil, nil
	}
	return next, nil
}

func parseOptions(n *node) (*sessionOptions, *Error) {
	o, err := n.hash("options")
	if err != nil || o == nil {
		return nil, err
	}
	if err := o.only("document"); err != nil {
		return nil, err
	}
	out := &sessionOptions{}
	out.Document, err = parseDocument(o)
	return out, err
}

func parseDocument(o *node) (*documentOptions, *Error) {
	d, err := o.hash("document")
	if err != nil || d == nil {
		return nil, err
	}
	if err := d.only("allowed_types", "require_id_number", "require_live_capture", "require_matching_selfie"); err != nil {
		return nil, err
	}
	out := &documentOptions{}
	if out.AllowedTypes, err = d.list("allowed_types"); err != nil {
		return nil, err
	}
	for _, t := range out.AllowedTypes {
		if !slices.Contains(documentTypes, t) {
			return nil, errParam("options[document][allowed_types]", "Invalid options[document][allowed_types]: must be one of driving_license, id_card, passport")
		}
	}
	if out.RequireIDNumber, err = d.boolean("require_id_number"); err != nil {
		return nil, err
	}
	if out.RequireLiveCapture, err = d.boolean("require_live_capture"); err != nil {
		return nil, err
	}
	out.RequireMatchingSelfie, err = d.boolean("require_matching_selfie")
	return out, err
}

func parseDetails(n *node) (*providedDetails, *Error) {
	d, err := n.hash("provided_details")
	if err != nil || d == nil {
		return nil, err
	}
	if err := d.only("email", "phone"); err != nil {
		return nil, err
	}
	out := &providedDetails{}
	email, ok, err := d.text("email", maxText)
	if err != nil {
		return nil, err
	}
	if ok {
		out.Email = &email
	}
	phone, ok, err := d.text("phone", maxText)
	if err != nil {
		return nil, err
	}
	if ok {
		out.Phone = &phone
	}
	return out, nil
}
