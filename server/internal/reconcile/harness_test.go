package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiKey = "sk_test_simulated"
	// smallBatch is the number of pages of a replica's batch. moreThanABatch lives have more events than smallBatch pages
	// hold: about 230.
	smallBatch     = 2
	moreThanABatch = 60
)

// stripe is a simulated Stripe. Only tick moves its clock.
type stripe struct {
	*stripesim.Sim
	t   *testing.T
	url string
	now atomic.Int64
}

func newStripe(t *testing.T) *stripe {
	t.Helper()
	s := &stripe{t: t}
	s.now.Store(1_790_000_000)
	var err error
	s.Sim, err = stripesim.New(stripesim.Config{
		APIKeys: []string{apiKey}, Seed: 7, ProcessingDelay: stripesim.OnDemand, BaseURL: "http://127.0.0.1:1",
		Now: func() time.Time { return time.Unix(s.now.Load(), 0) },
		// It names the redacted event, so that there is one; nothing is ever delivered to it.
		Endpoints: []stripesim.Endpoint{{URL: "http://127.0.0.1:1/webhook", Secrets: []string{"whsec_x"}}},
	})
	s.must(err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *stripe) tick(seconds int64) { s.now.Add(seconds) }

func (s *stripe) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// lives holds what happens to sessions, one step at a time.
var lives = [][]string{
	{"verified"},
	{"document_expired"},
	{"selfie_face_mismatch", "document_expired", "verified"},
	{"abandoned"},
	{"document_expired", "cancel"},
	{"verified", "redact"},
	{},
	{"document_expired", "verified", "override"},
}

// live creates sessions and lets them live side by side, a second between any two changes.
func (s *stripe) live(count int, account string) (ids []string) {
	s.t.Helper()
	for range count {
		s.tick(1)
		made, err := s.Create(stripesim.NewSession{Account: account})
		s.must(err)
		ids = append(ids, made.ID)
	}
	for step := range 3 {
		for i, id := range ids {
			if life := lives[i%len(lives)]; step < len(life) {
				s.step(id, life[step])
			}
		}
	}
	return ids
}

func (s *stripe) step(id, what string) {
	s.t.Helper()
	s.tick(1)
	switch what {
	case "cancel":
		s.must(s.Cancel(id))
	case "redact":
		s.must(s.Redact(id))
		s.tick(1)
		s.must(s.FinishRedaction(id))
	case "override":
		s.must(s.Override(id, "requires_input", "document_unverified_other"))
	case "abandoned":
		s.must(s.Submit(id, what))
	default:
		s.must(s.Submit(id, what))
		s.tick(1)
		s.must(s.FinishProcessing(id))
	}
}

// events returns all events that were emitted, as a webhook would bring them.
func (s *stripe) events() []verification.Event {
	s.t.Helper()
	var all []verification.Event
	for _, e := range s.Events() {
		event, err := stripeevent.Decode(e.Body, stripeevent.Options{})
		s.must(err)
		event.Source = verification.SourceWebhook
		all = append(all, event)
	}
	return all
}

// replica is one process of the service, as far as the catch-up needs it.
type replica struct {
	*Reconciler
	t      *testing.T
	stripe *stripe
	client *stripeapi.Client
	ingest *ingest.Ingest
	logs   *buffer
}

// records is the store that replicas share.
type records interface {
	store.Store
	store.CatchUp
}

func (s *stripe) replica(kept records, change func(*Config, *stripeapi.Config)) *replica {
	s.t.Helper()
	r := &replica{t: s.t, stripe: s, logs: &buffer{}}
	logger := slog.New(slog.NewTextHandler(r.logs, nil))
	api := stripeapi.Config{Key: func() verification.Secret { return apiKey }, Base: s.url, RatePerSecond: 100_000, Timeout: 5 * time.Second, Logger: logger}
	config := Config{Store: kept, Logger: logger, Clock: func() time.Time { return time.Unix(s.now.Load(), 0) }}
	if change != nil {
		change(&config, &api)
	}
	var err error
	r.client, err = stripeapi.New(api)
	s.must(err)
	r.ingest = ingest.New(ingest.Config{Store: kept, Stripe: r.client, Clock: config.Clock, Logger: logger,
		WishCatchUp: func(ctx context.Context, thin verification.Event) error { return r.Wish(ctx, thin) }})
	s.t.Cleanup(func() {
		r.ingest.Close()
		r.client.Close()
	})
	if config.Stripe == nil {
		config.Stripe = r.client
	}
	if config.Ingest == nil {
		config.Ingest = r.ingest
	}
	r.Reconciler, err = New(config)
	s.must(err)
	r.firstPause, r.batchPages = time.Millisecond, smallBatch
	return r
}

// run does a Run that must be complete.
func (r *replica) run() Summary {
	r.t.Helper()
	summary, err := r.Run(r.t.Context())
	if err != nil || summary.Stopped != nil {
		r.t.Fatalf("error %v, %v", err, summary)
	}
	return summary
}

func (r *replica) webhook(events ...verification.Event) {
	r.t.Helper()
	for _, event := range events {
		if _, err := r.ingest.Apply(r.t.Context(), event); err != nil {
			r.t.Fatal(err)
		}
	}
}

// check compares every record with the session at the simulated Stripe.
func (s *stripe) check(kept store.Store) {
	s.t.Helper()
	failures := make(map[string]map[string]bool)
	for _, e := range s.events() {
		if o := e.Object; o.Status == "requires_input" && o.Error.Code != "" && o.Error.Code != "abandoned" {
			if failures[o.ID] == nil {
				failures[o.ID] = make(map[string]bool)
			}
			failures[o.ID][o.Report] = true
		}
	}
	wrong := 0
	for _, truth := range s.Sessions() {
		got, err := kept.Get(s.t.Context(), truth.ID)
		if errors.Is(err, store.ErrNotFound) {
			got, err = verification.Session{}, nil
		}
		s.must(err)
		redaction := map[string]verification.Redaction{"": 0, "processing": 1, "redacted": 2}[truth.Redaction]
		want := fmt.Sprint(truth.Account, truth.Status, truth.LastErrorCode, truth.LastVerificationReport, redaction, len(failures[truth.ID]), false)
		if redaction > 0 {
			want = fmt.Sprint(truth.Account, truth.Status, "", "", redaction, len(failures[truth.ID]), false)
		}
		if have := fmt.Sprint(got.Account, got.Status, got.Error.Code, got.Report, got.Redaction, got.FailedAttempts, got.Unresolved); have != want {
			if wrong++; wrong <= 5 {
				s.t.Errorf("%s: %s; want %s", truth.ID, have, want)
			}
		}
	}
	if wrong > 0 {
		s.t.Errorf("%d of %d sessions are wrong", wrong, len(s.Sessions()))
	}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
