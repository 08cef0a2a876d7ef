package app

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/endpoints"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/webhook"
)

// endpointRig is an App that only looks at its endpoint, at a Stripe with two fixed lists.
func endpointRig(t *testing.T, first, second string) (*App, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := first
		if strings.HasPrefix(r.URL.Path, "/v2/") {
			body = second
		}
		var status int
		if n, _ := fmt.Sscanf(body, "%d", &status); n == 1 {
			w.WriteHeader(status)
			body = `{"error":{"type":"invalid_request_error","message":"planted"}}`
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c := config.Defaults()
	c.RedisURL, c.StripeAPIKey, c.StripeAPIBase, c.StripeWebhookSecret = "redis://127.0.0.1:1", "rk_test_planted", server.URL, "whsec_planted01"
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	current, err := config.NewCurrent(c)
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	return &App{config: c, current: current, logger: slog.New(slog.NewTextHandler(log, nil)), metrics: telemetry.NewMetrics(), clock: time.Now}, log
}

func TestCheckEndpoint(t *testing.T) {
	const six = `"identity.verification_session.created","identity.verification_session.processing","identity.verification_session.requires_input",` +
		`"identity.verification_session.verified","identity.verification_session.canceled","identity.verification_session.redacted"`
	list := func(status, events string) string {
		return `{"object":"list","has_more":false,"data":[{"id":"we_1","object":"webhook_endpoint","url":"https://a.example/webhook","status":"` + status + `","enabled_events":[` + events + `]}]}`
	}
	const none, empty = `{"object":"list","data":[]}`, `{"data":[]}`
	for name, tc := range map[string]struct {
		first, second string
		want          endpoints.Problems
		log           string // a part; empty: there is none
		fails         bool
	}{
		"fine":                         {list("enabled", six), empty, 0, "", false},
		"disabled":                     {list("disabled", six), empty, endpoints.ProblemDisabled, "we_1 https://a.example/webhook is disabled", false},
		"lacks redacted":               {list("enabled", `"*"`), empty, endpoints.ProblemTypes, "identity.verification_session.redacted", false},
		"missing":                      {none, empty, endpoints.ProblemMissing, "the webhook endpoint at Stripe has a problem", false},
		"missing, as far as it can be": {none, "403", 0, "API v2 cannot be listed", false},
		"disabled, the rest unknown":   {list("disabled", six), "403", endpoints.ProblemDisabled, "is disabled", false},
		"no permission":                {"403", "403", 0, "permit the API key to read webhook endpoints", false},
		"no key that Stripe knows":     {"401", "401", 0, "permit the API key to read webhook endpoints", false},
		"no such API":                  {"404", "404", 0, "permit the API key", false},
		"Stripe is away":               {"503", "503", 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			a, log := endpointRig(t, tc.first, tc.second)
			for n := range 2 {
				got, err := a.checkEndpoint(t.Context())
				if endpoints.Problems(got) != tc.want || (err != nil) != tc.fails {
					t.Errorf("check %d: got %b, %v, want %b", n, got, err, tc.want)
				}
			}
			if text := log.String(); (text == "") != (tc.log == "") || !strings.Contains(text, tc.log) || strings.Contains(text, "planted") {
				t.Errorf("log: got %q, want %q in it", text, tc.log)
			}
			// What is no problem is said once.
			if lines := strings.Count(log.String(), "level=INFO"); lines > 1 || strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("%d lines of information: %s", lines, log)
			}
		})
	}
}

// The endpoints of an account with a key of its own are looked at by that key. The account needs none.
func TestCheckEndpointOfAnAccountWithAKey(t *testing.T) {
	const none, six = `{"object":"list","data":[]}`, `"*","identity.verification_session.redacted"`
	list := func(id, status string) string {
		return `{"object":"list","data":[{"id":"` + id + `","object":"webhook_endpoint","url":"https://a.example/webhook","status":"` + status + `","enabled_events":[` + six + `]}]}`
	}
	for name, tc := range map[string]struct {
		lists map[string]string // by key
		want  endpoints.Problems
		log   string
	}{
		"none":               {map[string]string{"rk_test_planted": list("we_1", "enabled"), "rk_test_own": none}, 0, ""},
		"it is fine":         {map[string]string{"rk_test_planted": list("we_1", "enabled"), "rk_test_own": list("we_2", "enabled")}, 0, ""},
		"it is disabled":     {map[string]string{"rk_test_planted": list("we_1", "enabled"), "rk_test_own": list("we_2", "disabled")}, endpoints.ProblemDisabled, "account=acct_2"},
		"only the account's": {map[string]string{"rk_test_planted": none, "rk_test_own": list("we_2", "enabled")}, endpoints.ProblemMissing, "has a problem"},
	} {
		t.Run(name, func(t *testing.T) {
			a, log := endpointRig(t, "", "")
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := none
				if !strings.HasPrefix(r.URL.Path, "/v2/") {
					body = tc.lists[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
				}
				_, _ = io.WriteString(w, body)
			}))
			t.Cleanup(server.Close)
			c := a.config
			c.StripeAPIBase, c.StripeAPIKey, c.StripeAPIKeyFile = server.URL, "", filepath.Join(t.TempDir(), "keys")
			err := os.WriteFile(c.StripeAPIKeyFile, []byte("rk_test_planted\nacct_2 rk_test_own\n"), 0o600)
			if err == nil {
				err = c.Load()
			}
			if err == nil {
				a.current, err = config.NewCurrent(c)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.checkEndpoint(t.Context())
			if endpoints.Problems(got) != tc.want || err != nil {
				t.Errorf("got %b, %v, want %b", got, err, tc.want)
			}
			if text := log.String(); strings.Contains(text, "has a problem") != (tc.want != 0) || !strings.Contains(text, tc.log) {
				t.Errorf("log: got %q, want %q in it", text, tc.log)
			}
		})
	}
}

func TestShowEndpoint(t *testing.T) {
	a, log := endpointRig(t, "", "")
	a.showEndpoint(int64(endpoints.ProblemDisabled | endpoints.ProblemTypes))
	for name, want := range map[string]string{"missing": "0", "disabled": "1", "wrong_path": "0", "missing_types": "1"} {
		if line := `verification_endpoint_problem{problem="` + name + `"} ` + want; !strings.Contains(page(t, a.metrics), line) {
			t.Errorf("no %s", line)
		}
	}
	for range 2 {
		a.showEndpoint(0)
	}
	if n := strings.Count(log.String(), "is in order"); n != 1 {
		t.Errorf("the correction is logged %d times: %s", n, log)
	}
}

// The counts that alerts compare are there before the first webhook.
func TestNoWebhooksAreShown(t *testing.T) {
	a, _ := endpointRig(t, "", "")
	a.showNoWebhooks()
	for _, want := range []string{
		`verification_webhooks_total{reason="applied",status="200",type="identity.verification_session.verified"} 0`,
		`verification_webhooks_total{reason="no_key",status="503",type="v1.identity.verification_session.verified"} 0`,
		`verification_webhooks_total{reason="wrong_signature",status="400",type=""} 0`,
	} {
		if !strings.Contains(page(t, a.metrics), want) {
			t.Errorf("no %s", want)
		}
	}
}

// A catch-up that finds events warns if no webhook has come to this replica for an hour.
func TestCatchUpWarnsOfSilence(t *testing.T) {
	a, log := endpointRig(t, "", "")
	now := time.Now()
	a.clock = func() time.Time { return now }
	a.webhook = &http.Server{}
	warned := func(missed int) bool {
		log.Reset()
		a.observeCatchUp(reconcile.Summary{Missed: reconcile.Effects{Applied: missed}}, nil)
		return strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), fmt.Sprintf("missed=%d", missed))
	}
	if !warned(25) {
		t.Errorf("25 events and no webhook ever: %q", log)
	}
	if warned(0) {
		t.Errorf("no events: %q", log)
	}
	a.observeWebhook(webhook.Result{Status: 404, Reason: webhook.ReasonWrongPath})
	if !warned(1) {
		t.Errorf("a webhook to another path: %q", log)
	}
	a.observeWebhook(webhook.Result{Status: 200, Reason: webhook.ReasonApplied})
	if warned(25) {
		t.Errorf("right after a webhook: %q", log)
	}
	now = now.Add(61 * time.Minute)
	if !warned(25) || !strings.Contains(log.String(), "last_webhook=") {
		t.Errorf("an hour after a webhook: %q", log)
	}
	a.webhook = nil
	if warned(25) {
		t.Errorf("the command that catches up has no webhooks: %q", log)
	}
}
