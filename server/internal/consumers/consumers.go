package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/store"
)

const (
	// DefaultLease is how long a stream that died keeps others from taking over.
	DefaultLease = 15 * time.Second
	// callTimeout bounds each call of the store that no caller waits for.
	callTimeout = 2 * time.Second
)

// Errors of this package. Others are those of the store: store.ErrNotFound means that there is no such consumer.
var (
	// ErrNotOwner: another caller created the consumer.
	ErrNotOwner = errors.New("the consumer belongs to another caller")
	// ErrExpired: changes that the consumer has not acknowledged are gone.
	ErrExpired = errors.New("changes that the consumer has not acknowledged are gone")
)

// BusyError says that another stream has the lease of a consumer.
type BusyError struct {
	// RetryAfter is how long that lease still runs, unless it is renewed: more than 0, and at most the length of a lease.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("another stream of the consumer is open; its lease runs for another %v", e.RetryAfter)
}

// Store is the part of store.Backend that this package needs.
type Store interface {
	store.Consumers
	Partitions() int
	Head(ctx context.Context, partition int) (store.Position, error)
	Check(ctx context.Context, positions []store.Position) ([]error, error)
}

// Config configures Consumers.
type Config struct {
	Store  Store
	Logger *slog.Logger
	// Clock is for the age of changes. Leases run by the store's clock. nil means time.Now.
	Clock func() time.Time
	// MaxAge is how long the feed keeps a change. A consumer that is behind by more than half of it is logged. 0: as long as
	// there is room.
	MaxAge time.Duration
	// Lease is how long a lease runs. 0 means DefaultLease.
	Lease time.Duration
	// Share is how many of the store.MaxConsumers consumers one named caller can create, so that it cannot keep the others out.
	// 0: no limit.
	Share int
	// Keep is how long List returns what it has read, unless this process opens or closes a stream, or deletes a consumer. Then the
	// next call reads again, Keep/4 after the last read at the earliest. 0: every call reads.
	Keep time.Duration
	// Observe gets the states of all consumers every 15 s, from Run. It is not called while the store cannot be read. nil
	// drops them.
	Observe func([]State)
}

// Consumers are the named consumers of the feed. It is safe for concurrent use.
type Consumers struct {
	config Config

	listing  chan struct{} // held by the call of List that reads; it guards listed and listedAt
	listed   []State
	listedAt time.Time
	changed  atomic.Bool // since listedAt, by this process
}

// New returns the consumers of a store.
func New(config Config) *Consumers {
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Lease == 0 {
		config.Lease = DefaultLease
	}
	if config.Observe == nil {
		config.Observe = func([]State) {}
	}
	return &Consumers{config: config, listing: make(chan struct{}, 1)}
}

// Delete deletes a consumer. It returns nil if there is none, and ErrNotOwner if another caller created it, or if its
// owner cannot be read, and override is false. It also deletes a consumer that cannot be read otherwise.
func (c *Consumers) Delete(ctx context.Context, name, caller string, override bool) error {
	consumer, err := c.config.Store.Consumer(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	unreadable := errors.Is(err, store.ErrCorrupt)
	if err != nil && !unreadable {
		return err
	}
	if !override && (!owns(consumer, caller) || unreadable && consumer.Owner == "") {
		return ErrNotOwner
	}
	if err := c.config.Store.DeleteConsumer(ctx, name, consumer.Incarnation, nil); err != nil {
		return err
	}
	c.changed.Store(true)
	c.config.Logger.Info("deleted a consumer", "consumer", name, "owner", consumer.Owner, "caller", caller)
	return nil
}

// owns reports whether a caller may use a consumer. A consumer that was created by a caller without a name belongs to all.
func owns(consumer store.Consumer, caller string) bool {
	return consumer.Owner == "" || consumer.Owner == caller
}
