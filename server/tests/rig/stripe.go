package rig

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
)

// CatchUp moves the simulated Stripe's clock to a minute ago. A webhook is refused if it is older than five.
func (s *FakeStripe) CatchUp() {
	for time.Since(s.Clock()) > time.Minute {
		s.Tick()
	}
}

// FakeStripe is the simulated Stripe with a clock that a test moves: people are slower than tests, and a
// test that takes as long as they do is too slow.
type FakeStripe struct {
	*stripesim.Sim
	t    testing.TB
	URL  string
	http *http.Client

	mu  sync.Mutex
	now time.Time
	// answer, if set, answers in Stripe's place; false leaves it to Stripe.
	answer func(http.ResponseWriter, *http.Request) bool
}

// StartFakeStripe runs a Stripe of today, until the test ends. Its clock begins some minutes ago: with
// 300 seconds of tolerance there is room for a hundred steps.
func StartFakeStripe(t testing.TB) *FakeStripe {
	t.Helper()
	s := &FakeStripe{t: t, http: NewHTTPClient(t), now: time.Now().Add(-4 * time.Minute)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serveHTTP))
	s.URL = "http://" + server.Listener.Addr().String()
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{APIKey, RolledKey}, BaseURL: s.URL, APIVersion: "2026-08-26.dahlia",
		ProcessingDelay: stripesim.OnDemand, Now: s.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Sim = sim
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = sim.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ran
		server.Close()
	})
	return s
}

func (s *FakeStripe) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer == nil || !answer(w, r) {
		s.Handler().ServeHTTP(w, r)
	}
}

// AnswerWith lets a function answer in Stripe's place, where it returns true; nil ends that.
func (s *FakeStripe) AnswerWith(answer func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *FakeStripe) Clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Tick lets as much time pass as people need.
func (s *FakeStripe) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(3 * time.Second)
}

// Settings are those of a server that talks to this Stripe.
func (s *FakeStripe) Settings(redis string, more ...string) []string {
	return Settings(redis, append([]string{"STRIPE_API_KEY=" + APIKey, "STRIPE_API_BASE=" + s.URL}, more...)...)
}

// SendTo registers a server's webhook listener.
func (s *FakeStripe) SendTo(p *Process) {
	s.t.Helper()
	if err := s.SetEndpoints(stripesim.Endpoint{URL: p.Webhook, Secrets: []string{WebhookSecret}}); err != nil {
		s.t.Fatal(err)
	}
}

// AwaitDelivered waits until every webhook was delivered.
func (s *FakeStripe) AwaitDelivered() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), Soon)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Do is one step of a person's or an operator's, a moment after the last one, with its webhooks.
func (s *FakeStripe) Do(step func(id string) error, id string) {
	s.t.Helper()
	s.Tick()
	if err := step(id); err != nil {
		s.t.Fatal(err)
	}
	s.AwaitDelivered()
}

// NewSession creates a session; its person has a reference.
func (s *FakeStripe) NewSession(reference string) string {
	s.t.Helper()
	s.Tick()
	session, err := s.Create(stripesim.NewSession{ClientReferenceID: reference, Metadata: map[string]string{"case": "17"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.AwaitDelivered()
	return session.ID
}

// SubmitAndFinish is a submission without the hosted page, up to its outcome.
func (s *FakeStripe) SubmitAndFinish(id, outcome string) {
	s.t.Helper()
	s.Do(func(id string) error { return s.Submit(id, outcome) }, id)
	s.Do(s.FinishProcessing, id)
}

// UseLink is what a person does with a link: look at the page, choose an outcome, wait for it.
func (s *FakeStripe) UseLink(link, id, outcome string) {
	s.t.Helper()
	s.OpenLink(link)
	s.Tick()
	response, err := s.http.PostForm(link, url.Values{"outcome": {outcome}})
	if err != nil {
		s.t.Fatal(err)
	}
	if text, err := ReadAll(response); err != nil || response.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("the hosted page answers %s %q, %v", response.Status, text, err)
	}
	s.AwaitDelivered()
	s.Do(s.FinishProcessing, id)
}

// OpenLink looks at the hosted page behind a link: it must be one that can be used.
func (s *FakeStripe) OpenLink(link string) {
	s.t.Helper()
	response, err := s.http.Get(link)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := ReadAll(response)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(text, "document_expired") {
		s.t.Fatalf("the link's page is %s, %v", response.Status, err)
	}
}

// CancelOverAPI cancels as a backend does.
func (s *FakeStripe) CancelOverAPI(id string) error {
	request, err := http.NewRequest(http.MethodPost, s.URL+"/v1/identity/verification_sessions/"+id+"/cancel", nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(APIKey, "")
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
