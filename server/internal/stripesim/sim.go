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
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Immediately is a delay that means: within the call itself. It is not zero, so that a zero delay means the default.
	Immediately time.Duration = -1
	// OnDemand is a delay that means: only by FinishProcessing or FinishRedaction.
	OnDemand time.Duration = math.MaxInt64

	defaultProcessingDelay = time.Second
	defaultMaxSessions     = 1_000_000
	defaultMaxEvents       = 100_000
	defaultMaxIdempotency  = 100_000
)

// Config configures a Sim. Only APIKeys is required.
type Config struct {
	// APIKeys are the platform's keys. They are accepted as Bearer token or Basic user name. "sk_test_..." and "rk_test_..." see
	// test mode sessions, "sk_live_..." and "rk_live_..." live ones.
	APIKeys []string
	// Keys are more keys, with limits. SetKeys replaces them.
	Keys []Key
	// BaseURL is the URL of Handler, for the links to the hosted page. Empty: the Host header of the newest API request. Before the
	// first request, links are relative.
	BaseURL string
	// APIVersion is the api_version of events and the Stripe-Version of responses to requests that
	// name none. Empty: events say null.
	APIVersion string
	// Endpoints get the webhooks, besides the endpoints that the API creates. SetEndpoints replaces them.
	Endpoints []Endpoint
	// NamesSnapshot is Endpoint.NamesSnapshot of the thin destinations that the API creates.
	NamesSnapshot float64
	// V1ShowsDestinations lets the list of webhook endpoints show the destinations of /v2 too, with their ids. Stripe's documentation
	// leaves open whether it does.
	V1ShowsDestinations bool

	// ProcessingDelay is the time between a submission and its outcome. 0: one second.
	ProcessingDelay time.Duration
	// RedactionDelay is the time that a redaction takes (at Stripe up to 4 days). 0: OnDemand.
	RedactionDelay time.Duration
	// Delivery has the limits and times of webhooks.
	Delivery DeliveryConfig

	// MaxSessions is the limit of sessions. A creation over the limit is answered 429. 0: 1,000,000.
	MaxSessions int
	// MaxEvents is how many of the newest events Events returns and the API lists. 0: 100,000.
	MaxEvents int
	// MaxIdempotencyKeys is how many of the newest keys are kept, for 24 h. 0: 100,000.
	MaxIdempotencyKeys int

	// Now is the clock of all times that are shown: created, Date, expiry of links, signatures. Delays and timeouts use the real
	// clock. It is called under the simulator's lock, so it must not call the simulator. nil: time.Now.
	Now func() time.Time
	// Seed makes ids, links and faults repeatable. 0: a random seed.
	Seed uint64
	// Logger gets deliveries that failed, but no bodies, links or secrets. nil: nothing is logged.
	Logger *slog.Logger
}

// Sim is one simulated Stripe. It is safe for concurrent use.
type Sim struct {
	cfg    Config
	log    *slog.Logger
	macKey [32]byte
	queue  *queue
	idem   *idempotency
	client *http.Client

	// mu makes a change of state, its event and the event's position in the queue one step. It is never held over I/O.
	mu        sync.Mutex
	rng       *rand.Rand // ids
	faultRNG  *rand.Rand // faults and jitter, separate so that faults do not change ids
	apiRNG    *rand.Rand // faults of the API, separate from those of webhooks
	pastRNG   *rand.Rand // lives of CreateHistory
	base      string
	frozenAt  time.Time       // zero: the clock runs
	past      time.Time       // the time in a history that is being made; zero: none is
	keys      []Key           // besides Config.APIKeys
	revoked   map[string]bool // accounts without access for the platform
	sessions  map[string]*session
	realms    map[realm]*sessionList
	refs      map[refKey]*sessionList
	order     []*session
	made      uint64      // sessions ever
	endpoints []*endpoint // in order of creation
	events    []Event
	eventAt   map[string]int // by event id and id of a thin event: its position, counted from the first event ever
	dropped   int            // events that are no longer in events
	faults    Faults
	apiFaults APIFaults
	apiLeft   int // faults of the API that are left, if they are limited
	window    []*delivery
	stats     Stats
	// undelivered has, by event id, how many endpoints have not accepted the event. It has no entry for 0.
	undelivered map[string]int
}

// New returns a simulator without sessions. It starts nothing. It returns an error if the configuration is wrong.
func New(cfg Config) (*Sim, error) {
	if len(cfg.APIKeys) == 0 {
		return nil, errors.New("stripesim: APIKeys is empty: give at least one key such as sk_test_simulated")
	}
	for i, key := range cfg.APIKeys {
		if !keyPattern.MatchString(key) || (Key{Value: key}).organization() {
			return nil, fmt.Errorf("stripesim: APIKeys[%d] must begin with sk_test_, rk_test_, sk_live_ or rk_live_", i)
		}
	}
	if err := checkKeys(cfg.Keys); err != nil {
		return nil, err
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

		keys:    slices.Clone(cfg.Keys),
		revoked: make(map[string]bool),
		eventAt: make(map[string]int),

		undelivered: make(map[string]int),
	}
	seed := cfg.Seed
	if seed == 0 {
		var b [8]byte
		// crypto/rand.Read never returns an error: it ends the program.
		_, _ = crand.Read(b[:])
		seed = binary.LittleEndian.Uint64(b[:])
	}
	s.rng = rand.New(rand.NewPCG(seed, 1))
	s.faultRNG = rand.New(rand.NewPCG(seed, 2))
	s.apiRNG = rand.New(rand.NewPCG(seed, 3))
	s.pastRNG = rand.New(rand.NewPCG(seed, 4))
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

// Run delivers webhooks and ends processing and redaction delays until ctx is done. It then stops the work, waits for its end and
// returns nil. A later Run resumes with the queue. It returns an error if another Run is in progress. Without Run, the API works, but
// no webhook is delivered, and no delay but Immediately ends.
func (s *Sim) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	return s.queue.run(ctx, s.cfg.Delivery.Concurrency)
}

// Settle waits until no submission is being processed, no timed redaction is in progress, and no webhook is queued, held or in
// progress. If ctx ends first, it returns an error that says how much is left.
func (s *Sim) Settle(ctx context.Context) error {
	return s.queue.settle(ctx)
}

// now is the clock of all times that are shown. Faults.FreezeClock stops it. The caller holds s.mu.
func (s *Sim) now() time.Time {
	if !s.past.IsZero() {
		return s.past
	}
	if !s.frozenAt.IsZero() {
		return s.frozenAt
	}
	return s.cfg.Now()
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID returns a new id in Stripe's form. The caller holds s.mu.
func (s *Sim) newID(prefix string, n int) string {
	b := make([]byte, len(prefix), len(prefix)+n)
	copy(b, prefix)
	for range n {
		b = append(b, base62[s.rng.IntN(len(base62))])
	}
	return string(b)
}

// after runs fn with s.mu held: at once for Immediately, never for OnDemand, otherwise after d. The caller holds s.mu.
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
