package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/reconcile"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// The command reconcile fails as long as an account is behind, and says which one and since when.
func TestCatchUpFailsWhileAnAccountIsBehind(t *testing.T) {
	const key = "sk_test_simulated"
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{key}, BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	refuse := true
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse && r.Header.Get("Stripe-Account") == "acct_1" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"more_permissions_required"}}`))
			return
		}
		sim.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	for _, account := range []string{"", "acct_1", "acct_2"} {
		if _, err := sim.Create(stripesim.NewSession{Account: account}); err != nil {
			t.Fatal(err)
		}
	}
	c := &config.Config{
		StripeAPIKey: key, StripeAPIBase: api.URL, APIReadsPerDay: 1000,
		RedisURL: "redis://" + redistest.Imitate(t).Addr(), RedisMode: "standalone", RedisKeyPrefix: "vs:", FeedMaxLen: 1000,
		StripeAccounts: "acct_1,acct_2", MaxRetries: 2,
	}
	run := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return CatchUp(ctx, c, CatchUpOptions{}, slog.New(slog.DiscardHandler))
	}
	text, err := run()
	if err == nil || !strings.Contains(err.Error(), "acct_1") || !strings.Contains(text, "ended, but not complete") || !strings.Contains(text, "behind:   acct_1 since 20") {
		t.Errorf("error %v\n%s", err, text)
	}
	refuse = false
	if text, err = run(); err != nil || !strings.HasPrefix(text, "catch-up complete") || !strings.Contains(text, "3 caught up, 0 refused") {
		t.Errorf("error %v\n%s", err, text)
	}
}

// The command reconcile fails if another replica has a lease for as long as the command waits, and says what to do. It waits for one that
// ends before. It fails too if the day's reads do not suffice for the sessions that are due.
func TestCatchUpFailsUnlessItIsDone(t *testing.T) {
	const key = "sk_test_simulated"
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{key}, BaseURL: "http://127.0.0.1:1", Now: func() time.Time { return time.Now().AddDate(0, 0, -2) },
	})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim.Handler())
	t.Cleanup(api.Close)
	redis := redistest.Imitate(t)
	c := &config.Config{
		StripeAPIKey: key, StripeAPIBase: api.URL, APIReadsPerDay: 1000,
		RedisURL: "redis://" + redis.Addr(), RedisMode: "standalone", RedisKeyPrefix: "vs:", FeedMaxLen: 1000, MaxRetries: 2,
	}
	run := func(options CatchUpOptions) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return CatchUp(ctx, c, options, slog.New(slog.DiscardHandler))
	}
	if _, err := run(CatchUpOptions{Full: true, Session: "vs_1"}); err == nil || !strings.Contains(err.Error(), "choose one") {
		t.Errorf("all events and one session: error %v", err)
	}
	for name, want := range map[string]string{
		"vs:lease:catch-up": "the catch-up is not done, because another replica is doing it: run server reconcile again when",
		"vs:lease:lists":    "the lists are not repaired, because another replica is doing it: run server reconcile again when",
	} {
		for _, full := range []bool{false, true} {
			redis.Set(name, "another")
			text, err := run(CatchUpOptions{Full: full, Wait: time.Nanosecond})
			if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(strings.ToLower(text), "stopped early: another replica") {
				t.Errorf("with %s, full %v: error %v, want %q\n%s", name, full, err, want, text)
			}
		}
		time.AfterFunc(100*time.Millisecond, func() { redis.Del(name) })
		if text, err := run(CatchUpOptions{Wait: 20 * time.Second}); err != nil || !strings.HasPrefix(text, "catch-up complete") {
			t.Errorf("with %s, which another replica releases: error %v\n%s", name, err, text)
		}
	}

	for range 8 {
		created, err := sim.Create(stripesim.NewSession{})
		if err != nil {
			t.Fatal(err)
		}
		if err := sim.Submit(created.ID, "verified"); err != nil {
			t.Fatal(err)
		}
	}
	c.APIReadsPerDay = 6 // a page of events, and fewer sessions than are due
	text, err := run(CatchUpOptions{})
	if err == nil || !strings.Contains(err.Error(), "run server reconcile again, without --full, and it resumes") || !strings.HasPrefix(text, "catch-up stopped early: reading session") || strings.Contains(err.Error(), "behind") {
		t.Errorf("with too few reads for the sessions that are due: error %v\n%s", err, text)
	}
}

func TestCatchUpsAreCountedByTheirEnd(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	m := telemetry.NewMetrics()
	a := &App{metrics: m, clock: func() time.Time { return now }}
	none, one := []reconcile.Behind{}, []reconcile.Behind{{Account: "acct_1", Since: time.Unix(1_780_000_000, 0)}}
	const series = `verification_catch_up_behind_since_timestamp_seconds{account="acct_1"} 1.78e+09`
	for _, step := range []struct {
		summary reconcile.Summary
		err     error
		result  string
		behind  bool
	}{
		{reconcile.Summary{Behind: one}, nil, "incomplete", true},
		{reconcile.Summary{}, errors.New("planted"), "failed", true}, // not known: the metric keeps its value
		{reconcile.Summary{Behind: none}, nil, "done", false},
		{reconcile.Summary{Behind: one, Stopped: verification.ErrStripeBudget}, nil, "stopped", true},
	} {
		a.observeCatchUp(step.summary, step.err)
		text := page(t, m)
		if !strings.Contains(text, `verification_catch_ups_total{result="`+step.result+`"} 1`) || strings.Contains(text, series) != step.behind {
			t.Errorf("%s: behind %v\n%s", step.result, step.behind, text)
		}
	}
}
