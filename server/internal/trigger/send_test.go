package trigger

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	stripewebhook "github.com/stripe/stripe-go/v76/webhook"
)

// Stripe's own library accepts the signature, with each of the secrets and with no other.
func TestSignIsStripes(t *testing.T) {
	body := []byte(`{"id":"evt_1"}`)
	header := Sign(body, time.Now(), []string{"whsec_one", "whsec_two"})
	for secret, ok := range map[string]bool{"whsec_one": true, "whsec_two": true, "whsec_three": false} {
		if err := stripewebhook.ValidatePayload(body, header, secret); (err == nil) != ok {
			t.Errorf("%s: %v", secret, err)
		}
	}
}

func TestSend(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string // a part of each line
		fails  bool
	}{
		"kept": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"received":true}`) }, `: 200 OK {"received":true}`, false},
		"202":  {func(w http.ResponseWriter) { w.WriteHeader(202) }, ": 202 Accepted\n", false},
		"400":  {func(w http.ResponseWriter) { http.Error(w, "not usable", 400) }, ": 400 Bad Request not usable\n", true},
		"a redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "/webhook/"); w.WriteHeader(301) },
			": 301 Moved Permanently to /webhook/", true},
		"escape codes": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "\x1b[2Jcleared") }, ": 200 OK [2Jcleared\n", false},
		"a long answer": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("x", 10_000)) },
			": 200 OK " + strings.Repeat("x", maxShown) + "\n", false},
		"no answer": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, ": no answer: EOF", true},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex // guards bodies and paths: a handler without an answer can end after its client
			var bodies, paths []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if err := stripewebhook.ValidatePayload(body, r.Header.Get("Stripe-Signature"), "whsec_planted"); err != nil || r.Method != http.MethodPost {
					t.Errorf("%s: %v", r.Method, err)
				}
				mu.Lock()
				bodies, paths = append(bodies, string(body)), append(paths, r.URL.RequestURI())
				mu.Unlock()
				tc.answer(w)
			}))
			t.Cleanup(server.Close)
			events, err := Make(Event{Type: "verified", Style: StyleBoth}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err = Send(t.Context(), server.URL+"/hook?a=b", []string{"whsec_planted"}, events, &out)
			if (err != nil) != tc.fails || err != nil && !strings.Contains(err.Error(), "2 of 2 events") {
				t.Errorf("error: %v", err)
			}
			if strings.Count(out.String(), tc.want) != 2 || strings.Count(out.String(), "\n") != 2 || strings.Contains(out.String(), "planted") {
				t.Errorf("wrote %q, want %q in each line", out.String(), tc.want)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, event := range events {
				if prefix := fmt.Sprintf("%s %s %s %s: ", event.Style, event.Type, event.EventID, event.About); !strings.Contains(out.String(), prefix) {
					t.Errorf("wrote %q, want %q in it", out.String(), prefix)
				}
				if bodies[i] != string(event.Body) || paths[i] != "/hook?a=b" {
					t.Errorf("request %d: %s %s", i, paths[i], bodies[i])
				}
			}
		})
	}
}

// One refusal among several events is a failure.
func TestSendCountsFailures(t *testing.T) {
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	events, err := Make(Event{Type: "verified", Style: StyleBoth}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), server.URL, []string{"whsec_planted"}, events, io.Discard); err == nil || !strings.Contains(err.Error(), "1 of 2 events") {
		t.Errorf("error: %v", err)
	}
	if err := Send(t.Context(), server.URL+"/%", []string{"whsec_planted"}, events[:1], io.Discard); err == nil || !strings.HasPrefix(err.Error(), "the event was not") {
		t.Errorf("error of one event: %v", err)
	}
}
