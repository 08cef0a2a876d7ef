package fair

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/await"
)

const (
	apiKey        = "sk_test_0123456789abcdef"
	webhookSecret = "whsec_0123456789abcdefghijklmnopqrstuv"
	// stripeLatency is that of each request to the simulated Stripe's API.
	stripeLatency = 5 * time.Millisecond
	// stripeBehind is how far Stripe's clock is behind this machine's at first. It goes a second further with each
	// step of a session: two events of one second would be in an order that only Stripe knows, and each of them
	// would cost others a read. Others take almost 60 steps a second in the long form: three hours are enough for -fair.for=90s.
	stripeBehind = 3 * time.Hour
)

// read is a GET that Stripe was asked: of one session, or of the list by a reference.
type read struct{ kind, subject string }

// stripe is a simulated Stripe that counts its requests, and forwards its webhooks to a server through a
// handler that measures them.
type stripe struct {
	*stripesim.Sim
	url string

	steps    atomic.Int64 // seconds
	webhooks *series

	mu       sync.Mutex
	attacked map[string]bool // sessions and references that belong to attackers
	reads    map[read]int
	webhook  string        // where webhooks are forwarded to
	held     chan struct{} // nil, or all webhooks wait until it is closed
	partial  map[string]part
	taken    map[string]int // webhooks answered 2xx, by session
}

// part limits the webhooks of a session that arrive: the first count of them, and none before the gate is closed. For
// Stripe the others are delivered.
type part struct {
	count int
	gate  chan struct{}
}

func startStripe(t *testing.T) *stripe {
	t.Helper()
	s := &stripe{attacked: map[string]bool{}, reads: map[read]int{}, partial: map[string]part{}, taken: map[string]int{}, webhooks: &series{}}
	api := httptest.NewUnstartedServer(http.HandlerFunc(s.api))
	forward := httptest.NewServer(http.HandlerFunc(s.forward))
	s.url = "http://" + api.Listener.Addr().String()
	sim, err := stripesim.New(stripesim.Config{
		APIKeys: []string{apiKey}, BaseURL: s.url, ProcessingDelay: stripesim.OnDemand, Now: s.clock,
		Endpoints: []stripesim.Endpoint{{URL: forward.URL, Secrets: []string{webhookSecret}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Sim = sim
	api.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = sim.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		await.One(t, ran)
		forward.Close()
		api.Close()
	})
	return s
}

// api counts a request, and has the simulator answer it.
func (s *stripe) api(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	id, isSession := strings.CutPrefix(r.URL.Path, "/v1/identity/verification_sessions/")
	switch {
	case r.Method != http.MethodGet: // it is no read
	case isSession:
		s.reads[read{"session", id}]++
	case r.URL.Query().Has("client_reference_id"):
		s.reads[read{"list", r.URL.Query().Get("client_reference_id")}]++
	default:
		s.reads[read{"events", ""}]++
	}
	s.mu.Unlock()
	latency := time.NewTimer(stripeLatency)
	defer latency.Stop()
	select {
	case <-latency.C:
	case <-r.Context().Done():
	}
	s.Handler().ServeHTTP(w, r)
}

var forwarding = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

func (s *stripe) clock() time.Time {
	return time.Now().Add(time.Duration(s.steps.Load())*time.Second - stripeBehind)
}

// attack notes that a session belongs to attackers: reads of it are counted as theirs.
func (s *stripe) attack(id string) {
	session, _ := s.Session(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attacked[id] = true
	if session.ClientReferenceID != "" {
		s.attacked[session.ClientReferenceID] = true
	}
}

// restart sets the counters to zero, and returns a function that reads them. A read of an id or reference that
// Stripe does not know is an attacker's: others ask for no such session.
func (s *stripe) restart() (count func() (attack, others int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.reads)
	return func() (attack, others int) {
		known := map[string]bool{"": true}
		for _, session := range s.Sessions() {
			known[session.ID], known[session.ClientReferenceID] = true, true
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for r, n := range s.reads {
			if s.attacked[r.subject] || !known[r.subject] {
				attack += n
			} else {
				others += n
			}
		}
		return attack, others
	}
}

// create makes a session, and waits until the server knows it.
func (s *stripe) create(ctx context.Context) (id string, err error) {
	s.steps.Add(1)
	session, err := s.Create(stripesim.NewSession{})
	if err != nil {
		return "", err
	}
	if err := s.awaitTaken(ctx, session.ID, 1); err != nil {
		return "", fmt.Errorf("the webhook of a new session: %w", err)
	}
	return session.ID, nil
}

// attempt makes a session with one attempt, and waits until the server knows its outcome.
func (s *stripe) attempt(ctx context.Context, outcome string) (id string, err error) {
	s.steps.Add(1)
	session, err := s.Create(stripesim.NewSession{})
	if err != nil {
		return "", err
	}
	if err := s.submit(session.ID, outcome); err != nil {
		return "", err
	}
	return session.ID, s.awaitTaken(ctx, session.ID, 3)
}

// submit is a submission up to its outcome.
func (s *stripe) submit(id, outcome string) error {
	s.steps.Add(1)
	if err := s.Submit(id, outcome); err != nil {
		return err
	}
	s.steps.Add(1)
	return s.FinishProcessing(id)
}
