package main

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

// stripe is the simulated Stripe with a clock that a test moves: people are slower than tests, and a
// test that takes as long as they do is too slow.
type stripe struct {
	*stripesim.Sim
	t    testing.TB
	url  string
	http *http.Client

	mu  sync.Mutex
	now time.Time
	// answer, if set, answers in Stripe's place; false leaves it to Stripe.
	answer func(http.ResponseWriter, *http.Request) bool
}

// startStripe runs a Stripe of today, until the test ends. Its clock begins some minutes ago: with
// 300 seconds of tolerance there is room for a hundred steps.
func startStripe(t testing.TB) *stripe {
	t.Helper()
	s := &stripe{t: t, http: newHTTPClient(t), now: time.Now().Add(-4 * time.Minute)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serveHTTP))
	s.url = "http://" + server.Listener.Addr().String()
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{apiKey, rolledKey}, BaseURL: s.url, APIVersion: "2026-08-26.dahlia",
		ProcessingDelay: stripesim.OnDemand, Now: s.clock,
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

func (s *stripe) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer == nil || !answer(w, r) {
		s.Handler().ServeHTTP(w, r)
	}
}

// answerWith lets a function answer in Stripe's place, where it returns true; nil ends that.
func (s *stripe) answerWith(answer func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *stripe) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// tick lets as much time pass as people need.
func (s *stripe) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(3 * time.Second)
}

// settings are those of a server that talks to this Stripe.
func (s *stripe) settings(redis string, more ...string) []string {
	return settings(redis, append([]string{"STRIPE_API_KEY=" + apiKey, "STRIPE_API_BASE=" + s.url}, more...)...)
}

// sendTo registers a server's webhook listener.
func (s *stripe) sendTo(p *process) {
	s.t.Helper()
	if err := s.SetEndpoints(stripesim.Endpoint{URL: p.webhook, Secrets: []string{webhookSecret}}); err != nil {
		s.t.Fatal(err)
	}
}

// settle waits until every webhook was delivered.
func (s *stripe) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// do is one step of a person's or an operator's, a moment after the last one, with its webhooks.
func (s *stripe) do(step func(id string) error, id string) {
	s.t.Helper()
	s.tick()
	if err := step(id); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
}

// newSession creates a session; its person has a reference.
func (s *stripe) newSession(reference string) string {
	s.t.Helper()
	s.tick()
	session, err := s.Create(stripesim.NewSession{ClientReferenceID: reference, Metadata: map[string]string{"case": "17"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	return session.ID
}

// submit is a submission without the hosted page, up to its outcome.
func (s *stripe) submit(id, outcome string) {
	s.t.Helper()
	s.do(func(id string) error { return s.Submit(id, outcome) }, id)
	s.do(s.FinishProcessing, id)
}

// useLink is what a person does with a link: look at the page, choose an outcome, wait for it.
func (s *stripe) useLink(link, id, outcome string) {
	s.t.Helper()
	s.openLink(link)
	s.tick()
	response, err := s.http.PostForm(link, url.Values{"outcome": {outcome}})
	if err != nil {
		s.t.Fatal(err)
	}
	if text, err := readAll(response); err != nil || response.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("the hosted page answers %s %q, %v", response.Status, text, err)
	}
	s.settle()
	s.do(s.FinishProcessing, id)
}

// openLink looks at the hosted page behind a link: it must be one that can be used.
func (s *stripe) openLink(link string) {
	s.t.Helper()
	response, err := s.http.Get(link)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := readAll(response)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(text, "document_expired") {
		s.t.Fatalf("the link's page is %s, %v", response.Status, err)
	}
}

// cancelOverAPI cancels as a backend does.
func (s *stripe) cancelOverAPI(id string) error {
	request, err := http.NewRequest(http.MethodPost, s.url+"/v1/identity/verification_sessions/"+id+"/cancel", nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(apiKey, "")
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
