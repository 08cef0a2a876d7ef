package importing

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Store is the part of the store that an import needs.
type Store interface {
	store.Jobs
	store.Consumers
	// Accounts is store.CatchUp's.
	Accounts(ctx context.Context) ([]string, error)
	// Update is store.Store's.
	Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error)
	// Partitions and Partition are store.Feed's.
	Partitions() int
	Partition(sessionID string) int
}

// Stripe lists sessions. It returns verification's ErrStripe… or a *StripeRefusedError.
type Stripe interface {
	// Sessions returns one page of the sessions, the newest first. account is a connected account, or empty for the
	// platform itself.
	Sessions(ctx context.Context, account string, query verification.SessionQuery) (verification.SessionPage, error)
}

// Ingest applies what a list alone cannot decide. See package ingest.
type Ingest interface {
	// Reread reads a session of current.Account at Stripe and returns the record after the read.
	Reread(ctx context.Context, current verification.Session) (verification.Session, error)
	// Inherit completes the replacement of another session by this one.
	Inherit(ctx context.Context, session verification.Session) (verification.Session, error)
}

// Config configures an Importer. Store, Stripe, Ingest and FeedMaxLen are required.
type Config struct {
	Store  Store
	Stripe Stripe
	Ingest Ingest
	// Accepted are the accepted connected accounts. Nothing is read of another one. nil accepts all.
	Accepted verification.Accounts
	// Only holds the accounts to import. The platform has the empty name. If Only is empty, a run imports the platform
	// unless NoPlatform is set, each account that Accepted names, each in Keyed, and each account of which the store knows
	// a session.
	Only []string
	// Keyed are the connected accounts that have an API key of their own.
	Keyed []string
	// NoPlatform is true if the key has no account of its own, as the key of an organization.
	NoPlatform bool
	// Since leaves out the sessions that were created before it, in Unix seconds. 0 leaves out none.
	Since int64
	// Again begins a new job, also if there is an unfinished one. A restored backup can hold the position of a job, and the sessions
	// before it can have changed since then.
	Again bool
	// Reads limits the requests to Stripe of one Run. 0 means no limit.
	Reads int
	// FeedMaxLen is how many changes each partition of the feed keeps.
	FeedMaxLen int64
	// Clock measures the run. What is imported does not depend on it. nil means time.Now.
	Clock func() time.Time
	// Logger gets what could not be imported, with ids and never with the content of a session. nil means slog.Default.
	Logger *slog.Logger
	// Progress is called after each step, by one goroutine. It can be nil.
	Progress func(Progress)
}

// Importer imports. One goroutine at a time may use it.
type Importer struct {
	config Config
	holder string

	// Tests make these smaller than the constants of the same names.
	firstPause time.Duration
	leaseWait  time.Duration
	poll       time.Duration
}

// New returns an Importer. It returns an error if the configuration is not valid. It sends no request.
func New(config Config) (*Importer, error) {
	switch {
	case config.Store == nil || config.Stripe == nil || config.Ingest == nil || config.FeedMaxLen < 1:
		return nil, errors.New("importing: Store, Stripe, Ingest and FeedMaxLen are required")
	case config.Since < 0 || config.Reads < 0:
		return nil, errors.New("importing: Since and Reads must not be negative")
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Progress == nil {
		config.Progress = func(Progress) {}
	}
	return &Importer{config: config, holder: rand.Text(), firstPause: firstPause, leaseWait: leaseWait, poll: poll}, nil
}
