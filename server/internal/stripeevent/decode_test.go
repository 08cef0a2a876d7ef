package stripeevent_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

type fields = map[string]any

// session returns a session as in an event of Stripe, with everything that must not be decoded.
func session(change fields) fields {
	o := fields{
		"id": "vs_1Qx7TestSession", "object": "identity.verification_session",
		"client_reference_id": "customer-81", "client_secret": "vs_1Qx7TestSession_secret_planted",
		"created": 1790000000, "last_error": nil, "last_verification_report": "vr_1Qx7Report",
		"livemode": false, "metadata": fields{"person": "p-4711", "note": "x"},
		"options":   fields{"document": fields{"require_matching_selfie": true}},
		"redaction": nil, "related_customer": nil, "status": "verified", "type": "document",
		"url":              "https://verify.stripe.com/start/planted",
		"verified_outputs": fields{"first_name": "Planted", "dob": fields{"day": 1, "month": 2, "year": 1990}},
	}
	return with(o, change)
}

// event is an event about session(nil).
func event(change fields) fields {
	return with(fields{
		"id": "evt_1Qx7Event", "object": "event", "api_version": "2026-08-26.dahlia", "created": 1790000181,
		"data": fields{"object": session(nil)}, "livemode": false, "pending_webhooks": 1,
		"request": fields{"id": nil, "idempotency_key": nil}, "type": verification.EventVerified,
	}, change)
}

// gone, as a value, removes a field.
type gone struct{}

func with(o, change fields) fields {
	for name, value := range change {
		if value == (gone{}) {
			delete(o, name)
			continue
		}
		o[name] = value
	}
	return o
}

func about(change fields) fields { return event(fields{"data": fields{"object": session(change)}}) }

func encode(t testing.TB, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func want(change func(*verification.Event)) verification.Event {
	e := verification.Event{
		ID: "evt_1Qx7Event", Type: verification.EventVerified, Second: 1790000181,
		Object: verification.Object{
			ID: "vs_1Qx7TestSession", Type: "document", Status: "verified", Report: "vr_1Qx7Report",
			Created: 1790000000, Reference: "customer-81",
		},
	}
	if change != nil {
		change(&e)
	}
	return e
}

func TestDecode(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name string
		body fields
		want func(*verification.Event)
	}{
		{"as Stripe sends it", event(nil), nil},
		{"no api_version", event(fields{"api_version": nil}), nil},
		{"request as the string of old versions", event(fields{"request": "req_1"}), nil},
		{"connected account", event(fields{"account": "acct_1Abc"}), func(e *verification.Event) { e.Object.Account = "acct_1Abc" }},
		{"livemode of the envelope wins", event(fields{"livemode": true}), func(e *verification.Event) { e.Object.Livemode = true }},
		{"livemode of the envelope wins, also false", about(fields{"livemode": true}), nil},
		{"livemode of the object else", event(fields{"livemode": gone{}, "data": fields{"object": session(fields{"livemode": true})}}),
			func(e *verification.Event) { e.Object.Livemode = true }},
		{"future type of Identity", event(fields{"type": "identity.verification_session.appealed"}),
			func(e *verification.Event) { e.Type = "identity.verification_session.appealed" }},
		{"first second", event(fields{"created": 0}), func(e *verification.Event) { e.Second = 0 }},
		{"last second of the year 9999", event(fields{"created": 253402300799}), func(e *verification.Event) { e.Second = 253402300799 }},
		{"canceled event, verified object: the object decides", event(fields{"type": verification.EventCanceled}),
			func(e *verification.Event) { e.Type = verification.EventCanceled }},
		{"unknown status and type pass", about(fields{"status": "in_review", "type": "palm"}),
			func(e *verification.Event) { e.Object.Status, e.Object.Type = "in_review", "palm" }},
		{"long status is cut", about(fields{"status": long}), func(e *verification.Event) { e.Object.Status = long[:100] }},
		{"no type", about(fields{"type": nil}), func(e *verification.Event) { e.Object.Type = "" }},
		{"error", about(fields{"last_error": fields{"code": "address_mismatch", "reason": "The address does not match."}}),
			func(e *verification.Event) {
				e.Object.Error = verification.Error{Code: "address_mismatch", Reason: "The address does not match."}
			}},
		{"error of nulls is none", about(fields{"last_error": fields{"code": nil, "reason": nil}}), nil},
		{"error without a code", about(fields{"last_error": fields{"reason": "Look again."}}),
			func(e *verification.Event) { e.Object.Error.Reason = "Look again." }},
		{"long reason is cut between runes", about(fields{"last_error": fields{"code": "c", "reason": strings.Repeat("é", 501) + "x"}}),
			func(e *verification.Event) {
				e.Object.Error = verification.Error{Code: "c", Reason: strings.Repeat("é", 500)}
			}},
		{"reason is never cut inside a rune", about(fields{"last_error": fields{"reason": "x" + strings.Repeat("é", 501)}}),
			func(e *verification.Event) { e.Object.Error.Reason = "x" + strings.Repeat("é", 499) }},
		{"expanded report", about(fields{"last_verification_report": fields{"id": "vr_2", "document": fields{"first_name": "Planted"}}}),
			func(e *verification.Event) { e.Object.Report = "vr_2" }},
		{"no report yet", about(fields{"last_verification_report": nil}), func(e *verification.Event) { e.Object.Report = "" }},
		{"report id too long is none, never cut", about(fields{"last_verification_report": long}),
			func(e *verification.Event) { e.Object.Report = "" }},
		{"created of the object absent", about(fields{"created": gone{}}), func(e *verification.Event) { e.Object.Created = 0 }},
		{"created of the object not whole", about(fields{"created": 1.5}), func(e *verification.Event) { e.Object.Created = 0 }},
		{"redaction begun", about(fields{"redaction": fields{"status": "processing"}}),
			func(e *verification.Event) { e.Object.Redaction = verification.RedactionProcessing }},
		{"redaction validated", about(fields{"redaction": fields{"status": "validated"}}),
			func(e *verification.Event) { e.Object.Redaction = verification.RedactionProcessing }},
		{"redaction unknown", about(fields{"redaction": fields{"status": "queued"}}),
			func(e *verification.Event) { e.Object.Redaction = verification.RedactionProcessing }},
		{"redacted", about(fields{"redaction": fields{"status": "redacted"}, "metadata": fields{}}),
			func(e *verification.Event) { e.Object.Redaction = verification.RedactionRedacted }},
		{"redaction of null is none", about(fields{"redaction": fields{"status": nil}}), nil},
		{"reference from metadata", about(fields{"client_reference_id": nil}), func(e *verification.Event) { e.Object.Reference = "p-4711" }},
		{"empty reference", about(fields{"client_reference_id": ""}), func(e *verification.Event) { e.Object.Reference = "p-4711" }},
		{"reference of 255 bytes", about(fields{"client_reference_id": long[:255]}), func(e *verification.Event) { e.Object.Reference = long[:255] }},
		{"reference of 256 bytes is none", about(fields{"client_reference_id": long[:256], "metadata": nil}),
			func(e *verification.Event) { e.Object.Reference, e.Object.ReferenceTooLong = "", true }},
		{"metadata value too long is none", about(fields{"client_reference_id": nil, "metadata": fields{"person": long}}),
			func(e *verification.Event) { e.Object.Reference, e.Object.ReferenceTooLong = "", true }},
		{"reference too long, and one in metadata", about(fields{"client_reference_id": long}), func(e *verification.Event) { e.Object.Reference = "p-4711" }},
		{"metadata of another shape is none", about(fields{"client_reference_id": nil, "metadata": []int{1}}),
			func(e *verification.Event) { e.Object.Reference = "" }},
		{"metadata value of another shape is none", about(fields{"client_reference_id": nil, "metadata": fields{"person": 7}}),
			func(e *verification.Event) { e.Object.Reference = "" }},
		{"the session that it replaces", about(fields{"metadata": fields{"person": "p", verification.ReplacesKey: "vs_1Old"}}),
			func(e *verification.Event) { e.Object.Replaces = "vs_1Old" }},
		{"it replaces one with the longest id", about(fields{"metadata": fields{verification.ReplacesKey: "vs_" + long[:252]}}),
			func(e *verification.Event) { e.Object.Replaces = "vs_" + long[:252] }},
		{"a claim that is too long is none", about(fields{"metadata": fields{verification.ReplacesKey: "vs_" + long[:253]}}), nil},
		{"a claim that is no session id is none", about(fields{"metadata": fields{verification.ReplacesKey: "vs_1/../x"}}), nil},
		{"a claim of another kind of id is none", about(fields{"metadata": fields{verification.ReplacesKey: "vr_1"}}), nil},
		{"a claim of another shape is none", about(fields{"metadata": fields{verification.ReplacesKey: fields{"id": "vs_1"}}}), nil},
		{"a claim under another key is none", about(fields{"metadata": fields{"x_" + verification.ReplacesKey: "vs_1"}}), nil},
		{"a session does not replace itself", about(fields{"metadata": fields{verification.ReplacesKey: "vs_1Qx7TestSession"}}), nil},
		{"unlike metadata keys are not it", about(fields{"client_reference_id": nil, "metadata": fields{"Person": "other"}}),
			func(e *verification.Event) { e.Object.Reference = "" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripeevent.Decode(encode(t, test.body), stripeevent.Options{ReferenceKey: "person"})
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			if diff := cmp.Diff(want(test.want), got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetadataIsNotLookedAtWithoutKey(t *testing.T) {
	body := encode(t, about(fields{"client_reference_id": nil, "metadata": fields{"": "trap"}}))
	got, err := stripeevent.Decode(body, stripeevent.Options{})
	if err != nil || got.Object.Reference != "" {
		t.Errorf("reference %q, error %v; want none", got.Object.Reference, err)
	}
}

// Two references that differ only in bytes that are not UTF-8 would become the same.
func TestAReferenceThatIsNotUTF8IsIgnored(t *testing.T) {
	for _, reference := range []string{"person-\xff", "person-\xc3", `person-\ud800`} {
		body := strings.Replace(string(encode(t, event(nil))), "customer-81", reference, 1)
		got, err := stripeevent.Decode([]byte(body), stripeevent.Options{})
		if err != nil || got.Object.Reference != "" {
			t.Errorf("%q: reference %q, error %v; want none", reference, got.Object.Reference, err)
		}
	}
}

func TestNotIdentity(t *testing.T) {
	for name, body := range map[string]fields{
		"another product":          event(fields{"type": "payment_intent.succeeded", "data": fields{"object": fields{"id": "pi_1"}}}),
		"a report":                 event(fields{"type": "identity.verification_report.verified"}),
		"the prefix without dot":   event(fields{"type": "identity.verification_session"}),
		"another case":             event(fields{"type": "Identity.Verification_Session.verified"}),
		"no type":                  event(fields{"type": gone{}}),
		"nothing else is in order": {"object": "event", "type": "invoice.paid", "created": "yesterday", "id": 7, "data": 3},
	} {
		if _, err := stripeevent.Decode(encode(t, body), stripeevent.Options{}); !errors.Is(err, stripeevent.ErrNotIdentity) {
			t.Errorf("%s: error %v, want ErrNotIdentity", name, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	known := "evt_1Qx7Event"
	tests := []struct {
		name, body, eventID string
	}{
		{"nothing", "", ""},
		{"no JSON", "id=evt_1", ""},
		{"null", "null", ""},
		{"an array", "[]", ""},
		{"cut off", string(encode(t, event(nil)))[:200], ""},
		{"two values", string(encode(t, event(nil))) + "{}", ""},
		{"nested too deep", strings.Repeat(`{"data":`, 100_000), ""},
		{"closed, and nested too deep", `{"object":"event","data":` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000) + "}", ""},
		{"thin event", string(encode(t, event(fields{"object": "v2.core.event", "created": "2026-03-09T13:00:28.435Z"}))), known},
		{"no object", string(encode(t, event(fields{"object": gone{}}))), known},
		{"no event id", string(encode(t, event(fields{"id": gone{}}))), ""},
		{"empty event id", string(encode(t, event(fields{"id": ""}))), ""},
		{"event id a number", string(encode(t, event(fields{"id": 5}))), ""},
		{"event id too long", string(encode(t, event(fields{"id": "evt_" + strings.Repeat("a", 252)}))), ""},
		{"event id with a line end", string(encode(t, event(fields{"id": "evt_1\nlevel=ERROR"}))), ""},
		{"event id with a space", string(encode(t, event(fields{"id": "evt_1 "}))), ""},
		{"no created", string(encode(t, event(fields{"created": gone{}}))), known},
		{"created null", string(encode(t, event(fields{"created": nil}))), known},
		{"created a string", string(encode(t, event(fields{"created": "1790000181"}))), known},
		{"created a fraction", string(encode(t, event(fields{"created": 1764795522.417}))), known},
		{"created written as a fraction", strings.Replace(string(encode(t, event(nil))), "1790000181", "1790000181.0", 1), known},
		{"created written with an exponent", strings.Replace(string(encode(t, event(nil))), "1790000181", "179e7", 1), known},
		{"created negative", string(encode(t, event(fields{"created": -1}))), known},
		{"created after the year 9999", string(encode(t, event(fields{"created": 253402300800}))), known},
		{"created beyond 64 bits", strings.Replace(string(encode(t, event(nil))), "1790000181", "99999999999999999999", 1), known},
		{"no data", string(encode(t, event(fields{"data": gone{}}))), known},
		{"data null", string(encode(t, event(fields{"data": nil}))), known},
		{"data empty", string(encode(t, event(fields{"data": fields{}}))), known},
		{"data an array", string(encode(t, event(fields{"data": []int{}}))), known},
		{"data.object null", string(encode(t, event(fields{"data": fields{"object": nil}}))), known},
		{"data.object a string", string(encode(t, event(fields{"data": fields{"object": "vs_1"}}))), known},
		{"no session id", string(encode(t, about(fields{"id": gone{}}))), known},
		{"id of something else", string(encode(t, about(fields{"id": "vr_1"}))), known},
		{"session id without a rest", string(encode(t, about(fields{"id": "vs_"}))), known},
		{"session id with a slash", string(encode(t, about(fields{"id": "vs_1/cancel"}))), known},
		{"session id with a line end", string(encode(t, about(fields{"id": "vs_1\n"}))), known},
		{"session id too long", string(encode(t, about(fields{"id": "vs_" + strings.Repeat("a", 253)}))), known},
		{"no status", string(encode(t, about(fields{"status": gone{}}))), known},
		{"status a number", string(encode(t, about(fields{"status": 1}))), known},
		{"error a string", string(encode(t, about(fields{"last_error": "document_expired"}))), known},
		{"redaction a string", string(encode(t, about(fields{"redaction": "redacted"}))), known},
		{"account with a line end", string(encode(t, event(fields{"account": "acct_1\r\nX: y"}))), known},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := stripeevent.Decode([]byte(test.body), stripeevent.Options{})
			var malformed *stripeevent.MalformedError
			if !errors.As(err, &malformed) {
				t.Fatalf("event %+v, error %v; want a MalformedError", got, err)
			}
			if malformed.EventID != test.eventID {
				t.Errorf("event id %q, want %q", malformed.EventID, test.eventID)
			}
			if malformed.Reason == "" || strings.ContainsAny(malformed.Error(), "\r\n") {
				t.Errorf("reason %q must be one line", malformed.Error())
			}
			if got != (verification.Event{}) {
				t.Errorf("an event beside the error: %+v", got)
			}
		})
	}
}

func TestGreatestSessionID(t *testing.T) {
	id := "vs_" + strings.Repeat("a", 252)
	got, err := stripeevent.Decode(encode(t, about(fields{"id": id})), stripeevent.Options{})
	if err != nil || got.Object.ID != id {
		t.Errorf("id of 255 bytes: %q, %v", got.Object.ID, err)
	}
}

// G10: what must never be stored does not leave the decoder.
func TestNothingSecretLeavesTheDecoder(t *testing.T) {
	body := encode(t, about(fields{"status": "requires_input", "last_verification_report": fields{
		"id": "vr_1", "document": fields{"first_name": "planted"}, "url": "planted"}}))
	got, err := stripeevent.Decode(body, stripeevent.Options{ReferenceKey: "person"})
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.ToLower(string(encode(t, got))); strings.Contains(text, "planted") {
		t.Errorf("a secret or personal data left the decoder: %s", text)
	}
}

func TestDecodeObject(t *testing.T) {
	got, err := stripeevent.DecodeObject(encode(t, session(fields{"livemode": true})), stripeevent.Options{})
	wanted := want(func(e *verification.Event) { e.Object.Livemode = true }).Object
	if diff := cmp.Diff(wanted, got); err != nil || diff != "" {
		t.Errorf("error %v, object (-want +got):\n%s", err, diff)
	}
	for _, body := range []string{"", "null", "[]", "{}", `{"id":"vs_1"}`, `{"id":"vs_1","status":""}`, `{"error":{}}`} {
		var malformed *stripeevent.MalformedError
		if got, err := stripeevent.DecodeObject([]byte(body), stripeevent.Options{}); !errors.As(err, &malformed) || got != (verification.Object{}) {
			t.Errorf("%s: object %+v, error %v; want a MalformedError", body, got, err)
		}
	}
}
