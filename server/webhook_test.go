package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fields is a JSON object of which a test says a part.
type fields = map[string]any

// event is a webhook's body, built here and not by the simulator: a second opinion of its form.
type event struct {
	id, session string
	body        []byte
}

// newEvent makes an event. object holds what differs from a session that waits for its first input.
func newEvent(id, kind, session string, second int64, version any, object fields) event {
	o := fields{
		"id": session, "object": "identity.verification_session", "created": second - second%1000,
		"client_reference_id": nil, "last_error": nil, "last_verification_report": nil, "livemode": false,
		"metadata": fields{}, "options": fields{"document": fields{}}, "redaction": nil, "status": "requires_input",
		"type": "document",
	}
	for name, value := range object {
		o[name] = value
	}
	body, err := json.Marshal(fields{
		"id": id, "object": "event", "api_version": version, "created": second, "data": fields{"object": o},
		"livemode": false, "pending_webhooks": 1, "request": fields{"id": nil, "idempotency_key": nil},
		"type": "identity.verification_session." + kind,
	})
	if err != nil {
		panic(err)
	}
	return event{id: id, session: session, body: body}
}

func failed(code string) fields {
	return fields{"code": code, "reason": "The submission failed: " + code + "."}
}

// sign is Stripe's scheme by the letter: docs.stripe.com/webhooks#verify-manually.
func sign(at time.Time, secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// post sends a body with a signature header, and returns the status and the answer.
func post(client *http.Client, url, signature string, body []byte) (*http.Response, string, error) {
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("Stripe-Signature", signature)
	response, err := client.Do(request)
	if err != nil {
		return nil, "", err
	}
	text, err := readAll(response)
	return response, text, err
}

// deliver sends an event with a fresh signature: it must be taken.
func deliver(t testing.TB, client *http.Client, url string, e event) {
	t.Helper()
	response, text, err := post(client, url, sign(time.Now(), webhookSecret, e.body), e.body)
	if err != nil {
		t.Fatalf("event %s: %v", e.id, err)
	}
	if response.StatusCode != http.StatusOK || text != `{"received":true}` {
		t.Fatalf("event %s: %s %q", e.id, response.Status, text)
	}
}
