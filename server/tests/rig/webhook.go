package rig

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

// Fields is a part of a JSON object.
type Fields = map[string]any

// Event is the body of a webhook. It is built here and not by the simulator, as a second opinion of its form.
type Event struct {
	ID, Session string
	Body        []byte
}

// NewEvent returns an event. object has the fields that differ from a session that waits for its first input.
func NewEvent(id, kind, session string, second int64, version any, object Fields) Event {
	o := Fields{
		"id": session, "object": "identity.verification_session", "created": second - second%1000,
		"client_reference_id": nil, "last_error": nil, "last_verification_report": nil, "livemode": false,
		"metadata": Fields{}, "options": Fields{"document": Fields{}}, "redaction": nil, "status": "requires_input",
		"type": "document",
	}
	for name, value := range object {
		o[name] = value
	}
	body, err := json.Marshal(Fields{
		"id": id, "object": "event", "api_version": version, "created": second, "data": Fields{"object": o},
		"livemode": false, "pending_webhooks": 1, "request": Fields{"id": nil, "idempotency_key": nil},
		"type": "identity.verification_session." + kind,
	})
	if err != nil {
		panic(err)
	}
	return Event{ID: id, Session: session, Body: body}
}

// NewThinEvent returns a thin event of a session. more has the fields that differ, such as context or snapshot_event.
func NewThinEvent(id, kind, session string, at time.Time, more Fields) Event {
	body := Fields{
		"id": id, "object": "v2.core.event", "type": "v1.identity.verification_session." + kind, "livemode": false,
		"created": at.UTC().Format("2006-01-02T15:04:05.000Z"), "context": nil, "reason": nil,
		"related_object": Fields{"id": session, "type": "identity.verification_session", "url": "/v1/identity/verification_sessions/" + session},
	}
	for name, value := range more {
		body[name] = value
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return Event{ID: id, Session: session, Body: text}
}

// LastError returns the last_error of a failed submission.
func LastError(code string) Fields {
	return Fields{"code": code, "reason": "The submission failed: " + code + "."}
}

// Tries returns n events of a session that fails again and again. Each event makes one revision.
func Tries(id string, n int) []Event {
	second := time.Now().Unix() - 3000
	events := []Event{NewEvent("evt_"+id+"_0", "created", id, second, nil, Fields{})}
	for i := 1; i < n; i++ {
		second += 2
		kind, object := "processing", Fields{"status": "processing"}
		if i%2 == 0 {
			kind = "requires_input"
			object = Fields{"last_error": LastError("document_unverified_other"), "last_verification_report": fmt.Sprintf("%s_vr%d", id, i)}
		}
		events = append(events, NewEvent(fmt.Sprintf("evt_%s_%d", id, i), kind, id, second, nil, object))
	}
	return events
}

// Sign returns a Stripe-Signature header: docs.stripe.com/webhooks#verify-manually.
func Sign(at time.Time, secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// Post sends a body with a signature header. It returns the response, whose body is closed, and the text of the body.
func Post(client *http.Client, url, signature string, body []byte) (*http.Response, string, error) {
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
	text, err := ReadAll(response)
	return response, text, err
}

// Deliver sends an event with a fresh signature. The server must accept it.
func Deliver(t testing.TB, client *http.Client, url string, e Event) {
	t.Helper()
	response, text, err := Post(client, url, Sign(time.Now(), WebhookSecret, e.Body), e.Body) //nolint:bodyclose // Post has closed it
	if err != nil {
		t.Fatalf("event %s: %v", e.ID, err)
	}
	if response.StatusCode != http.StatusOK || text != `{"received":true}` {
		t.Fatalf("event %s: %s %q", e.ID, response.Status, text)
	}
}
