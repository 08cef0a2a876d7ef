package stripeapi_test

import (
	"context"
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

func TestCreateLike(t *testing.T) {
	canceled := func(change fields) fields {
		o := session(fields{"status": "canceled", "last_error": nil, "url": nil, "client_secret": nil})
		for name, value := range change {
			o[name] = value
		}
		return o
	}
	tests := []struct {
		name      string
		old       fields
		returnURL string
		want      url.Values
	}{
		{"plain", canceled(nil), "", url.Values{"type": {"document"}, "client_reference_id": {"case-17"}}},
		{"return URL", canceled(fields{"client_reference_id": nil}), "https://shop.example/back?a=b&c=d",
			url.Values{"type": {"document"}, "return_url": {"https://shop.example/back?a=b&c=d"}}},
		{"everything, and options that stripe-go does not know", canceled(fields{
			"options": fields{
				"document": fields{"allowed_types": []string{"passport", "id_card"}, "require_live_capture": false, "require_matching_selfie": true},
				"matching": fields{"dob": "similar", "name": nil}, "limit": 12345678901234567,
			},
			"metadata":         fields{"person": "p 1", "Team": "ü&b"},
			"provided_details": fields{"email": "a@example.com", "phone": nil},
			"verified_outputs": fields{"first_name": "planted"},
		}), "", url.Values{
			"type": {"document"}, "client_reference_id": {"case-17"},
			"options[document][allowed_types][0]": {"passport"}, "options[document][allowed_types][1]": {"id_card"},
			"options[document][require_live_capture]": {"false"}, "options[document][require_matching_selfie]": {"true"},
			"options[matching][dob]": {"similar"}, "options[limit]": {"12345678901234567"},
			"metadata[person]": {"p 1"}, "metadata[Team]": {"ü&b"}, "provided_details[email]": {"a@example.com"},
		}},
		{"a flow", canceled(fields{"type": "verification_flow", "verification_flow": "vf_1", "options": fields{}}), "",
			url.Values{"verification_flow": {"vf_1"}, "client_reference_id": {"case-17"}}},
		{"a type of the future", canceled(fields{"type": "palm", "options": nil, "metadata": nil}), "",
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

// A replica of the version before may have sent the same key, with the metadata as it is: then Stripe has
// that session, and gives it for that request alone.
func TestG9_TheRequestOfTheVersionBeforeIsRepeated(t *testing.T) {
	old := session(fields{"metadata": fields{"person": "p", verification.ReplacesKey: "vs_0"}})
	for _, known := range []bool{true, false} {
		s := serve(t, func(w http.ResponseWriter, c call) {
			switch {
			case c.method == http.MethodGet:
				always(200, encode(old))(w, c)
			case known && c.form.Get(claimField) == "vs_0":
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
		if len(calls) != 3 || calls[1].form.Get(claimField) != id || calls[2].form.Get(claimField) != "vs_0" || calls[2].form.Get("return_url") != "https://shop.example" {
			t.Errorf("the older request is known %v: calls %+v; want a GET, the POST and the POST as it was", known, calls)
		}
		for _, post := range calls[1:] {
			if key := post.header.Get("Idempotency-Key"); key != "verification-status-replace-"+id {
				t.Errorf("Idempotency-Key %q", key)
			}
		}
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
	for name, options := range map[string]any{"deep": deep, "wide": wide} {
		s := replacing(t, session(fields{"options": options}), 200, encode(session(fields{"id": "vs_1New"})))
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
