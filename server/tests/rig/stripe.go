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
	"example.com/verification-status/server/internal/testing/await"
)

// CatchUp moves Stripe's clock to a minute ago. The server refuses webhooks older than five minutes.
func (s *FakeStripe) CatchUp() {
	for time.Since(s.Clock()) > time.Minute {
		s.Tick()
	}
}

// FakeStripe is the simulated Stripe, with a clock that a test moves: a test that waited as long as people need would be too
// slow.
type FakeStripe struct {
	*stripesim.Sim
	t    testing.TB
	URL  string
	http *http.Client

	mu  sync.Mutex
	now time.Time
	// answer, if not nil, answers requests in Stripe's place. If it returns false, Stripe answers.
	answer func(http.ResponseWriter, *http.Request) bool
}

// StartFakeStripe runs a simulated Stripe until the test ends. Its clock starts four minutes ago: with 300 seconds of tolerance
// for signatures there is room for eighty steps of three seconds. change can set more of its configuration.
func StartFakeStripe(t testing.TB, change ...func(*stripesim.Config)) *FakeStripe {
	t.Helper()
	s := &FakeStripe{t: t, http: NewHTTPClient(t), now: time.Now().Add(-4 * time.Minute)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serveHTTP))
	s.URL = "http://" + server.Listener.Addr().String()
	config := stripesim.Config{
		APIKeys: []string{APIKey, RolledKey}, BaseURL: s.URL, APIVersion: "2026-08-26.dahlia",
		ProcessingDelay: stripesim.OnDemand, Now: s.Clock,
	}
	for _, set := range change {
		set(&config)
	}
	sim, err := stripesim.New(config)
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
		await.One(t, ran)
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

// AnswerWith sets a function that answers requests in Stripe's place. If it returns false, Stripe answers. nil removes it.
func (s *FakeStripe) AnswerWith(answer func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// Clock returns Stripe's time.
func (s *FakeStripe) Clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Tick moves Stripe's clock by three seconds, as long as people need for a step.
func (s *FakeStripe) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(3 * time.Second)
}

// Settings returns the environment of a server that uses this Stripe. See the function Settings.
func (s *FakeStripe) Settings(redis string, more ...string) []string {
	return Settings(redis, append([]string{"STRIPE_API_KEY=" + APIKey, "STRIPE_API_BASE=" + s.URL}, more...)...)
}

// SendTo makes a server's webhook listener the only endpoint. It gets snapshot events.
func (s *FakeStripe) SendTo(p *Process) {
	s.t.Helper()
	s.SendInStyle(p, stripesim.Snapshot, 0)
}

// SendInStyle is SendTo with a style of events. names is stripesim.Endpoint.NamesSnapshot.
func (s *FakeStripe) SendInStyle(p *Process, style stripesim.Style, names float64) {
	s.t.Helper()
	to := stripesim.Endpoint{URL: p.Webhook, Secrets: []string{WebhookSecret}, Style: style, NamesSnapshot: names}
	if err := s.SetEndpoints(to); err != nil {
		s.t.Fatal(err)
	}
}

// AwaitDelivered waits until every webhook is delivered.
func (s *FakeStripe) AwaitDelivered() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), Soon)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Do makes one step of a person or operator after a Tick, and waits until its webhooks are delivered.
func (s *FakeStripe) Do(step func(id string) error, id string) {
	s.t.Helper()
	s.Tick()
	if err := step(id); err != nil {
		s.t.Fatal(err)
	}
	s.AwaitDelivered()
}

// NewSession creates a session of a person with a reference, and returns its id.
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

// SubmitAndFinish makes a submission with an outcome, without the hosted page.
func (s *FakeStripe) SubmitAndFinish(id, outcome string) {
	s.t.Helper()
	s.Do(func(id string) error { return s.Submit(id, outcome) }, id)
	s.Do(s.FinishProcessing, id)
}

// UseLink does what a person does with a link: it opens the page, chooses an outcome, and waits for it.
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

// OpenLink opens the hosted page of a link. The link must be usable.
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

// CancelOverAPI cancels a session over Stripe's API, as a backend does.
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
