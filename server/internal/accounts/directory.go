package accounts

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/verification-status/server/internal/store"
)

const (
	// restFor is how long a refused account rests.
	restFor = 24 * time.Hour
	// probeFor is how long the other requests wait for the one that finds out whether the rest is over.
	probeFor = time.Minute
	// maxSkew is the largest difference between the clocks of two replicas.
	maxSkew = 5 * time.Minute
	// freshFor is how long this process uses what it has read of the store. Another replica can have learned more.
	freshFor = 15 * time.Second
	// storeTimeout bounds one read or write of the store: a request to Stripe must not wait long for it.
	storeTimeout = time.Second
	// maxAccounts bounds the accounts in the cache of this process.
	maxAccounts = 10_000
)

// The names of the marks end with the id of the account.
const (
	// markContext is 1 if an event named the account by context only.
	markContext = "account:context:"
	// markRest is the Unix second up to which the account rests. 0 means that it does not.
	markRest = "account:rest:"
	// markRestKey is the KeyID of the refused request.
	markRestKey = "account:rest-key:"
	// markAnswered is the Unix second from which Stripe gave access again after a rest.
	markAnswered = "account:answered:"
	// leaseProbe is the name of the lease of the request that finds out whether the rest is over.
	leaseProbe = "account:"
)

// Config configures a Directory. Store and KeyID are required.
type Config struct {
	// Store keeps the marks for all replicas.
	Store store.Jobs
	// KeyID returns a number that identifies the API key of an account. It is called by many goroutines at once.
	KeyID func(account string) int64
	// Known reports whether this service has to do with an account. nil means that it has to do with all. It is called by many
	// goroutines at once.
	Known func(ctx context.Context, account string) (bool, error)
	// Clock returns the time. nil means time.Now.
	Clock func() time.Time
	// Logger gets the failures of the store. nil means slog.Default.
	Logger *slog.Logger
}

// Directory is safe for concurrent use.
type Directory struct {
	config Config
	mu     sync.Mutex
	cache  *lru.Cache[string, entry]
}

// entry is what this process knows of an account. The zero value knows nothing.
type entry struct {
	byContext bool
	until     int64 // markRest
	keyID     int64 // markRestKey
	// answered is the Unix second of the last request that Stripe answered, at least markAnswered.
	answered int64
	// unstored: the store lacks until and keyID, since a write failed.
	unstored bool
	read     time.Time
	changes  int // how often this process changed until and keyID
}

// since is the Unix second of the refusal.
func (e entry) since() int64 { return e.until - int64(restFor.Seconds()) }

// newer reports whether e is about a later second than the other entry.
func (e entry) newer(other entry) bool {
	return max(e.since(), e.answered) > max(other.since(), other.answered)
}

// New returns a Directory. It returns an error if the configuration is not valid. It reads nothing.
func New(config Config) (*Directory, error) {
	if config.Store == nil || config.KeyID == nil {
		return nil, errors.New("accounts: Store and KeyID are required")
	}
	if config.Known == nil {
		config.Known = func(context.Context, string) (bool, error) { return true, nil }
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	cache, err := lru.New[string, entry](maxAccounts)
	return &Directory{config: config, cache: cache}, err
}

// NoteContext stores that an event named the account by context only. It returns the errors of the store.
func (d *Directory) NoteContext(ctx context.Context, account string) error {
	if d.cached(account).byContext {
		return nil
	}
	if err := d.config.Store.SetMark(ctx, markContext+account, 1); err != nil {
		return err
	}
	d.change(account, func(e *entry) { e.byContext = true })
	return nil
}

// ByContext reports whether an event named the account by context only. It returns the errors of the store if this process
// does not know: a request with the wrong header is refused as if the account gave no access.
func (d *Directory) ByContext(ctx context.Context, account string) (bool, error) {
	if d.cached(account).byContext {
		return true, nil
	}
	e, err := d.load(ctx, account, freshFor)
	return e.byContext, err
}

func (d *Directory) cached(account string) entry {
	e, _ := d.cache.Peek(account)
	return e
}

func (d *Directory) change(account string, change func(*entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.cached(account)
	change(&e)
	d.cache.Add(account, e)
}

// read is load for a caller that goes on without the store: it then gets what this process knows.
func (d *Directory) read(ctx context.Context, account string, age time.Duration) entry {
	e, _ := d.load(ctx, account, age)
	return e
}

// load returns what is known of an account. It reads the store if the entry was read longer than age ago, and then writes
// again what could not be stored. It returns the entry and the error if the store cannot be read.
func (d *Directory) load(ctx context.Context, account string, age time.Duration) (entry, error) {
	before, found := d.cache.Get(account)
	now := d.config.Clock()
	if found && now.Sub(before.read) < age {
		return before, nil
	}
	bounded, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	marks, err := d.config.Store.Marks(bounded, markContext+account, markRest+account, markRestKey+account, markAnswered+account)
	if err != nil {
		return before, err
	}
	stored := entry{until: marks[1], keyID: marks[2], answered: marks[3]}
	var e entry
	d.change(account, func(cached *entry) {
		cached.byContext = cached.byContext || marks[0] != 0
		if cached.changes == before.changes {
			cached.read = now
			if !cached.unstored || stored.newer(*cached) {
				cached.until, cached.keyID, cached.unstored = stored.until, stored.keyID, false
			}
			cached.answered = max(cached.answered, stored.answered)
		}
		e = *cached
	})
	if e.unstored {
		_ = d.save(ctx, account) // the next read tries again
	}
	return e, nil
}

// save stores the rest of an account or its end, also if the caller has given up. If that fails, this process keeps it, and load
// tries again.
func (d *Directory) save(ctx context.Context, account string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	e := d.cached(account)
	name, value := markRestKey, e.keyID
	if e.until == 0 {
		name, value = markAnswered, e.answered
	}
	err := d.config.Store.SetMark(ctx, name+account, value)
	if err == nil {
		err = d.config.Store.SetMark(ctx, markRest+account, e.until)
	}
	d.change(account, func(cached *entry) {
		if cached.changes == e.changes {
			cached.unstored = err != nil
		}
	})
	return err
}
