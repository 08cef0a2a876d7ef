package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/importing"
	"example.com/verification-status/server/internal/readiness"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

const importKey = "sk_test_simulated"

// importFrom returns a simulated Stripe with sessions of two accounts over a year, and the settings to import them.
func importFrom(t *testing.T, sessions int) (*stripesim.Sim, *config.Config) {
	t.Helper()
	now := time.Now().Add(-365 * 24 * time.Hour)
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{importKey}, BaseURL: "http://127.0.0.1:1", ProcessingDelay: stripesim.OnDemand, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	step := 364 * 24 * time.Hour / time.Duration(sessions)
	for i := range sessions {
		now = now.Add(step)
		made, err := sim.Create(stripesim.NewSession{Account: []string{"", "", "acct_1"}[i%3]})
		if err != nil {
			t.Fatal(err)
		}
		for _, do := range [][]func(string) error{
			{}, {submit(sim, "verified"), sim.FinishProcessing}, {submit(sim, "document_expired"), sim.FinishProcessing}, {sim.Cancel},
			{submit(sim, "verified"), sim.FinishProcessing, sim.Redact},
		}[i%5] {
			if err := do(made.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	now = time.Now()
	api := httptest.NewServer(sim.Handler())
	t.Cleanup(api.Close)
	return sim, &config.Config{
		StripeAPIKey: importKey, StripeAPIBase: api.URL, APIReadsPerDay: 1, CallerSharePercent: 25,
		RedisURL: "redis://" + redistest.Imitate(t).Addr(), RedisMode: "standalone", RedisKeyPrefix: "vs:", FeedMaxLen: 100_000,
		StripeAccounts: "acct_1", MaxRetries: 2,
	}
}

func submit(sim *stripesim.Sim, outcome string) func(string) error {
	return func(id string) error { return sim.Submit(id, outcome) }
}

func importNow(t *testing.T, c *config.Config, options ImportOptions) (summary, progress string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var lines bytes.Buffer
	options.Progress = &lines
	summary, err = Import(ctx, c, options, Hooks{StripeRate: 10_000}, slog.New(slog.DiscardHandler))
	return summary, lines.String(), err
}

func TestImportBringsInEverySession(t *testing.T) {
	sim, c := importFrom(t, 600)
	// A limit that is reached ends the run, and the same command resumes. API_READS_PER_DAY has no effect.
	summary, _, err := importNow(t, c, ImportOptions{Reads: 5})
	if !errors.Is(err, importing.ErrReads) || !strings.Contains(summary, "To resume, run the same command again") {
		t.Fatalf("error %v\n%s", err, summary)
	}
	summary, progress, err := importNow(t, c, ImportOptions{})
	if err != nil || !strings.HasPrefix(summary, "import complete") || !strings.Contains(summary, "accounts: 2 done, 0 refused") || !strings.Contains(progress, "import: ") {
		t.Fatalf("error %v\n%s\n%s", err, summary, progress)
	}
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{strings.TrimPrefix(c.RedisURL, "redis://")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	for _, want := range sim.Sessions() {
		got, err := kept.Get(t.Context(), want.ID)
		if err != nil {
			t.Fatalf("%s: %v", want.ID, err)
		}
		failed := int32(0)
		if want.LastErrorCode != "" {
			failed = 1
		}
		redacted := want.Redaction != ""
		if got.Status != want.Status || got.Account != want.Account || got.Tombstone() != redacted || !redacted && got.Error.Code != want.LastErrorCode ||
			!redacted && got.Report != want.LastVerificationReport || got.FailedAttempts != failed || got.Revision != 1 {
			t.Errorf("%+v, want %+v", got.State, want)
		}
	}
	before := summary
	if summary, _, err = importNow(t, c, ImportOptions{}); err != nil || !strings.Contains(summary, "600; 0 new, 0 of them redacted; 600 known; 0 differed") {
		t.Errorf("a second import: error %v\n%s\nbefore: %s", err, summary, before)
	}
}

func TestImportOfOneAccountSince(t *testing.T) {
	_, c := importFrom(t, 60)
	if summary, _, err := importNow(t, c, ImportOptions{Accounts: []string{"acct_1"}, Since: time.Now().Add(-182 * 24 * time.Hour)}); err != nil || !strings.Contains(summary, "accounts: 1 done") || !strings.Contains(summary, "sessions: 10; 10 new") {
		t.Errorf("error %v\n%s", err, summary)
	}
	if summary, _, err := importNow(t, c, ImportOptions{Accounts: []string{importing.Platform}}); err != nil || !strings.Contains(summary, "sessions: 40; 40 new") {
		t.Errorf("error %v\n%s", err, summary)
	}
}

func TestImportThatCannotBegin(t *testing.T) {
	_, c := importFrom(t, 1)
	if _, _, err := importNow(t, c, ImportOptions{Accounts: []string{"acct_2"}}); err == nil || !strings.Contains(err.Error(), "STRIPE_ACCOUNTS") {
		t.Errorf("an account that is not accepted: %v", err)
	}
	unkeyed := *c
	unkeyed.StripeAPIKey = ""
	if _, _, err := importNow(t, &unkeyed, ImportOptions{}); err == nil || !strings.Contains(err.Error(), "STRIPE_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	refused := *c
	refused.StripeAPIKey = "sk_test_another"
	if _, _, err := importNow(t, &refused, ImportOptions{}); !errors.Is(err, verification.ErrStripeUnauthorized) {
		t.Errorf("a key that Stripe refuses: %v", err)
	}
}

// An import is offered once: at a start with an API key and an empty store that can be reached.
func TestAnImportIsOffered(t *testing.T) {
	const offer = "server import"
	_, c := importFrom(t, 3)
	start := func(c *config.Config) string {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		a := &App{config: c, logger: logger, clock: time.Now, metrics: telemetry.NewMetrics()}
		var err error
		if a.current, err = config.NewCurrent(c); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.openStore(), a.openStripe(Hooks{Clock: time.Now})); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.close() }()
		a.readiness = readiness.New(readiness.Config{Store: a.store, Logger: logger, Publish: func(bool) {}, Refused: func(string) {}})
		if err := a.readiness.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.offerImport(t.Context())
		return log.String()
	}
	unkeyed, away := *c, *c
	unkeyed.StripeAPIKey, away.RedisURL = "", "redis://127.0.0.1:1"
	for name, test := range map[string]struct {
		config  *config.Config
		offered bool
	}{"empty": {c, true}, "without a key": {&unkeyed, false}, "Redis is away": {&away, false}} {
		if log := start(test.config); strings.Contains(log, offer) != test.offered {
			t.Errorf("%s: offered %v, want %v\n%s", name, !test.offered, test.offered, log)
		}
	}
	if _, _, err := importNow(t, c, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if log := start(c); strings.Contains(log, offer) {
		t.Errorf("offered although the store has sessions:\n%s", log)
	}
}

// Stripe refuses an account: the command fails, and says which one, and imports the others.
func TestImportFailsIfAnAccountIsRefused(t *testing.T) {
	sim, c := importFrom(t, 30)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Stripe-Account") == "acct_1" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"account_invalid"}}`))
			return
		}
		sim.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	c.StripeAPIBase = api.URL
	if summary, _, err := importNow(t, c, ImportOptions{}); err == nil || !strings.Contains(err.Error(), "acct_1") || !strings.Contains(summary, "20 new") || !strings.Contains(summary, "1 done, 1 refused") {
		t.Errorf("error %v\n%s", err, summary)
	}
}
