package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// scripted is a store with fixed answers.
type scripted struct {
	store.Store
	err   error
	tries int
}

func (s *scripted) Update(_ context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	for range s.tries {
		if _, _, err := fn(verification.Session{ID: id}); err != nil {
			return verification.Session{}, err
		}
	}
	return verification.Session{ID: id}, s.err
}

func page(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}

func TestUpdatesAreCounted(t *testing.T) {
	for name, test := range map[string]struct {
		store  scripted
		write  bool
		fnErr  error
		result string
	}{
		"committed at the third try": {scripted{tries: 3}, true, nil, "committed"},
		"nothing to write":           {scripted{tries: 1}, false, nil, "unchanged"},
		"others were faster":         {scripted{tries: 16, err: fmt.Errorf("session: %w", store.ErrConflict)}, true, nil, "conflict"},
		"Redis is away":              {scripted{err: store.ErrUnavailable}, true, nil, "unavailable"},
		"too late":                   {scripted{err: context.DeadlineExceeded}, true, nil, "unavailable"},
		"the caller has gone":        {scripted{err: context.Canceled}, true, nil, "canceled"},
		"unreadable":                 {scripted{err: store.ErrCorrupt}, true, nil, "failed"},
		"refused by the rules":       {scripted{tries: 1}, false, errors.New("planted"), "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			m := telemetry.NewMetrics()
			_, err := observedStore{&test.store, m, nil}.Update(t.Context(), "vs_1", func(current verification.Session) (verification.Session, bool, error) {
				return current, test.write, test.fnErr
			})
			if (err != nil) != (test.store.err != nil || test.fnErr != nil) {
				t.Errorf("error %v", err)
			}
			text := page(t, m)
			for _, want := range []string{
				fmt.Sprintf(`verification_commit_duration_seconds_count{result=%q} 1`, test.result),
				fmt.Sprintf(`verification_commit_conflicts_total %d`, max(0, test.store.tries-1)),
				fmt.Sprintf(`verification_commit_tries_sum %d`, test.store.tries),
			} {
				if !strings.Contains(text, want+"\n") {
					t.Errorf("no line %s", want)
				}
			}
		})
	}
}

// TestWebhooksAreCountedBesideAHook: the metrics and the hook both get every webhook.
func TestWebhooksAreCountedBesideAHook(t *testing.T) {
	a, observed := &App{metrics: telemetry.NewMetrics(), clock: time.Now}, 0
	observe := a.webhookObserver(func(webhook.Result) { observed++ })
	observe(webhook.Result{Status: 400, Reason: webhook.ReasonWrongSignature})
	observe(webhook.Result{Status: 200, Reason: webhook.ReasonApplied})
	observe(webhook.Result{Status: 200, Reason: webhook.ReasonNotIdentity})
	if observed != 3 {
		t.Errorf("the hook saw %d of 3 webhooks", observed)
	}
	for _, want := range []string{`reason="wrong_signature",status="400"`, `reason="applied",status="200"`, `reason="not_identity",status="200"`} {
		if text := page(t, a.metrics); !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s:\n%s", want, text)
		}
	}
}

// TestRefusedWebhooksAreShed: each limit of webhooks is counted by its name, and logs one warning.
func TestRefusedWebhooksAreShed(t *testing.T) {
	for reason, limit := range map[webhook.Reason]string{
		webhook.ReasonOverloaded:  "WEBHOOK_MAX_IN_FLIGHT",
		webhook.ReasonLargeBodies: "none: it is fixed for large bodies of webhooks",
	} {
		m, log := telemetry.NewMetrics(), &strings.Builder{}
		nobody := func(context.Context) string { return "" }
		a := &App{metrics: m, clock: time.Now, shedding: telemetry.NewShedding(m, slog.New(slog.NewTextHandler(log, nil)), nobody)}
		for range 3 {
			a.observeWebhook(webhook.Result{Status: 429, Reason: reason})
		}
		if want := fmt.Sprintf("verification_shed_total{limit=%q,what=\"webhook\"} 3\n", limit); !strings.Contains(page(t, m), want) {
			t.Errorf("the metrics lack %s", want)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 1 || !strings.Contains(log.String(), limit) {
			t.Errorf("%d warnings, want one that names %s:\n%s", got, limit, log)
		}
	}
}

// TestRefusedKeysAreCountedFromZero: Prometheus sees no increase in a count that begins with one.
func TestRefusedKeysAreCountedFromZero(t *testing.T) {
	m := telemetry.NewMetrics()
	showRefusedKeys(m)
	for _, operation := range []string{"retrieve", "find", "create", "ephemeral_key", "events", "event"} {
		if want := fmt.Sprintf("verification_stripe_calls_total{operation=%q,outcome=\"unauthorized\"} 0\n", operation); !strings.Contains(page(t, m), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
