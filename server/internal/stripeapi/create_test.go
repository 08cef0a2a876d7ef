package stripeapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/verification"
)

// replacing answers the GET with old and the POST with status and body.
func replacing(t *testing.T, old fields, status int, body string) *server {
	return serve(t, func(w http.ResponseWriter, c call) {
		if c.method == http.MethodGet {
			always(200, encode(old))(w, c)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// claimField is the parameter that names the session which a new one replaces.
const claimField = "metadata[" + verification.ReplacesKey + "]"

// canceledSession returns a canceled session as a GET shows it.
func canceledSession(change fields) fields {
	o := session(fields{"status": "canceled", "last_error": nil, "url": nil, "client_secret": nil})
	for name, value := range change {
		o[name] = value
	}
	return o
}

// A GET shows more than a creation takes. What is sent is in the reference of the creation, and nothing else.
func TestCreateLike(t *testing.T) {
	tests := []struct {
		name      string
		old       fields
		returnURL string
		want      url.Values
	}{
		{"plain", canceledSession(nil), "", url.Values{"type": {"document"}, "client_reference_id": {"case-17"}}},
		{"return URL", canceledSession(fields{"client_reference_id": nil}), "https://shop.example/back?a=b&c=d",
			url.Values{"type": {"document"}, "return_url": {"https://shop.example/back?a=b&c=d"}}},
		{"everything, and options that a creation does not take", canceledSession(fields{
			"options": fields{
				"document": fields{"allowed_types": []string{"passport", "id_card"}, "require_id_number": true, "require_live_capture": false, "require_matching_selfie": true},
				"matching": fields{"dob": "similar", "name": nil}, "email": fields{"require_verification": true}, "phone": fields{"require_verification": true},
				"id_number": fields{"planted": true}, "limit": 12345678901234567,
			},
			"metadata":         fields{"person": "p 1", "Team": "ü&b"},
			"provided_details": fields{"email": "a@example.com", "phone": nil},
			"verified_outputs": fields{"first_name": "planted"},
			"related_customer": "cus_42", "related_customer_account": "acct_42", "related_person": fields{"account": "acct_1", "person": "person_1"},
		}), "", url.Values{
			"type": {"document"}, "client_reference_id": {"case-17"},
			"options[document][allowed_types][0]": {"passport"}, "options[document][allowed_types][1]": {"id_card"}, "options[document][require_id_number]": {"true"},
			"options[document][require_live_capture]": {"false"}, "options[document][require_matching_selfie]": {"true"},
			"metadata[person]": {"p 1"}, "metadata[Team]": {"ü&b"}, "provided_details[email]": {"a@example.com"},
			"related_customer": {"cus_42"}, "related_customer_account": {"acct_42"}, "related_person[account]": {"acct_1"}, "related_person[person]": {"person_1"},
		}},
		{"a flow", canceledSession(fields{"type": "verification_flow", "verification_flow": "vf_1", "options": fields{}}), "",
			url.Values{"verification_flow": {"vf_1"}, "client_reference_id": {"case-17"}}},
		{"a flow with the options that the flow sets", canceledSession(fields{
			"type": "verification_flow", "verification_flow": "vf_1", "provided_details": fields{"email": "a@example.com", "phone": "+15550100"}, "metadata": fields{"k": "v"},
			"options": fields{"document": fields{"require_matching_selfie": true}, "email": fields{"require_verification": true}},
		}), "", url.Values{
			"verification_flow": {"vf_1"}, "client_reference_id": {"case-17"}, "metadata[k]": {"v"},
			"provided_details[email]": {"a@example.com"}, "provided_details[phone]": {"+15550100"},
		}},
		{"a flow whose sessions show the type of its check", canceledSession(fields{"verification_flow": "vf_1", "options": fields{"document": fields{"require_live_capture": true}}}), "",
			url.Values{"verification_flow": {"vf_1"}, "client_reference_id": {"case-17"}}},
		{"an id number", canceledSession(fields{"type": "id_number", "options": fields{"id_number": fields{}}}), "",
			url.Values{"type": {"id_number"}, "client_reference_id": {"case-17"}}},
		{"expanded objects", canceledSession(fields{
			"verification_flow": fields{"id": "vf_1", "object": "identity.verification_flow"}, "related_customer": fields{"id": "cus_42", "email": "planted"},
			"related_customer_account": fields{"id": "acct_42"}, "related_person": fields{"account": fields{"id": "acct_1"}, "person": fields{"id": "person_1", "dob": fields{"day": 1}}},
		}), "", url.Values{
			"verification_flow": {"vf_1"}, "client_reference_id": {"case-17"}, "related_customer": {"cus_42"}, "related_customer_account": {"acct_42"},
			"related_person[account]": {"acct_1"}, "related_person[person]": {"person_1"},
		}},
		{"fields of the future", canceledSession(fields{
			"future": "planted", "options": fields{"document": fields{"require_liveness": true}, "palm": fields{"hand": "left"}},
			"provided_details": fields{"email": "a@example.com", "fax": "1"}, "related_person": fields{"account": "acct_1", "person": "person_1", "role": "owner"},
		}), "", url.Values{
			"type": {"document"}, "client_reference_id": {"case-17"}, "provided_details[email]": {"a@example.com"},
			"related_person[account]": {"acct_1"}, "related_person[person]": {"person_1"},
		}},
		{"fields in another case", canceledSession(fields{
			"Type": "id_number", "Verification_Flow": "vf_1", "Related_Customer": "cus_42", "options": fields{"Document": fields{"require_live_capture": true}},
			"provided_details": fields{"Email": "a@example.com"}, "Return_url": "https://elsewhere.example",
		}), "", url.Values{"type": {"document"}, "client_reference_id": {"case-17"}}},
		{"texts that are erased", canceledSession(fields{
			"client_reference_id": "[redacted]", "metadata": fields{"person": "[redacted]"}, "provided_details": fields{"email": "[redacted]"},
		}), "", url.Values{"type": {"document"}}},
		{"a type of the future", canceledSession(fields{"type": "palm", "options": nil, "metadata": nil}), "",
			url.Values{"type": {"palm"}, "client_reference_id": {"case-17"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := replacing(t, test.old, 200, encode(session(fields{"id": "vs_1New"})))
			c := dial(t, s.URL, nil)
			newID, err := c.CreateLike(context.Background(), "acct_1Abc", id, test.returnURL)
			if err != nil || newID != "vs_1New" {
				t.Fatalf("new id %q, error %v", newID, err)
			}
			calls := s.seen()
			if len(calls) != 2 || calls[1].method != http.MethodPost || calls[1].path != "/v1/identity/verification_sessions" {
				t.Fatalf("calls %+v", calls)
			}
			test.want.Set(claimField, id)
			if diff := cmp.Diff(test.want, calls[1].form); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
			for _, call := range calls {
				if call.header.Get("Stripe-Account") != "acct_1Abc" {
					t.Errorf("%s without the account", call.method)
				}
			}
			if key := calls[1].header.Get("Idempotency-Key"); key != "verification-status-replace-"+id {
				t.Errorf("Idempotency-Key %q", key)
			}
			if c.observed() != "retrieve:ok create:ok" {
				t.Errorf("observed %s", c.observed())
			}
		})
	}
}

// A session that is tied to somebody in a way that this version cannot read would be replaced by one of nobody.
func TestWhatCannotBeReadIsNotDropped(t *testing.T) {
	for name, old := range map[string]fields{
		"a person that is a list":        {"related_person": []string{"person_1"}},
		"a person with a number":         {"related_person": fields{"account": "acct_1", "person": 7}},
		"a customer without an id":       {"related_customer": fields{"email": "planted"}},
		"a flow that is a number":        {"verification_flow": 7},
		"options that are a list":        {"options": []string{}},
		"document options that are true": {"options": fields{"document": true}},
		"details that are a text":        {"provided_details": "a@example.com"},
		"a person who is there twice":    {"related_person": json.RawMessage(`{"account":"acct_1","person":"person_1","person":"person_2"}`)},
		"an option that is there twice":  {"options": json.RawMessage(`{"document":{"require_live_capture":true},"document":{}}`)},
	} {
		s := replacing(t, canceledSession(old), 200, encode(session(fields{"id": "vs_1New"})))
		var refused *verification.StripeRefusedError
		_, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "")
		if !errors.As(err, &refused) || refused.Code != "session_not_copyable" || len(s.seen()) != 1 {
			t.Errorf("%s: error %v, %d calls; want session_not_copyable after the GET", name, err, len(s.seen()))
		}
	}
}

// The same key with another body is refused by Stripe, so a repetition must be the same to the byte.
func TestCreateLikeRepeatsItself(t *testing.T) {
	metadata, options := fields{}, fields{}
	for _, name := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		metadata[name], options[name] = "1", fields{"y": true, "x": false}
	}
	s := replacing(t, session(fields{"metadata": metadata, "options": options}), 200, encode(session(fields{"id": "vs_1New"})))
	c := dial(t, s.URL, nil)
	for range 5 {
		if _, err := c.CreateLike(context.Background(), "", id, "https://shop.example"); err != nil {
			t.Fatal(err)
		}
	}
	first := ""
	for _, call := range s.seen() {
		if call.method != http.MethodPost {
			continue
		}
		if first == "" {
			first = call.raw
		}
		if call.raw != first || call.header.Get("Idempotency-Key") != "verification-status-replace-"+id {
			t.Fatalf("another request:\n%s\n%s", first, call.raw)
		}
	}
}

func TestCreateLikeFails(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		want    error
		refused string
	}{
		{"other parameters under the key", 400, refusal("idempotency_error", ""), nil, "idempotency_error"},
		{"the flow is gone", 404, refusal("invalid_request_error", "resource_missing"), nil, "resource_missing"},
		{"read-only key", 403, refusal("invalid_request_error", ""), verification.ErrStripeUnauthorized, ""},
		{"bad return URL", 400, refusal("invalid_request_error", "url_invalid"), nil, "url_invalid"},
		{"fault", 500, refusal("api_error", ""), verification.ErrStripeUnavailable, ""},
		{"the old session as the new one", 200, encode(session(nil)), verification.ErrStripeUnavailable, ""},
		{"no session", 200, "{}", verification.ErrStripeUnavailable, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := replacing(t, session(nil), test.status, test.body)
			newID, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "")
			var refused *verification.StripeRefusedError
			switch {
			case newID != "":
				t.Errorf("new id %q", newID)
			case test.want != nil && !errors.Is(err, test.want):
				t.Errorf("error %v, want %v", err, test.want)
			case test.refused != "" && (!errors.As(err, &refused) || refused.Code != test.refused):
				t.Errorf("error %v, want refused: %s", err, test.refused)
			}
		})
	}
}

// The claim of the old session is never copied: it names the one before. Stripe allows 50 keys.
func TestG9_ANewSessionNamesTheOneThatItReplaces(t *testing.T) {
	keys := func(n int) fields {
		metadata := fields{}
		for i := range n {
			metadata[fmt.Sprintf("key_%d", i)] = "x"
		}
		return metadata
	}
	heir := func(metadata fields) fields {
		metadata[verification.ReplacesKey] = "vs_0"
		return metadata
	}
	erased := func(metadata fields) fields {
		metadata["key_0"] = "[redacted]"
		return metadata
	}
	for name, test := range map[string]struct {
		metadata any
		want     string
		fields   int
	}{
		"no metadata":               {nil, id, 1},
		"its own claim":             {heir(keys(3)), id, 4},
		"49 other keys":             {keys(49), id, 50},
		"49 other keys and a claim": {heir(keys(49)), id, 50},
		"50 other keys":             {keys(50), "", 50},
		"50 other keys, one erased": {erased(keys(50)), id, 50},
	} {
		s := replacing(t, session(fields{"metadata": test.metadata}), 200, encode(session(fields{"id": "vs_1New"})))
		if _, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, ""); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sent, metadata := s.seen()[1].form, 0
		for field := range sent {
			if strings.HasPrefix(field, "metadata[") {
				metadata++
			}
		}
		if got := sent[claimField]; strings.Join(got, ",") != test.want || metadata != test.fields {
			t.Errorf("%s: claims to replace %q with %d keys; want %q with %d", name, got, metadata, test.want, test.fields)
		}
	}
}

// formerRequest is what the version before sends for the session of TestG9_TheRequestOfTheVersionBeforeIsRepeated.
const formerRequest = "type=document&options[document][allowed_types][0]=id_card&options[document][future]=1.50&options[document][require_live_capture]=false" +
	"&options[email][require_verification]=true&options[matching][dob]=similar&metadata[a+b]=%C3%BC%26&metadata[person]=p&metadata[verification_status_replaces]=vs_1Old" +
	"&client_reference_id=case-17&provided_details[email]=a%40example.com&provided_details[fax]=1&return_url=https%3A%2F%2Fshop.example"

// A replica of the version before can have been first. Stripe gives its session for its request alone, byte for byte.
func TestG9_TheRequestOfTheVersionBeforeIsRepeated(t *testing.T) {
	old := strings.Replace(encode(canceledSession(fields{
		"metadata": fields{"person": "p", "a b": "ü&", verification.ReplacesKey: "vs_0"},
		"options": fields{
			"document": fields{"allowed_types": []string{"id_card"}, "require_live_capture": false, "future": 99},
			"email":    fields{"require_verification": true}, "matching": fields{"dob": "similar", "name": nil},
		},
		"provided_details": fields{"email": "a@example.com", "phone": nil, "fax": "1"},
		"related_customer": "cus_42", "related_person": fields{"account": "acct_1", "person": "person_1"},
	})), `"future":99`, `"future":1.50`, 1)
	for _, known := range []bool{true, false} {
		s := serve(t, func(w http.ResponseWriter, c call) {
			switch {
			case c.method == http.MethodGet:
				always(200, old)(w, c)
			case known && c.raw == formerRequest:
				always(200, encode(session(fields{"id": "vs_1New"})))(w, c)
			default:
				always(400, refusal("idempotency_error", ""))(w, c)
			}
		})
		newID, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "https://shop.example")
		refused := (*verification.StripeRefusedError)(nil)
		if known && (err != nil || newID != "vs_1New") || !known && (!errors.As(err, &refused) || refused.Code != verification.CodeIdempotency) {
			t.Errorf("the older request is known %v: id %q, error %v", known, newID, err)
		}
		calls := s.seen()
		if len(calls) != 3 || calls[1].form.Get("related_person[person]") != "person_1" || calls[1].form.Has("options[email][require_verification]") {
			t.Fatalf("the older request is known %v: calls %+v; want a GET, the POST and the POST of the version before", known, calls)
		}
		if calls[2].raw != formerRequest {
			t.Errorf("the older request:\ngot  %s\nwant %s", calls[2].raw, formerRequest)
		}
		for _, post := range calls[1:] {
			if key := post.header.Get("Idempotency-Key"); key != "verification-status-replace-"+id {
				t.Errorf("Idempotency-Key %q", key)
			}
		}
	}
}

// The version before also sends texts that a redaction has erased, and does not count an erased key as free.
func TestErasedTextsAreInTheRequestOfTheVersionBefore(t *testing.T) {
	const former = "type=document&options[document][require_live_capture]=true&metadata[case]=7&metadata[note]=%5Bredacted%5D&metadata[verification_status_replaces]=" + id +
		"&client_reference_id=%5Bredacted%5D&provided_details[email]=%5Bredacted%5D&return_url=https%3A%2F%2Fshop.example"
	s := replacing(t, canceledSession(fields{
		"metadata": fields{"case": "7", "note": "[redacted]", "empty": ""}, "client_reference_id": "[redacted]", "provided_details": fields{"email": "[redacted]", "phone": nil},
		"options": fields{"document": fields{"require_live_capture": true}},
	}), 400, refusal("idempotency_error", ""))
	_, _ = dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "https://shop.example")
	calls := s.seen()
	if len(calls) != 3 || strings.Contains(calls[1].raw, "redacted") || calls[2].raw != former {
		t.Errorf("calls %+v; want a GET, a POST without erased texts, and a POST with the form\n%s", calls, former)
	}
}

// For most sessions both versions send the same. Stripe would refuse it again.
func TestTheSameRequestIsNotRepeated(t *testing.T) {
	s := replacing(t, canceledSession(fields{
		"metadata": fields{"person": "p"}, "provided_details": fields{"email": "a@example.com"},
		"options": fields{"document": fields{"allowed_types": []string{"id_card"}, "require_id_number": true, "require_live_capture": true, "require_matching_selfie": true}},
	}), 400, refusal("idempotency_error", ""))
	refused := (*verification.StripeRefusedError)(nil)
	if _, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "https://shop.example"); !errors.As(err, &refused) || refused.Code != verification.CodeIdempotency {
		t.Errorf("error %v", err)
	}
	if calls := s.seen(); len(calls) != 2 {
		t.Errorf("%d calls, want a GET and one POST", len(calls))
	}
}

func TestCreateLikeNeedsTheOldSession(t *testing.T) {
	s := serve(t, always(404, refusal("invalid_request_error", "resource_missing")))
	if _, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, ""); !errors.Is(err, verification.ErrStripeUnknown) || len(s.seen()) != 1 {
		t.Errorf("error %v, %d calls", err, len(s.seen()))
	}
}

func TestCreateLikeHasBounds(t *testing.T) {
	deep, wide := any("x"), fields{}
	for range 20 {
		deep = fields{"a": deep}
	}
	for i := range 600 {
		wide[strings.Repeat("k", i+1)] = "x"
	}
	for name, types := range map[string]any{"deep": deep, "wide": wide} {
		s := replacing(t, session(fields{"options": fields{"document": fields{"allowed_types": types}}}), 200, encode(session(fields{"id": "vs_1New"})))
		var refused *verification.StripeRefusedError
		if _, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, ""); !errors.As(err, &refused) || len(s.seen()) != 1 {
			t.Errorf("%s: error %v, %d calls", name, err, len(s.seen()))
		}
	}
}

// While another caller's request for the same key is under way, Stripe answers 409: the caller who
// comes second waits for the one session, and is not refused.
func TestCreateLikeWaitsForTheSameRequest(t *testing.T) {
	busy := 2
	s := serve(t, func(w http.ResponseWriter, c call) {
		switch {
		case c.method == http.MethodGet:
			always(200, encode(session(nil)))(w, c)
		case busy > 0:
			busy--
			always(409, refusal("idempotency_error", "idempotency_key_in_use"))(w, c)
		default:
			always(200, encode(session(fields{"id": "vs_1New"})))(w, c)
		}
	})
	newID, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "")
	if err != nil || newID != "vs_1New" || busy != 0 {
		t.Fatalf("CreateLike = %q, %v; %d refusals left", newID, err, busy)
	}
}

func TestCreateLikeDoesNotWaitForEver(t *testing.T) {
	s := replacing(t, session(nil), 409, refusal("idempotency_error", "idempotency_key_in_use"))
	ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
	defer cancel()
	_, err := dial(t, s.URL, nil).CreateLike(ctx, "", id, "")
	if !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Fatalf("error %v, want ErrStripeUnavailable", err)
	}
}
