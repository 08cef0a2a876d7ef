package accounts

import (
	"context"
	"crypto/rand"
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
	// markRestKey is Config.KeyID at the refusal.
	markRestKey = "account:rest-key:"
	// leaseProbe is the name of the lease of the request that finds out whether the rest is over.
	leaseProbe = "account:"
)

// Config configures a Directory. Store and KeyID are required.
type Config struct {
	// Store keeps the marks for all replicas.
	Store store.Jobs
	// KeyID returns a number that identifies the API key of an account. It is called by many goroutines at once.
	KeyID func(account string) int64
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
	read      time.Time
	changes   int // how often this process changed the entry
}

// New returns a Directory. It returns an error if the configuration is not valid. It reads nothing.
func New(config Config) (*Directory, error) {
	if config.Store == nil || config.KeyID == nil {
		return nil, errors.New("accounts: Store and KeyID are required")
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

// Rests reports whether nothing must be requested for the account now. After the rest it returns false to a caller that can
// send the probe, which must call Probe just before the request, and true to others. It returns false if the store cannot be
// read and this process knows of no refusal.
func (d *Directory) Rests(ctx context.Context, account string, canProbe bool) bool {
	e := d.read(ctx, account, freshFor)
	return d.refused(e, account) && (!canProbe || d.inRest(e))
}

// Probe reports whether a request for the account can be sent. After a rest it returns true once in probeFor, for the request
// that finds out whether Stripe still refuses.
func (d *Directory) Probe(ctx context.Context, account string) bool {
	if e := d.read(ctx, account, freshFor); !d.refused(e, account) {
		return true
	}
	if e := d.read(ctx, account, 0); !d.refused(e, account) || d.inRest(e) {
		return !d.refused(e, account)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	taken, err := d.config.Store.Lease(ctx, leaseProbe+account, rand.Text(), probeFor)
	return err == nil && taken
}

// refused reports whether Stripe refused the account under its present key.
func (d *Directory) refused(e entry, account string) bool {
	return e.until != 0 && e.keyID == d.config.KeyID(account)
}

// inRest reports whether the rest still lasts. One that is longer than restFor by more than maxSkew comes from a clock that was
// wrong.
func (d *Directory) inRest(e entry) bool {
	now := d.config.Clock().Unix()
	return now < e.until && e.until-now <= int64((restFor+maxSkew).Seconds())
}

// Refused stores that Stripe refuses the account, or that the account has revoked its access. The account rests from now on.
func (d *Directory) Refused(ctx context.Context, account string) {
	until, keyID := d.config.Clock().Add(restFor).Unix(), d.config.KeyID(account)
	d.change(account, func(e *entry) { e.until, e.keyID = until, keyID })
	d.store(ctx, account, markRestKey, keyID)
	d.store(ctx, account, markRest, until)
}

// Answered stores that Stripe answers requests for the account.
func (d *Directory) Answered(ctx context.Context, account string) {
	if d.cached(account).until == 0 {
		return
	}
	d.change(account, func(e *entry) { e.until, e.keyID = 0, 0 })
	d.store(ctx, account, markRest, 0)
}

// store stores a mark, also if the caller has given up. If that fails, only this process knows the value.
func (d *Directory) store(ctx context.Context, account, mark string, value int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := d.config.Store.SetMark(ctx, mark+account, value); err != nil {
		d.config.Logger.Warn("accounts: the access to an account could not be stored for the other replicas", "account", account, "error", err)
	}
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
	e.changes++
	d.cache.Add(account, e)
}

// read is load for a caller that goes on without the store: it then gets what this process knows.
func (d *Directory) read(ctx context.Context, account string, age time.Duration) entry {
	e, _ := d.load(ctx, account, age)
	return e
}

// load returns what is known of an account. It reads the store if the entry was read longer than age ago. If this process
// changed the entry meanwhile, it returns the entry. It returns the entry and the error if the store cannot be read.
func (d *Directory) load(ctx context.Context, account string, age time.Duration) (entry, error) {
	before, found := d.cache.Get(account)
	now := d.config.Clock()
	if found && now.Sub(before.read) < age {
		return before, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	marks, err := d.config.Store.Marks(ctx, markContext+account, markRest+account, markRestKey+account)
	if err != nil {
		return before, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.cached(account)
	if e.changes != before.changes {
		return e, nil
	}
	e.byContext = e.byContext || marks[0] != 0
	e.until, e.keyID, e.read = marks[1], marks[2], now
	d.cache.Add(account, e)
	return e, nil
}
