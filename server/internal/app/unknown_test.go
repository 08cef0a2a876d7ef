package app

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
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

// TestASessionThatStripeDoesNotKnowIsMarked: a retry or a refresh makes it due, if it requires input and is of this account.
func TestASessionThatStripeDoesNotKnowIsMarked(t *testing.T) {
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
	watched := watchedStripe{client, kept, &unknownSessions{clock: time.Now, logger: slog.New(slog.DiscardHandler)}}
	retry := func(account, id string) error {
		_, err := watched.Retrieve(ctx, account, id)
		return err
	}
	refresh := func(account, id string) error {
		_, err := watched.Read(ctx, verification.PurposeLookup, account, id)
		return err
	}
	for id, test := range map[string]struct {
		ask     func(account, id string) error
		account string
		due     bool
	}{
		"vs_retry": {retry, "acct_1", true}, "vs_refresh": {refresh, "acct_1", true}, "vs_otherRetry": {retry, "", false}, "vs_otherRefresh": {refresh, "", false},
	} {
		if _, err := kept.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
			next, outcome := verification.Transition(current, verification.Event{ID: "evt_" + id, Second: 1, Object: verification.Object{
				ID: id, Account: "acct_1", Status: verification.StatusRequiresInput,
			}})
			return next, outcome.Write, nil
		}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := test.ask(test.account, id); err == nil {
				t.Errorf("%s: Stripe knows the session", id)
			}
			got, err := kept.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if _, due := got.DueAt(); due != test.due || got.Revision != 1 || got.Absence.Times != 0 {
				t.Errorf("%s: due %v, revision %d, %+v; want due %v, revision 1 and no count", id, due, got.Revision, got.Absence, test.due)
			}
		}
		ids, err := kept.Due(ctx, kept.Partition(id), 1_000_000, 0, 10)
		if err != nil || slices.Contains(ids, id) != test.due {
			t.Errorf("%s: error %v, listed as due: %v; want %v", id, err, ids, test.due)
		}
	}
}
