package stripesim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76/webhook"

	"example.com/verification-status/server/internal/testing/await"
)

// consumer is a webhook endpoint that records what comes and answers as told.
type consumer struct {
	*httptest.Server
	mu     sync.Mutex
	got    []hook
	answer func(n int, h hook) int // n counts from 0; nil: 200
}

type hook struct {
	id, kind, session string
	signature         string
	body              []byte
	header            http.Header
	path              string
}

func newConsumer(t *testing.T, answer func(n int, h hook) int) *consumer {
	t.Helper()
	c := &consumer{answer: answer}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender went away; there is nothing to record
		}
		var e struct {
			ID, Type string
			Data     struct{ Object struct{ ID string } }
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("not an event: %q", body)
		}
		h := hook{e.ID, strings.TrimPrefix(e.Type, "identity.verification_session."), e.Data.Object.ID, r.Header.Get("Stripe-Signature"), body, r.Header, r.URL.Path}
		c.mu.Lock()
		n := len(c.got)
		c.got = append(c.got, h)
		c.mu.Unlock()
		status := http.StatusOK
		if c.answer != nil {
			status = c.answer(n, h)
		}
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) hooks() []hook {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *consumer) endpoint(secrets ...string) Endpoint {
	if len(secrets) == 0 {
		secrets = []string{secret}
	}
	return Endpoint{URL: c.URL + "/hook", Secrets: secrets}
}

// quick makes retries fast enough for a test.
var quick = DeliveryConfig{RetryBase: time.Millisecond, RetryMax: 4 * time.Millisecond, MaxAttempts: 4, Timeout: patient}

func (b *bench) life(outcomes ...string) string {
	b.t.Helper()
	sess, err := b.Create(NewSession{})
	must(b.t, err)
	for _, o := range outcomes {
		must(b.t, b.Submit(sess.ID, o))
	}
	return sess.ID
}

func TestWebhooksArriveSignedAndInOrder(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint(secret, "whsec_second")}, Delivery: DeliveryConfig{Concurrency: 8}})
	b.run()
	for range 30 {
		b.life("document_expired", "abandoned", "verified")
	}
	b.settle()
	got := map[string][]string{}
	for _, h := range c.hooks() {
		got[h.session] = append(got[h.session], h.id)
		for _, s := range []string{secret, "whsec_second"} {
			if err := webhook.ValidatePayload(h.body, h.signature, s); err != nil {
				t.Fatalf("signature: %v", err)
			}
		}
		if webhook.ValidatePayload(h.body, h.signature, "whsec_other") == nil {
			t.Fatal("any secret fits")
		}
		if h.header.Get("User-Agent") != webhookUserAgent || h.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Fatalf("headers: %v", h.header)
		}
	}
	want := map[string][]string{}
	bodies := map[string][]byte{}
	for _, e := range b.Events() {
		want[e.SessionID] = append(want[e.SessionID], e.ID)
		bodies[e.ID] = e.Body
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("order within a session: %s", diff)
	}
	if h := c.hooks()[0]; !bytes.Equal(bodies[h.id], h.body) {
		t.Fatal("the body differs from Events")
	}
	if s := b.Stats(); s.Delivered != 180 || s.Attempts != 180 || s.Failed != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestRetriesUntilTakenWithAFreshSignature(t *testing.T) {
	var tick struct {
		sync.Mutex
		at time.Time
	}
	tick.at = time.Now().Add(-time.Minute)
	clock := func() time.Time { // each look is a second later
		tick.Lock()
		defer tick.Unlock()
		tick.at = tick.at.Add(time.Second)
		return tick.at
	}
	answers := []int{500, 302, 400, 204}
	c := newConsumer(t, func(n int, _ hook) int { return answers[n] })
	var logs bytes.Buffer
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: quick, Now: clock, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	b.run()
	id := b.life()
	b.settle()
	hooks := c.hooks()
	if len(hooks) != 4 {
		t.Fatalf("%d attempts, want 4: a redirect is a failure and not followed", len(hooks))
	}
	seen := map[string]bool{}
	for _, h := range hooks {
		if h.id != hooks[0].id || !bytes.Equal(h.body, hooks[0].body) || seen[h.signature] {
			t.Fatal("a retry is the same event with a new signature")
		}
		seen[h.signature] = true
		if err := webhook.ValidatePayload(h.body, h.signature, secret); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Stats(); s != (Stats{Attempts: 4, Failed: 3, Delivered: 1}) {
		t.Fatalf("%+v", s)
	}
	for _, leak := range []string{secret, "_secret_", "/verify/", id} {
		if strings.Contains(logs.String(), leak) {
			t.Fatalf("the log shows %q: %s", leak, logs.String())
		}
	}
	if !strings.Contains(logs.String(), hooks[0].id) {
		t.Fatalf("the log does not name the event: %s", logs.String())
	}
}

func TestGivesUpAfterMaxAttempts(t *testing.T) {
	c := newConsumer(t, func(int, hook) int { return 503 })
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: quick})
	b.run()
	b.life()
	b.settle()
	if s := b.Stats(); s != (Stats{Attempts: 4, Failed: 4, Exhausted: 1}) {
		t.Fatalf("%+v", s)
	}
}

func TestAFailedWebhookDoesNotHoldUpTheNext(t *testing.T) {
	b := newBench(t, Config{Delivery: quick})
	verifiedCame := make(chan struct{})
	c := newConsumer(t, func(_ int, h hook) int {
		switch h.kind {
		case "processing":
			select {
			case <-verifiedCame:
				return 200
			default:
				return 500
			}
		case "verified":
			close(verifiedCame)
		}
		return 200
	})
	must(t, b.SetEndpoints(c.endpoint()))
	b.cfg.Delivery.MaxAttempts = 1000
	b.run()
	b.life(OutcomeVerified)
	b.settle()
	if s := b.Stats(); s.Delivered != 3 || s.Exhausted != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	const bound = 3
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{})
	c := newConsumer(t, func(int, hook) int {
		mu.Lock()
		now++
		most = max(most, now)
		if now == bound {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full // holds the first ones until the bound is reached
		mu.Lock()
		now--
		mu.Unlock()
		return 200
	})
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: DeliveryConfig{Concurrency: bound}})
	for range 40 {
		b.life()
	}
	b.run()
	b.settle()
	mu.Lock()
	defer mu.Unlock()
	if most != bound {
		t.Fatalf("%d at once, want %d", most, bound)
	}
}

func TestQueueIsBounded(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: DeliveryConfig{MaxQueue: 5}})
	for range 8 { // nothing runs yet
		b.life()
	}
	b.run()
	b.settle()
	if s := b.Stats(); s.Overflow != 3 || s.Delivered != 5 || len(b.Events()) != 8 {
		t.Fatalf("%+v", s)
	}
	b.life() // there is room again
	b.settle()
	if s := b.Stats(); s.Overflow != 3 || s.Delivered != 6 {
		t.Fatalf("%+v", s)
	}
}

func TestEndpointsAndSecretsChange(t *testing.T) {
	first, second := newConsumer(t, nil), newConsumer(t, nil)
	only := first.endpoint()
	only.EnabledEvents = []string{eventVerified}
	b := newBench(t, Config{Endpoints: []Endpoint{only, second.endpoint()}, Delivery: quick})
	b.life(OutcomeVerified) // queued, not sent
	must(t, b.SetEndpoints(first.endpoint("whsec_rolled")))
	b.run()
	b.settle()
	hooks := first.hooks()
	if len(hooks) != 1 || hooks[0].kind != "verified" || webhook.ValidatePayload(hooks[0].body, hooks[0].signature, "whsec_rolled") != nil {
		t.Fatalf("first: %+v", hooks)
	}
	if !strings.Contains(string(hooks[0].body), `"pending_webhooks": 2`) {
		t.Error("pending_webhooks counts the endpoints that wanted it then")
	}
	if s := b.Stats(); s.Orphaned != 3 || len(second.hooks()) != 0 {
		t.Fatalf("an endpoint that is gone gets nothing: %+v", s)
	}
	if b.SetEndpoints(Endpoint{URL: first.URL}) == nil {
		t.Fatal("an endpoint without a secret was taken")
	}
}

func TestStoppedRunResumesLater(t *testing.T) {
	entered, release := make(chan struct{}, 10), make(chan struct{})
	c := newConsumer(t, func(n int, _ hook) int {
		entered <- struct{}{}
		if n == 0 {
			<-release
		}
		return 200
	})
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: quick})
	b.life(OutcomeVerified)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	await.One(t, entered)
	cancel() // while the first webhook is in flight
	must(t, await.One(t, done))
	close(release)
	if s := b.Stats(); s.Delivered != 0 {
		t.Fatalf("%+v", s)
	}
	b.run()
	b.settle()
	kinds := map[string]bool{}
	for _, h := range c.hooks() {
		kinds[h.kind] = true
	}
	if s := b.Stats(); s.Delivered != 3 || s.Exhausted != 0 || len(kinds) != 3 {
		t.Fatalf("%+v %v", s, kinds)
	}
}

func TestUnreachableAndSlowEndpointsAreFailures(t *testing.T) {
	hang := make(chan struct{})
	c := newConsumer(t, func(int, hook) int { <-hang; return 200 })
	defer close(hang)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint(), {URL: "http://127.0.0.1:1/", Secrets: []string{secret}}},
		Delivery: DeliveryConfig{Timeout: 20 * time.Millisecond, MaxAttempts: 1}})
	b.run()
	b.life()
	b.settle()
	if s := b.Stats(); s.Exhausted != 2 || s.Delivered != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestBackoffDoublesWithinItsBounds(t *testing.T) {
	b := newBench(t, Config{Delivery: DeliveryConfig{RetryBase: time.Second, RetryMax: 10 * time.Second}})
	for attempts, full := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 6: 10, 1000: 10} {
		full *= time.Second
		for range 50 {
			if got := b.backoff(attempts); got < full/2 || got > full {
				t.Fatalf("after %d attempts: %v, want %v to %v", attempts, got, full/2, full)
			}
		}
	}
}
