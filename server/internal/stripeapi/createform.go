package stripeapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// Bounds of what is copied. Stripe's metadata alone can have 50 keys.
const (
	maxFields   = 500
	maxDepth    = 8
	maxMetadata = 50
)

// erasedText stands in Stripe's objects for a text that a redaction has erased.
const erasedText = "[redacted]"

// The names below options[document] and provided_details that a creation takes.
var (
	documentOptions = []string{"allowed_types", "require_id_number", "require_live_capture", "require_matching_selfie"}
	providedDetails = []string{"email", "phone"}
)

// formLike returns the form that creates a session like the given one. The form has only parameters that Stripe's
// reference lists for a creation (https://docs.stripe.com/api/identity/verification_sessions/create). A GET also shows
// options that a creation refuses, such as email, phone, id_number and matching, and can show fields of the future. A
// session of a flow has the options of the flow, and takes none. An expanded object is sent as its id.
//
// The order of the form is fixed, so a repetition is the same request byte for byte. ok is false if the session cannot be
// copied as a whole.
func formLike(session []byte, returnURL, replaces string) (_ *form.Values, ok bool) {
	f := &flattener{values: &form.Values{}}
	old := f.object(session)
	if isFlow(old) {
		f.addID("verification_flow", old["verification_flow"])
	} else {
		f.add("type", old["type"])
		f.addNamed("options[document]", f.object(old["options"])["document"], documentOptions)
	}
	f.addMetadata(old["metadata"], replaces)
	f.add("client_reference_id", old["client_reference_id"])
	f.addNamed("provided_details", old["provided_details"], providedDetails)
	f.addID("related_customer", old["related_customer"])
	f.addID("related_customer_account", old["related_customer_account"])
	person := f.object(old["related_person"])
	f.addID("related_person[account]", person["account"])
	f.addID("related_person[person]", person["person"])
	f.put("return_url", returnURL)
	return f.values, !f.failed
}

// formerForm is formLike of the version before. It is sent byte for byte as that version sends it, so that Stripe answers
// with the session that a replica of that version has created. That version sends erased texts too.
func formerForm(session []byte, returnURL, replaces string) (_ *form.Values, ok bool) {
	f := &flattener{values: &form.Values{}, former: true}
	old := f.object(session)
	if string(old["type"]) == flowType {
		f.add("verification_flow", old["verification_flow"])
	} else {
		f.add("type", old["type"])
	}
	f.add("options", old["options"])
	f.addMetadata(old["metadata"], replaces)
	f.add("client_reference_id", old["client_reference_id"])
	f.add("provided_details", old["provided_details"])
	f.put("return_url", returnURL)
	return f.values, !f.failed
}

// flowType is the type of the sessions of a flow. It exists only in answers: a creation takes the flow and no type.
const flowType = `"verification_flow"`

func isFlow(session map[string]json.RawMessage) bool {
	return string(session["type"]) == flowType || !isNull(session["verification_flow"])
}

// isNull reports whether a field is null, or is not there.
func isNull(value json.RawMessage) bool { return len(value) == 0 || string(value) == "null" }

// flattener writes JSON in Stripe's form encoding: {"a":{"b":[true]}} is a[b][0]=true. It leaves out nulls and empty
// values, because an empty value in a form means "unset".
type flattener struct {
	values *form.Values
	former bool // of formerForm
	count  int
	failed bool // too many fields, nested too deeply, or of another kind than expected
}

// object returns the fields of an object. It returns none for null. A field that is there twice is a failure: it is not
// known which of the two Stripe means.
func (f *flattener) object(value json.RawMessage) (fields map[string]json.RawMessage) {
	if !isNull(value) && stripeevent.Unmarshal(value, &fields) != nil {
		f.failed = true
	}
	return fields
}

// addNamed adds the named fields of an object, and no others.
func (f *flattener) addNamed(key string, value json.RawMessage, names []string) {
	fields := f.object(value)
	for _, name := range names {
		f.add(key+"["+name+"]", fields[name])
	}
}

// addID adds an id. If Stripe has expanded it, it adds the id of the object.
func (f *flattener) addID(key string, value json.RawMessage) {
	if isNull(value) {
		return
	}
	if bytes.HasPrefix(value, []byte("{")) {
		value = f.object(value)["id"]
	}
	var id string
	f.failed = f.failed || stripeevent.Unmarshal(value, &id) != nil || id == ""
	f.put(key, id)
}

// add adds a value of any kind.
func (f *flattener) add(key string, value json.RawMessage) {
	if len(value) == 0 {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber() // to write each number exactly as it was
	var tree any
	if decoder.Decode(&tree) != nil {
		f.failed = true
		return
	}
	f.walk(key, tree, 0)
}

// addMetadata adds the metadata. It names replaces as the replaced session, instead of a session that the metadata might
// name already. It names none if Stripe would refuse one more key.
func (f *flattener) addMetadata(metadata json.RawMessage, replaces string) {
	values := f.object(metadata)
	delete(values, verification.ReplacesKey)
	sent := f.count
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f.add("metadata["+name+"]", values[name])
	}
	if sent = f.count - sent; f.former {
		sent = len(values)
	}
	if sent < maxMetadata {
		f.put("metadata["+verification.ReplacesKey+"]", replaces)
	}
}

func (f *flattener) walk(key string, value any, depth int) {
	if depth > maxDepth {
		f.failed = true
		return
	}
	switch value := value.(type) {
	case string:
		f.put(key, value)
	case json.Number:
		f.put(key, value.String())
	case bool:
		f.put(key, strconv.FormatBool(value))
	case []any:
		for i, element := range value {
			f.walk(key+"["+strconv.Itoa(i)+"]", element, depth+1)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			f.walk(key+"["+name+"]", value[name], depth+1)
		}
	}
}

func (f *flattener) put(key, value string) {
	if value == "" || value == erasedText && !f.former {
		return
	}
	if f.count++; f.count > maxFields {
		f.failed = true
		return
	}
	f.values.Add(key, value)
}
