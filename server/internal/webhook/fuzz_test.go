package webhook_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// FuzzHandler: for any body and signature, the answer is one of a few, nothing panics, and an event is kept only if it was signed. If
// signed is true, the signature is valid, so that the decoder gets the body.
func FuzzHandler(f *testing.F) {
	good := sign(verifiedEvent, now, secret)
	f.Add([]byte(verifiedEvent), good, false)
	f.Add([]byte(verifiedEvent), "", true)
	f.Add([]byte(verifiedEvent[:200]), "", true)
	f.Add([]byte(eventAs("_session.verified", "_session.redacted", `"last_error":{`, `"redaction":{"status":"redacted"},"last_error":{`)), "", true)
	f.Add([]byte(eventAs(`"object":"event"`, `"object":"v2.core.event"`)), "", true)
	f.Add([]byte(strings.Repeat("[", 500)), "", true)
	f.Add([]byte(`{"object":"event","data":`+strings.Repeat(`{"object":`, 200)), "", true)
	f.Add([]byte{}, good+","+good, false)
	f.Add([]byte("x"), "t=9223372036854775807,v1=00", false)
	f.Add([]byte("x"), "t=1790000300"+strings.Repeat(",v1=00", 65), false)
	f.Fuzz(func(t *testing.T, body []byte, signature string, signed bool) {
		if signed {
			signature = sign(string(body), now, secret)
		}
		keeper := &keeper{}
		results := make(chan webhook.Result, 2)
		handler, err := webhook.New(webhook.Config{
			Applier: keeper, Secrets: func() []verification.Secret { return []verification.Secret{secret} },
			Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
			Observe: func(r webhook.Result) { results <- r },
		})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, webhook.Path, bytes.NewReader(body))
		request.Header.Set("Stripe-Signature", signature)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)

		result, kept := await.One(t, results), keeper.kept()
		switch {
		case result.Status != answer.Code || len(results) > 0:
			t.Fatalf("answered %d, observed %+v and %d more", answer.Code, result, len(results))
		case answer.Code == http.StatusOK && answer.Body.String() != received:
			t.Fatalf("body %q", answer.Body)
		case answer.Code != http.StatusOK && answer.Code != http.StatusBadRequest && answer.Code != http.StatusRequestEntityTooLarge:
			t.Fatalf("answered %d, %+v", answer.Code, result)
		case (len(kept) == 1) != (result.Reason == webhook.ReasonApplied):
			t.Fatalf("%d events kept, %+v", len(kept), result)
		case !signed && answer.Code == http.StatusOK && !strings.Contains(strings.ToLower(signature), sign(string(body), now, secret)[len("t=1790000300,v1="):]):
			t.Fatalf("accepted unsigned: %q", signature)
		}
		for _, event := range kept {
			if !stripeevent.ValidSessionID(event.Object.ID) || event.ID == "" || event.Source != verification.SourceWebhook {
				t.Fatalf("kept %+v", event)
			}
		}
	})
}
