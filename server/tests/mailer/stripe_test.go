package mailer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// clock is Stripe's clock. Each step of a person moves it by a second, so no two events of a session have the same second.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) tick()          { c.seconds.Add(1) }

// event is an event of Stripe.
type event struct {
	id       string
	created  int64
	outcome  outcome
	erased   bool // by a redaction
	resolved bool // by an operator, before the servers took the event
	body     []byte
}

// outcome is what a mail is about.
type outcome struct{ status, code, report string }

// mailed reports whether an outcome gets a mail.
func (o outcome) mailed() bool {
	return o.status == "verified" || o.status == "requires_input" && o.code != "" && o.code != stripesim.OutcomeAbandoned
}

// post collects the events that the simulated Stripe sends, for the lives, which decide in which order the servers get them.
type post struct {
	mu     sync.Mutex
	events map[string]chan event // by session
}

func collect(t *testing.T, stripe *rig.FakeStripe) *post {
	t.Helper()
	p := &post{events: map[string]chan event{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		var e struct {
			ID      string
			Created int64
			Data    struct {
				Object struct {
					ID, Status string
					LastError  struct{ Code string } `json:"last_error"`
					Report     string                `json:"last_verification_report"`
					Redaction  *struct{ Status string }
				}
			}
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("an event: %v", err)
			return
		}
		o := e.Data.Object
		p.of(o.ID) <- event{
			id: e.ID, created: e.Created, outcome: outcome{o.Status, o.LastError.Code, o.Report},
			erased: o.Redaction != nil, body: body,
		}
	}))
	t.Cleanup(server.Close)
	if err := stripe.SetEndpoints(stripesim.Endpoint{URL: server.URL, Secrets: []string{rig.WebhookSecret}}); err != nil {
		t.Fatal(err)
	}
	return p
}

// of returns the events of a session.
func (p *post) of(session string) chan event {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.events[session] == nil {
		p.events[session] = make(chan event, 64)
	}
	return p.events[session]
}

// hideEvents makes Stripe list no event: a catch-up would bring an event that a life holds back.
func hideEvents(stripe *rig.FakeStripe, c *clock) {
	stripe.AnswerWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/v1/events") {
			return false
		}
		w.Header().Set("Date", c.now().UTC().Format(http.TimeFormat))
		_ = json.NewEncoder(w).Encode(rig.Fields{"object": "list", "data": []any{}, "has_more": false, "url": "/v1/events"})
		return true
	})
}

// webhooks delivers events to one of the servers, as Stripe does: until the answer is 200.
type webhooks struct {
	client  *http.Client
	servers []*rig.Process
}

func (w webhooks) deliver(ctx context.Context, e event) error {
	for {
		url := w.servers[rand.IntN(len(w.servers))].Webhook
		response, text, err := rig.Post(w.client, url, rig.Sign(time.Now(), rig.WebhookSecret, e.body), e.body)
		if err == nil && response.StatusCode == http.StatusOK {
			return nil
		}
		if err == nil && response.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("event %s: %s %s", e.id, response.Status, text)
		}
		select {
		case <-time.After(50 * time.Millisecond): // Redis fails over
		case <-ctx.Done():
			return fmt.Errorf("event %s: %v: %w", e.id, err, ctx.Err())
		}
	}
}
