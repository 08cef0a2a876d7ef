package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// simulated puts the simulated Stripe behind a backend, spoken to by the true adapter. around may
// stand in front of it.
func simulated(t *testing.T, b *backend, around func(http.Handler) http.Handler) *stripesim.Sim {
	t.Helper()
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{"sk_test_simulated", "rk_test_simulated"}, Seed: 7, ProcessingDelay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	handler := sim.Handler()
	if around != nil {
		handler = around(handler)
	}
	server := httptest.NewServer(handler)
	api, err := stripeapi.New(stripeapi.Config{
		Key: func() verification.Secret { return "sk_test_simulated" }, SensitiveKey: func() verification.Secret { return "rk_test_simulated" }, Base: server.URL, RatePerSecond: 100_000, Clock: b.clock, Logger: b.logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close(); server.Close() })
	b.stripe = api
	return sim
}

// deliver brings every event of the simulator in that was not brought before, as the webhook would.
func deliver(t *testing.T, r *replica, sim *stripesim.Sim, from int) int {
	t.Helper()
	events := sim.Events()
	for _, e := range events[from:] {
		event, err := stripeevent.Decode(e.Body, stripeevent.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.apply(event)
	}
	return len(events)
}

// recorder notes every byte that goes to Redis.
type recorder struct {
	net.Conn
	into *syncBuffer
}

func (r recorder) Write(p []byte) (int, error) {
	_, _ = r.into.Write(p)
	return r.Conn.Write(p)
}

func TestG10_SecretsGoIntoTheResponseAndNowhereElse(t *testing.T) {
	b := newBackend(t)
	logged, stored, answered := &syncBuffer{}, &syncBuffer{}, &syncBuffer{}
	b.logger = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	keys := &fakeKeys{}
	sim := simulated(t, b, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/ephemeral_keys" {
				keys.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(teeing{w, answered}, r)
		})
	})
	b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return recorder{conn, stored}, err
	}
	r := b.replica(t)

	session, err := sim.Create(stripesim.NewSession{ClientReferenceID: "person"})
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	keep := func(response *verificationv1.RetryVerificationResponse) {
		secrets = append(secrets, response.GetUrl(), response.GetClientSecret())
	}
	keep(r.retry(retryRequest(session.ID)))
	submit(t, sim, session.ID, "document_expired")
	deliver(t, r, sim, 0)
	keep(r.retry(retryRequest(session.ID)))
	keyErrors := keys.askForAll(r, session.ID)
	if err := sim.Cancel(session.ID); err != nil {
		t.Fatal(err)
	}
	seen := deliver(t, r, sim, 0)
	keep(r.retry(replaceRequest(session.ID)))
	deliver(t, r, sim, seen)
	successor := r.status(session.ID).GetSupersededBy()
	keep(r.retry(retryRequest(successor)))
	// Errors on the way, too.
	r.apply(eventOf(1, 1, object("vs_canceled", "canceled")))
	_, err = r.RetryVerification(t.Context(), retryRequest("vs_canceled"))
	_, unknown := r.RetryVerification(t.Context(), retryRequest("vs_unknown"))
	errorTexts := fmt.Sprintf("%v %v %v", err, unknown, keyErrors)
	secrets = append(secrets, keys.planted...)

	// Those that Stripe gave and nobody asked for: each GET makes a link.
	for _, body := range strings.SplitAfter(answered.String(), "}\n") {
		var object struct {
			URL    string `json:"url"`
			Secret string `json:"client_secret"`
		}
		if json.Unmarshal([]byte(body), &object) == nil && object.Secret != "" {
			secrets = append(secrets, object.URL, object.Secret)
		}
	}
	if len(secrets) < 8 || !strings.Contains(stored.String(), session.ID) || !strings.Contains(logged.String(), session.ID) {
		t.Fatalf("%d secrets; the store got %d bytes, the log %d: this test sees nothing", len(secrets), len(stored.String()), len(logged.String()))
	}
	for _, secret := range append(secrets, "sk_test_simulated") {
		_, token, _ := strings.Cut(secret, "/verify/")
		for name, text := range map[string]string{"the store": stored.String(), "the log": logged.String(), "an error": errorTexts} {
			if strings.Contains(text, secret) || token != "" && strings.Contains(text, token) {
				t.Errorf("%s holds a secret", name)
			}
		}
	}
}

// keyAnswers are Stripe's answers to a request for an ephemeral key, by HTTP status. %s is a planted secret. The first one
// is a key.
var keyAnswers = []struct {
	status int
	body   string
}{
	{200, `{"id":"ephkey_1","object":"ephemeral_key","secret":"%s","expires":1790003600}`},
	{200, `{"object":"ephemeral_key","secret":"%s","associated_objects":[{"id":"vs_other","type":"identity.verification_session"}]}`},
	{200, `{"object":"another","secret":"%s"}`},
	{200, `%s`},
	{400, `{"error":{"type":"invalid_request_error","code":"parameter_invalid","message":"Not %[1]s","param":"%[1]s"}}`},
	{401, `{"error":{"type":"invalid_request_error","message":"Not %s"}}`},
	{403, `{"error":{"type":"invalid_request_error","message":"Not for %s"}}`},
	{404, `{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No %s"}}`},
	{500, `%s`},
}

// fakeKeys answers requests for ephemeral keys, with one of keyAnswers after the other.
type fakeKeys struct{ planted []string }

func (f *fakeKeys) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	answer := keyAnswers[len(f.planted)%len(keyAnswers)]
	secret := fmt.Sprintf("ek_test_Planted%dKey", len(f.planted))
	f.planted = append(f.planted, secret)
	w.WriteHeader(answer.status)
	_, _ = fmt.Fprintf(w, answer.body, secret)
}

// askForAll asks for a key until Stripe has given each answer. It returns the errors.
func (f *fakeKeys) askForAll(r *replica, id string) error {
	r.t.Helper()
	var all []error
	for n := range keyAnswers {
		response, err := r.RetryVerification(r.t.Context(), keyRequest(id))
		if given := response.GetEphemeralKeySecret(); len(f.planted) != n+1 || (err == nil) != (n == 0) || n == 0 && given != f.planted[0] {
			r.t.Fatalf("answer %d of Stripe, %d keys asked for: key %q, error %v", n, len(f.planted), given, err)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// teeing copies what a handler answers.
type teeing struct {
	http.ResponseWriter
	into *syncBuffer
}

func (w teeing) Write(p []byte) (int, error) {
	_, _ = w.into.Write(append(bytes.Clone(p), '\n'))
	return w.ResponseWriter.Write(p)
}

func submit(t *testing.T, sim *stripesim.Sim, id, outcome string) {
	t.Helper()
	if err := sim.Submit(id, outcome); err != nil {
		t.Fatal(err)
	}
	if err := sim.FinishProcessing(id); err != nil {
		t.Fatal(err)
	}
}

func TestALifeWithTheSimulatedStripe(t *testing.T) {
	b := newBackend(t)
	sim := simulated(t, b, nil)
	r := b.replica(t)
	session, err := sim.Create(stripesim.NewSession{ClientReferenceID: "person"})
	if err != nil {
		t.Fatal(err)
	}
	w := r.watch(untilSettled(byReference("person"))) // read through
	if v := w.next(); v.GetSessionId() != session.ID || v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT {
		t.Fatalf("%v", v)
	}
	submit(t, sim, session.ID, "document_expired")
	deliver(t, r, sim, 0)
	response := r.retry(retryRequest(session.ID))
	if page := get(t, response.GetUrl()); page != http.StatusOK {
		t.Errorf("the link answers %d", page)
	}
	if response.GetVerification().GetRetry().GetRetriesGranted() != 1 {
		t.Errorf("%v", response.GetVerification())
	}
	submit(t, sim, session.ID, "verified")
	deliver(t, r, sim, 0)
	for v := w.next(); v.GetStatus() != verificationv1.Status_STATUS_VERIFIED; v = w.next() {
	}
	if err := w.ended(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// Stripe refuses a POST whose key is in use by one that is under way: the second caller must wait for
// the first one's session, not fail and not make another.
func TestG9_ConcurrentReplacementsWhileStripeIsStillCreatingAreAllAnswered(t *testing.T) {
	b := newBackend(t)
	var busy sync.Mutex
	refusals := make(chan struct{}, 100)
	sim := simulated(t, b, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				next.ServeHTTP(w, r)
				return
			}
			if !busy.TryLock() {
				refusals <- struct{}{}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusConflict)
				_, _ = w.Write([]byte(`{"error":{"type":"idempotency_error","code":"idempotency_key_in_use","message":"in use"}}`))
				return
			}
			defer busy.Unlock()
			select { // until another call was refused, or none is coming
			case <-refusals:
			case <-time.After(200 * time.Millisecond):
			}
			next.ServeHTTP(w, r)
		})
	})
	one, two := b.replica(t), b.replica(t)
	session, err := sim.Create(stripesim.NewSession{ClientReferenceID: "person"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Cancel(session.ID); err != nil {
		t.Fatal(err)
	}
	deliver(t, one, sim, 0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var calls sync.WaitGroup
	for n := range 4 {
		calls.Go(func() {
			request := replaceRequest(session.ID)
			request.ReturnUrl = fmt.Sprintf("https://example.com/%d", n)
			response, err := []*replica{one, two}[n%2].RetryVerification(ctx, request)
			if err != nil {
				t.Errorf("call %d: %v", n, err)
				return
			}
			if page := get(t, response.GetUrl()); page != http.StatusOK {
				t.Errorf("call %d: its link answers %d", n, page)
			}
		})
	}
	calls.Wait()
	if got := len(sim.Sessions()); got != 2 {
		t.Errorf("%d sessions at Stripe, want the old one and its replacement", got)
	}
	if old := one.record(session.ID); old.RetriesGranted != 1 || old.SupersededBy == "" {
		t.Errorf("%+v", old)
	}
}
