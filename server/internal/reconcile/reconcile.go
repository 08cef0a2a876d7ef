package reconcile

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	defaultInterval = 15 * time.Minute
	// defaultOverlap is how far before the cursor a run begins. An event can appear in Stripe's list after younger
	// ones, and a failover of the store can lose records but keep the cursor.
	defaultOverlap = 10 * time.Minute
	// maxVisits bounds the number of sessions in Reconciler.visits.
	maxVisits = 10_000
)

// Store is the part of the store that a catch-up needs.
type Store interface {
	store.CatchUp
	// Get and Update are store.Store's. Update only notes that Stripe does not know a session.
	Get(ctx context.Context, id string) (verification.Session, error)
	Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error)
	// List is store.Lists'.
	List(ctx context.Context, query store.ListQuery) (store.ListPage, error)
	// Partitions is store.Feed's.
	Partitions() int
}

// Ingest applies what a catch-up found. See package ingest.
type Ingest interface {
	// Apply commits an event. A known event changes nothing.
	Apply(ctx context.Context, event verification.Event) (verification.Outcome, error)
	// Reread reads a session of current.Account at Stripe and returns the record after the read.
	Reread(ctx context.Context, current verification.Session) (verification.Session, error)
}

// Stripe lists events. It returns verification's ErrStripe… or a *StripeRefusedError.
type Stripe interface {
	// Events returns one page of the events about Identity sessions, the newest first. account is a connected account,
	// or empty for the platform itself.
	Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error)
}

// Config configures a Reconciler. Store, Stripe and Ingest are required.
type Config struct {
	Store  Store
	Stripe Stripe
	Ingest Ingest
	// Accounts are the connected accounts to catch up, whether or not the store knows a session of them. Nothing is
	// read of other accounts. If it is nil, a run catches up every account of which the store knows a session.
	Accounts verification.Accounts
	// Keyed returns the connected accounts that have an API key of their own. They are caught up like those in Accounts.
	// nil means none.
	Keyed func() []string
	// HasPlatform reports whether there are events and sessions of the platform itself, which a key of an organization does
	// not have. nil means yes.
	HasPlatform func() bool
	// KeyID returns a number, not 0, that identifies the API key for an account. If it has changed since the last run, the
	// sessions that Stripe did not know are read again. nil means that the key never changes.
	KeyID func(account string) int64
	// Interval is the time between two runs of Loop, plus or minus a tenth. 0 means 15 minutes.
	Interval time.Duration
	// Overlap is how far before its cursor a run begins, by Stripe's clock. 0 means 10 minutes.
	Overlap time.Duration
	// Holder is the name of this replica for the lease. It must be unique. If it is empty, New makes a random one.
	Holder string
	// Clock decides what is due and when to prolong the lease, and measures runs. Which events are read never depends
	// on it. nil means time.Now.
	Clock func() time.Time
	// Jitter returns a random number in [0, 1), for pauses. nil means math/rand/v2.
	Jitter func() float64
	// Logger gets progress, drift and errors, with ids and never with the content of a session. nil means slog.Default.
	Logger *slog.Logger
	// Observe is called after each Run, by one goroutine at a time. It can be nil.
	Observe func(Summary, error)
}

// Reconciler catches up. It is safe for concurrent use. It starts no goroutine: Loop runs in the goroutine of its caller.
type Reconciler struct {
	config  Config
	running chan struct{} // holds a token while a Run is in progress
	wake    chan struct{} // size 1
	visits  *lru.Cache[string, visit]
	began   int64 // when New was called, in Unix seconds

	// Tests make these smaller than the constants of the same names.
	firstPause time.Duration
	batchPages int

	holdOffs   map[string]holdOff // by account; only the Run in progress uses it
	servedWish int64              // markWish at the last look, if no wish was left; only Loop uses it

	mu        sync.Mutex
	lost      lostQueue
	full      fullRun
	seen      map[string]bool // the accounts that this process has seen
	announced []announced     // the oldest first
}

// New returns a Reconciler. It returns an error if the configuration is not valid. It sends no request.
func New(config Config) (*Reconciler, error) {
	switch {
	case config.Store == nil || config.Stripe == nil || config.Ingest == nil:
		return nil, errors.New("reconcile: Store, Stripe and Ingest are required")
	case config.Interval < 0 || config.Overlap < 0:
		return nil, errors.New("reconcile: Interval and Overlap must not be negative")
	}
	if config.Interval == 0 {
		config.Interval = defaultInterval
	}
	if config.Overlap == 0 {
		config.Overlap = defaultOverlap
	}
	if config.Holder == "" {
		config.Holder = rand.Text()
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Jitter == nil {
		config.Jitter = mathrand.Float64
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Observe == nil {
		config.Observe = func(Summary, error) {}
	}
	if config.Keyed == nil {
		config.Keyed = func() []string { return nil }
	}
	if config.HasPlatform == nil {
		config.HasPlatform = func() bool { return true }
	}
	if config.KeyID == nil {
		config.KeyID = func(string) int64 { return 1 }
	}
	visits, err := lru.New[string, visit](maxVisits)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for account := range config.Accounts {
		seen[account] = true
	}
	return &Reconciler{
		config:   config,
		holdOffs: make(map[string]holdOff),
		seen:     seen,
		running:  make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
		visits:   visits,
		began:    config.Clock().Unix(),

		firstPause: firstPause,
		batchPages: batchPages,
	}, nil
}
