// Package stripesim is a simulated Stripe Identity: the VerificationSession part of Stripe's API with
// its list of events and its webhook endpoints, a hosted page where a person picks how the check ends,
// and signed webhooks. API and webhooks have faults on demand.
//
// It exists so that the service can be run and tested on one machine against something that keeps
// state as Stripe does. It follows Stripe's documentation and measurements, also where they are
// awkward, and it makes life hard on purpose: its events carry url and client_secret, come out of
// order when told so, and are never rendered the way a consumer would like.
//
// It refuses to know anything of the service it stands in front of: it imports no other package of
// this project. It is not hardened for the open network: bind it to loopback.
package stripesim

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// Immediately means, as a delay, within the call itself. It is not zero so that the zero Config
	// means "the default".
	Immediately time.Duration = -1
	// OnDemand means, as a delay, never by itself: only by FinishProcessing or FinishRedaction.
	OnDemand time.Duration = math.MaxInt64

	defaultProcessingDelay = time.Second
	defaultMaxSessions     = 1_000_000
	defaultMaxEvents       = 100_000
	defaultMaxIdempotency  = 100_000
)

// keyPattern is the shape of Stripe's secret and restricted keys, which say their mode themselves.
var keyPattern = regexp.MustCompile(`^(sk|rk)_(test|live)_[A-Za-z0-9_]{1,200}$`)

// Config says how the simulator behaves. Only APIKeys is required.
type Config struct {
	// APIKeys are accepted as Bearer token or Basic user name. "sk_test_..." and "rk_test_..." see
	// test mode sessions, "sk_live_..." and "rk_live_..." live ones.
	APIKeys []string
	// BaseURL is where Handler is reached, for the links to the hosted page. Empty: the Host header
	// of the newest API request; before the first one, links are relative.
	BaseURL string
	// APIVersion is the api_version of events and the Stripe-Version of responses to requests that
	// name none. Empty: events say null.
	APIVersion string
	// Endpoints get the webhooks, beside those that the API makes; SetEndpoints replaces them.
	Endpoints []Endpoint

	// ProcessingDelay is the time between a submission and its outcome. 0: one second.
	ProcessingDelay time.Duration
	// RedactionDelay is the time that a redaction takes (at Stripe up to 4 days). 0: OnDemand.
	RedactionDelay time.Duration
	// Delivery bounds and times the webhooks.
	Delivery DeliveryConfig

	// MaxSessions: creating more answers 429. 0: 1,000,000.
	MaxSessions int
	// MaxEvents is how many of the newest events Events returns and the API lists. 0: 100,000.
	MaxEvents int
	// MaxIdempotencyKeys is how many of the newest keys are remembered, for 24 h. 0: 100,000.
	MaxIdempotencyKeys int

	// Now is the clock of everything that is shown: created, Date, expiry of links, signatures. Delays
	// and timeouts run on the real clock. It is called one call at a time, under the simulator's lock,
	// so it must not call the simulator. nil: time.Now.
	Now func() time.Time
	// Seed makes ids, links and faults repeatable. 0: a random seed.
	Seed uint64
	// Logger gets deliveries that failed; never bodies, links or secrets. nil: nothing is logged.
	Logger *slog.Logger
}

// Sim is one simulated Stripe. All methods may be called concurrently.
type Sim struct {
	cfg    Config
	log    *slog.Logger
	macKey [32]byte
	queue  *queue
	idem   *idempotency
	client *http.Client

	// mu makes a change of state, its event and the event's place in the queue one step. It is
	// never held over I/O.
	mu        sync.Mutex
	rng       *rand.Rand // ids
	faultRNG  *rand.Rand // faults and jitter, apart from ids so that faults do not change them
	apiRNG    *rand.Rand // faults of the API, apart from those of webhooks
	base      string
	frozenAt  time.Time // zero: the clock runs
	sessions  map[string]*session
	realms    map[realm]*sessionList
	refs      map[refKey]*sessionList
	order     []*session
	endpoints []*endpoint // in order of creation
	events    []Event
	faults    Faults
	apiFaults APIFaults
	apiLeft   int // faults of the API to come, where they are limited
	window    []*delivery
	stats     Stats
	// undelivered has, by event id, how many endpoints have not taken the event; none: no entry.
	undelivered map[string]int
}

// New checks the configuration and returns a simulator without any session. It starts nothing.
func New(cfg Config) (*Sim, error) {
	if len(cfg.APIKeys) == 0 {
		return nil, errors.New("stripesim: APIKeys is empty: give at least one key such as sk_test_simulated")
	}
	for i, key := range cfg.APIKeys {
		if !keyPattern.MatchString(key) {
			return nil, fmt.Errorf("stripesim: APIKeys[%d] must begin with sk_test_, rk_test_, sk_live_ or rk_live_", i)
		}
	}
	if err := checkEndpoints(cfg.Endpoints); err != nil {
		return nil, err
	}
	cfg = withDefaults(cfg)
	s := &Sim{
		cfg:      cfg,
		log:      cfg.Logger,
		queue:    newQueue(cfg.Delivery.MaxQueue),
		idem:     newIdempotency(cfg.MaxIdempotencyKeys),
		client:   newWebhookClient(cfg.Delivery),
		base:     strings.TrimSuffix(cfg.BaseURL, "/"),
		sessions: make(map[string]*session),
		realms:   make(map[realm]*sessionList),
		refs:     make(map[refKey]*sessionList),

		undelivered: make(map[string]int),
	}
	seed := cfg.Seed
	if seed == 0 {
		var b [8]byte
		// crypto/rand.Read never fails: it ends the program instead.
		_, _ = crand.Read(b[:])
		seed = binary.LittleEndian.Uint64(b[:])
	}
	s.rng = rand.New(rand.NewPCG(seed, 1))
	s.faultRNG = rand.New(rand.NewPCG(seed, 2))
	s.apiRNG = rand.New(rand.NewPCG(seed, 3))
	for i := range s.macKey {
		s.macKey[i] = byte(s.rng.Uint32())
	}
	s.setEndpoints(cfg.Endpoints)
	return s, nil
}

func withDefaults(cfg Config) Config {
	if cfg.ProcessingDelay == 0 {
		cfg.ProcessingDelay = defaultProcessingDelay
	}
	if cfg.RedactionDelay == 0 {
		cfg.RedactionDelay = OnDemand
	}
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = defaultMaxSessions
	}
	if cfg.MaxEvents <= 0 {
		cfg.MaxEvents = defaultMaxEvents
	}
	if cfg.MaxIdempotencyKeys <= 0 {
		cfg.MaxIdempotencyKeys = defaultMaxIdempotency
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Delivery = cfg.Delivery.withDefaults()
	return cfg
}

// Run delivers webhooks and ends processing and redaction delays until ctx is done, then stops all
// of it and waits. It returns nil then. A later Run goes on with what is still queued; a second
// one at the same time is an error. Without Run the API works, but nothing is delivered and only
// delays of Immediately end.
func (s *Sim) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	return s.queue.run(ctx, s.cfg.Delivery.Concurrency)
}

// Settle waits until no submission is being processed, no redaction is on its way by itself, and
// no webhook is queued, held back or in flight. The error says how much was left when ctx ended.
func (s *Sim) Settle(ctx context.Context) error {
	return s.queue.settle(ctx)
}

// now is the clock that the outside sees; it stands still under Faults.FreezeClock. Needs s.mu.
func (s *Sim) now() time.Time {
	if !s.frozenAt.IsZero() {
		return s.frozenAt
	}
	return s.cfg.Now()
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID makes an id in Stripe's form. Needs s.mu.
func (s *Sim) newID(prefix string, n int) string {
	b := make([]byte, len(prefix), len(prefix)+n)
	copy(b, prefix)
	for range n {
		b = append(b, base62[s.rng.IntN(len(base62))])
	}
	return string(b)
}

// after runs fn with s.mu held: at once for Immediately, never for OnDemand, else after d. Needs s.mu.
func (s *Sim) after(d time.Duration, fn func()) {
	switch {
	case d < 0:
		fn()
	case d != OnDemand:
		s.queue.addTimer(time.Now().Add(d), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			fn()
		})
	}
}
