package app

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// TestSessionsThatTheKeyDoesNotKnow: each way to such a session leads to one warning an hour, and a session that is not
// known here to none.
func TestSessionsThatTheKeyDoesNotKnow(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"resource_missing"}}`))
	}))
	t.Cleanup(api.Close)
	client, err := stripeapi.New(stripeapi.Config{
		Key: func() verification.Secret { return "sk_test_1" }, Base: api.URL, RatePerSecond: 10_000, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{redistest.Imitate(t).Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	ctx := t.Context()
	if _, err := kept.Update(ctx, "vs_known", func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.Transition(current, verification.Event{ID: "evt_1", Second: 1, Object: verification.Object{
			ID: "vs_known", Account: "acct_1", Status: verification.StatusProcessing,
		}})
		return next, outcome.Write, nil
	}); err != nil {
		t.Fatal(err)
	}
	now, logs := time.Unix(1_790_000_000, 0), &bytes.Buffer{}
	watched := watchedStripe{client, kept, &unknownSessions{clock: func() time.Time { return now }, logger: slog.New(slog.NewTextHandler(logs, nil))}}
	wantWarnings := func(when string, want int, part string) {
		t.Helper()
		if got := strings.Count(logs.String(), "is STRIPE_API_KEY of the same account as the webhook?"); got != want || !strings.Contains(logs.String(), part) {
			t.Errorf("%s: %d warnings; want %d, with %q:\n%s", when, got, want, part, logs)
		}
		logs.Reset()
	}
	read := func(purpose verification.Purpose, id string) {
		t.Helper()
		if _, err := watched.Read(ctx, purpose, "acct_1", id); err == nil {
			t.Error("Stripe knows the session")
		}
	}

	read(verification.PurposeLookup, "vs_new")
	read(verification.PurposeCatchUp, "vs_new")
	wantWarnings("sessions that are not known here", 0, "")

	read(verification.PurposeCatchUp, "vs_known")
	wantWarnings("a catch-up", 1, "answers=1 session_id=vs_known account=acct_1")
	read(verification.PurposeLookup, "vs_known")
	read(verification.PurposeAmbiguous, "vs_new")
	if _, err := watched.Retrieve(ctx, "acct_1", "vs_known"); err == nil {
		t.Error("Stripe knows the session")
	}
	now = now.Add(warnUnknownEvery - time.Second)
	read(verification.PurposeCatchUp, "vs_known")
	wantWarnings("within the hour", 0, "")
	now = now.Add(time.Second)
	read(verification.PurposeAmbiguous, "vs_new")
	wantWarnings("an hour later", 1, "answers=5 session_id=vs_new")
	now = now.Add(warnUnknownEvery)
	if _, err := watched.Retrieve(ctx, "acct_1", "vs_known"); err == nil {
		t.Error("Stripe knows the session")
	}
	wantWarnings("a retry", 1, "answers=1 session_id=vs_known")
}
