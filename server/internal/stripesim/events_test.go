package stripesim

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

func eventSession(t fatal, body []byte) sessionObject {
	t.Helper()
	var e struct {
		Data struct{ Object sessionObject }
	}
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatalf("event body: %v", err)
	}
	return e.Data.Object
}

func TestEventEnvelope(t *testing.T) {
	at := time.Unix(1_790_000_000, 999_999_999)
	b := newBench(t, Config{APIVersion: "2025-09-30.clover", Now: func() time.Time { return at }, Endpoints: hookless})
	sess := b.call("POST", sessionsPath, url.Values{"type": {"document"}, "client_reference_id": {"u1"}, "metadata[a&b]": {"<x>"}},
		"Idempotency-Key", "key-1").session(t)
	must(t, b.Submit(sess.ID, "document_expired"))
	must(t, b.Submit(sess.ID, OutcomeVerified))

	events := b.Events()
	var created map[string]any
	must(t, json.Unmarshal(events[0].Body, &created))
	data := created["data"].(map[string]any)
	object := data["object"].(map[string]any)
	if link, ok := object["url"].(string); !ok || !strings.HasPrefix(link, b.url+"/verify/") {
		t.Errorf("created: url is %v", object["url"])
	}
	if s, ok := object["client_secret"].(string); !ok || !strings.HasPrefix(s, sess.ID+"_secret_") {
		t.Errorf("created: client_secret is missing")
	}
	delete(object, "url")
	delete(object, "client_secret")
	request := created["request"].(map[string]any)
	if !regexp.MustCompile(`^req_[A-Za-z0-9]{14}$`).MatchString(request["id"].(string)) {
		t.Errorf("request id %v", request["id"])
	}
	delete(request, "id")
	want := map[string]any{
		"id": events[0].ID, "object": "event", "api_version": "2025-09-30.clover", "created": 1_790_000_000.0,
		"livemode": false, "pending_webhooks": 1.0, "type": eventCreated,
		"request": map[string]any{"idempotency_key": "key-1"},
		"data": map[string]any{"object": map[string]any{
			"id": sess.ID, "object": "identity.verification_session", "client_reference_id": "u1", "created": 1_790_000_000.0,
			"last_error": nil, "last_verification_report": nil, "livemode": false, "metadata": map[string]any{"a&b": "<x>"},
			"options": map[string]any{"document": map[string]any{}}, "provided_details": nil, "redaction": nil,
			"related_customer": nil, "related_customer_account": nil, "status": "requires_input", "type": "document",
		}},
	}
	if diff := cmp.Diff(want, created); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(events[0].Body), "\n  \"") || !strings.Contains(string(events[0].Body), `"a&b": "<x>"`) {
		t.Error("the body is not indented and unescaped, as Stripe's is")
	}

	failed := eventSession(t, events[2].Body)
	if failed.URL == nil || failed.ClientSecret == nil || failed.LastError.Reason != "The document is expired." {
		t.Errorf("requires_input: %+v", failed)
	}
	verified := eventSession(t, events[4].Body)
	if verified.URL != nil || verified.ClientSecret != nil || verified.LastVerificationReport == nil {
		t.Errorf("verified: %+v", verified)
	}
	if !strings.Contains(string(events[4].Body), `"id": null`) || strings.Contains(string(events[4].Body), "verified_outputs") {
		t.Error("verified: request.id must be null, verified_outputs absent")
	}
}

func TestEventsOfAccountsAndModes(t *testing.T) {
	b := newBench(t, Config{})
	own := b.create()
	connected := b.call("POST", sessionsPath, url.Values{"type": {"document"}}, "Stripe-Account", "acct_1")
	live := b.call("POST", sessionsPath, url.Values{"type": {"document"}}, "Authorization", "Bearer "+liveKey)
	if connected.status != 200 || live.status != 200 || !live.session(t).Livemode {
		t.Fatalf("%+v %+v", connected, live)
	}
	var got []map[string]any
	for _, e := range b.Events() {
		var m map[string]any
		must(t, json.Unmarshal(e.Body, &m))
		got = append(got, m)
	}
	if _, has := got[0]["account"]; has || got[0]["livemode"] != false || got[0]["api_version"] != nil {
		t.Errorf("own: %v", got[0])
	}
	if got[1]["account"] != "acct_1" || b.Events()[1].Account != "acct_1" || got[2]["livemode"] != true {
		t.Errorf("connected and live: %v %v", got[1], got[2])
	}
	// Each is there only for its own account and mode.
	for path, header := range map[string][]string{
		sessionsPath + "/" + own.ID:                  {"Stripe-Account", "acct_1"},
		sessionsPath + "/" + live.session(t).ID:      nil,
		sessionsPath + "/" + connected.session(t).ID: {"Authorization", "Bearer " + liveKey},
	} {
		if a := b.call("GET", path, nil, header...); a.status != 404 || a.errorOf(t).Code != "resource_missing" {
			t.Errorf("%s with %v: %d", path, header, a.status)
		}
	}
	if sess, err := b.Create(NewSession{Account: "acct_2", Livemode: true}); err != nil || sess.Account != "acct_2" || !sess.Livemode {
		t.Errorf("Create: %+v %v", sess, err)
	}
	if _, err := b.Create(NewSession{Account: "nobody"}); err == nil {
		t.Error("a malformed account was taken")
	}
}

func TestTheNewestEventsAreKept(t *testing.T) {
	b := newBench(t, Config{MaxEvents: 3})
	var all []string
	for range 10 {
		sess, err := b.Create(NewSession{})
		must(t, err)
		all = append(all, sess.ID)
		var kept []string
		for _, e := range b.Events() {
			kept = append(kept, e.SessionID)
		}
		if want := all[max(0, len(all)-3):]; !slices.Equal(kept, want) {
			t.Fatalf("kept %v, want %v", kept, want)
		}
	}
}
