package store

import (
	"context"
	"errors"
	"time"
)

// MaxConsumers is how many named consumers a store keeps.
const MaxConsumers = 64

// ErrTooManyConsumers means that MaxConsumers consumers are stored already.
var ErrTooManyConsumers = errors.New("the store has the greatest number of consumers")

// ErrConsumerShare means that the owner of a new consumer has its share of the consumers already.
var ErrConsumerShare = errors.New("the caller has its share of the consumers")

// Consumer is a named reader of the feed whose positions are stored.
type Consumer struct {
	// Name is 1 to 64 bytes.
	Name string
	// Incarnation is the random number that a consumer gets when it is created. After a deletion, or a loss of the
	// store's writes, a consumer of the same name has another one. It is never 0.
	Incarnation uint64
	// Owner is the name of the caller that created the consumer. It is empty if callers have no names.
	Owner string
	// Positions holds what was acknowledged: one position for each partition.
	Positions []Position
	// Acknowledged is when a position moved last. It is zero before the first time.
	Acknowledged time.Time

	// Active is true if a stream held the lease, by the store's clock, when this was read.
	Active bool
	// Holder is the name of the caller whose stream holds the lease. It is empty if the consumer is not Active.
	Holder string
}

// Consumers stores the named consumers of the feed. It is safe for concurrent use. It returns the errors of Store. ErrNotFound
// means that there is no consumer of this name and incarnation.
type Consumers interface {
	// ListConsumers returns all consumers, by name.
	ListConsumers(ctx context.Context) ([]Consumer, error)
	// Consumer returns the consumer of a name. With ErrCorrupt it returns what can be read of name, incarnation and owner.
	Consumer(ctx context.Context, name string) (Consumer, error)
	// CreateConsumer stores a new consumer with the name, owner and positions of fresh, unless the name is taken, and returns
	// what is stored. It returns only after the write was kept as commits are (see G3). For a new
	// name it returns ErrConsumerShare if the owner of fresh has share consumers already, and else ErrTooManyConsumers if there
	// is no room. A share of 0 is no limit.
	CreateConsumer(ctx context.Context, fresh Consumer, share int) (stored Consumer, created bool, err error)
	// LeaseConsumer takes or prolongs the lease of a consumer for a stream, by the store's clock. stream is a random text;
	// holder is the caller's name. If another stream has the lease, held is false and left is how long it still runs: at
	// most duration, because a longer lease, made by another clock, is cut to duration. The lease is no lock: it can end
	// while its stream still works.
	LeaseConsumer(ctx context.Context, name string, incarnation uint64, stream, holder string, duration time.Duration) (held bool, left time.Duration, err error)
	// ReleaseConsumer ends the lease if the stream has it.
	ReleaseConsumer(ctx context.Context, name string, incarnation uint64, stream string) error
	// MoveConsumer replaces the position of each partition in which the stored position equals from by to. It leaves the
	// other partitions, and returns the consumer that is stored after the call. It decides nothing: the caller compares.
	MoveConsumer(ctx context.Context, name string, incarnation uint64, from, to []Position) (Consumer, error)
	// DeleteConsumer deletes the consumer. It returns nil if there is none of this name and incarnation.
	// An incarnation of 0 means any. If unused is not nil, it returns ErrConflict for a consumer that a stream has, or whose
	// positions are others by now, and does not delete it.
	DeleteConsumer(ctx context.Context, name string, incarnation uint64, unused []Position) error
	// Behind returns for one position of each partition how much follows in the feed. It costs one round trip, and one more
	// for each partition that looks trimmed.
	Behind(ctx context.Context, positions []Position) ([]Behind, error)
}

// Behind is how far a position is behind the head of its partition.
type Behind struct {
	// Entries counts the entries after the position. It is an estimate if Err is not nil.
	Entries int64
	// Oldest is when the oldest of them that is still held was committed, to the second. It is zero if there is none, if Err
	// is ErrRewound, or if an older version wrote it without a time.
	Oldest time.Time
	// Err is nil, ErrTrimmed or ErrRewound, as of Feed.Check.
	Err error
}
