// Package reconcile makes up for what webhooks did not bring: it reads Stripe's list of events from
// where it stopped last time, and reads sessions again that are in doubt, seem stuck or were lost.
//
// It decides nothing about a session: what it finds goes through ingest like any webhook, where what
// is known already changes nothing. So it may begin too early, repeat itself, or work beside another
// replica that does the same. It knows neither how Stripe is spoken to nor how records are kept.
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
	// defaultOverlap is how far behind the cursor a run begins. An event can appear in Stripe's list
	// after younger ones, and a failover of the store can lose records but not the cursor.
	defaultOverlap = 10 * time.Minute
	// maxVisits bounds the memory of sessions that were read again to no avail.
	maxVisits = 10_000
)

// Store is what catching up asks of the store.
type Store interface {
	store.CatchUp
	// Get is store.Store's.
	Get(ctx context.Context, id string) (verification.Session, error)
	// Partitions is store.Feed's.
	Partitions() int
}

// Ingest takes what was found; see package ingest.
type Ingest interface {
	// Apply commits an event; one that is known changes nothing.
	Apply(ctx context.Context, event verification.Event) (verification.Outcome, error)
	// Reread reads a session at Stripe, of current.Account, and returns the record after it.
	Reread(ctx context.Context, current verification.Session) (verification.Session, error)
}

// Stripe lists events. Errors are verification's ErrStripe… or *StripeRefusedError.
type Stripe interface {
	// Events lists one page of the events about Identity sessions, the newest first: a connected
	// account's, or the platform's own with an empty account.
	Events(ctx context.Context, account string, query EventQuery) (EventPage, error)
}

// EventQuery is the core's.
type EventQuery = verification.EventQuery

// EventPage is the core's.
type EventPage = verification.EventPage

// Config is what a Reconciler is made of. Store, Stripe and Ingest are required.
type Config struct {
	Store  Store
	Stripe Stripe
	Ingest Ingest
	// Accounts: these connected accounts are caught up, whether or not a session of theirs is known,
	// and nothing of others is read. nil: all of which a session is known are caught up.
	Accounts verification.Accounts
	// Interval is between two runs of Loop, give or take a tenth. 0: 15 min.
	Interval time.Duration
	// Overlap is how far behind its cursor a run begins, at Stripe's clock. 0: 10 min.
	Overlap time.Duration
	// Holder is this replica's name for the lease, unlike any other's. Empty: a random one.
	Holder string
	// Clock says what is due, how long a run takes and when to prolong the lease. Which events are
	// read never depends on it. nil: time.Now.
	Clock func() time.Time
	// Jitter is a random number from 0 to below 1, for pauses. nil: math/rand/v2.
	Jitter func() float64
	// Logger gets progress, drift and errors; ids, never what a session says. nil: slog.Default.
	Logger *slog.Logger
	// Observe is called after each Run, one at a time. nil: nobody counts.
	Observe func(Summary, error)
}

// Reconciler catches up. It is safe for concurrent use. It starts no goroutine: Loop runs in its
// caller's.
type Reconciler struct {
	Config
	running chan struct{} // holds a token while a Run is under way
	wake    chan struct{} // size 1
	visits  *lru.Cache[string, visit]

	firstPause time.Duration // see the constant

	rests map[string]rest // by account; of the one Run that is under way

	mu   sync.Mutex
	lost lostQueue
	full fullRun
	seen map[string]bool // the accounts that this process has known
}

// New checks the configuration and returns a Reconciler. It asks nobody anything.
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
	visits, err := lru.New[string, visit](maxVisits)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for account := range config.Accounts {
		seen[account] = true
	}
	return &Reconciler{
		Config:  config,
		rests:   make(map[string]rest),
		seen:    seen,
		running: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		visits:  visits,

		firstPause: firstPause,
	}, nil
}
