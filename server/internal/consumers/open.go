package consumers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"example.com/verification-status/server/internal/store"
)

// roomTries is how many expired consumers make room for a new one at most: others can take the room that was made.
const roomTries = 3

// Request asks for a stream of a consumer.
type Request struct {
	// Name is the consumer's.
	Name string
	// Caller is the name of the caller. It is empty if callers have no names.
	Caller string
	// MustExist refuses to create the consumer.
	MustExist bool
	// Own is set if the stream does not begin at Stream.Positions, but at a position that the caller knows. Then the consumer can
	// be expired. Own is called with the consumer's incarnation before the lease is taken, and returns an error if the position
	// is not of this consumer.
	Own func(incarnation uint64) error
}

// Open takes the lease of a consumer and returns the stream that holds it, until Close. It creates the consumer at the heads of
// the feed if it does not exist. It returns store.ErrNotFound if the consumer must exist and does not, ErrNotOwner, a
// *BusyError if another stream is open, ErrExpired if the stream would begin at a position after which changes are gone, and
// store.ErrTooManyConsumers if there is no room for a new consumer, store.ErrConsumerShare if the caller has its share of them,
// and the error of Request.Own as it is.
func (c *Consumers) Open(ctx context.Context, request Request) (*Stream, error) {
	consumer, err := c.config.Store.Consumer(ctx, request.Name)
	// A consumer that has never acknowledged can be one whose creation failed because the replicas were late. Without the wait
	// the stream would send positions of a consumer that a failover can lose.
	missing := errors.Is(err, store.ErrNotFound)
	unsure := missing || err == nil && consumer.Acknowledged.IsZero() && owns(consumer, request.Caller)
	if unsure && !request.MustExist {
		consumer, err = c.create(ctx, request, missing)
	}
	if err != nil {
		return nil, err
	}
	if !owns(consumer, request.Caller) {
		return nil, ErrNotOwner
	}
	if request.Own != nil {
		if err := request.Own(consumer.Incarnation); err != nil {
			return nil, err
		}
	}
	s := &Stream{
		consumers: c, name: request.Name, incarnation: consumer.Incarnation, caller: request.Caller, id: rand.Text(),
		stop: make(chan struct{}), done: make(chan struct{}), lost: make(chan struct{}),
	}
	if err := s.renew(ctx); err != nil {
		if !isLost(err) {
			s.release() // the answer can be lost, and the lease taken
		}
		return nil, err
	}
	// Only now, because the stream before this one can have acknowledged more until it gave the lease back.
	if err := s.begin(ctx, request.Own != nil); err != nil {
		s.release()
		return nil, err
	}
	c.changed.Store(true)
	go s.keep()
	return s, nil
}

// create creates a consumer at the heads of the feed, or returns the one that another stream has created. missing says that there was
// none: then create asks for room before it reads the heads, which costs a call for each partition.
func (c *Consumers) create(ctx context.Context, request Request, missing bool) (store.Consumer, error) {
	share := c.config.Share
	if request.Caller == "" {
		share = 0 // callers without names cannot be told apart
	}
	if missing {
		if err := c.askForRoom(ctx, request.Caller, share); err != nil {
			return store.Consumer{}, err
		}
	}
	fresh := store.Consumer{Name: request.Name, Owner: request.Caller}
	for partition := range c.config.Store.Partitions() {
		head, err := c.config.Store.Head(ctx, partition)
		if err != nil {
			return store.Consumer{}, err
		}
		fresh.Positions = append(fresh.Positions, head)
	}
	for try := 0; ; try++ {
		stored, created, err := c.config.Store.CreateConsumer(ctx, fresh, share)
		if created {
			c.config.Logger.Info("created a consumer at the head of the feed", "consumer", stored.Name, "owner", stored.Owner)
		}
		if !errors.Is(err, store.ErrTooManyConsumers) || try == roomTries {
			return stored, err
		}
		room, roomErr := c.makeRoom(ctx)
		if roomErr != nil {
			return store.Consumer{}, roomErr
		}
		if !room {
			return store.Consumer{}, err
		}
	}
}

// askForRoom returns the error that CreateConsumer would return, unless others create or delete consumers at the same time.
func (c *Consumers) askForRoom(ctx context.Context, caller string, share int) error {
	all, err := c.config.Store.ListConsumers(ctx)
	if err != nil {
		return err
	}
	own := 0
	for _, consumer := range all {
		if consumer.Owner == caller {
			own++
		}
	}
	if share > 0 && own >= share {
		return store.ErrConsumerShare
	}
	if len(all) < store.MaxConsumers {
		return nil
	}
	room, err := c.makeRoom(ctx)
	if err == nil && !room {
		err = store.ErrTooManyConsumers
	}
	return err
}

// makeRoom deletes the consumer that acknowledged nothing for longest among those that are expired and have no stream. It
// returns false if there is none. It leaves a consumer that was used since its state was read.
func (c *Consumers) makeRoom(ctx context.Context) (bool, error) {
	states, err := c.List(ctx)
	if err != nil {
		return false, err
	}
	states = slices.DeleteFunc(states, func(state State) bool { return state.Active || !state.Expired })
	if len(states) == 0 {
		return false, nil
	}
	oldest := slices.MinFunc(states, func(a, b State) int { return a.Acknowledged.Compare(b.Acknowledged) })
	err = c.config.Store.DeleteConsumer(ctx, oldest.Name, oldest.Incarnation, oldest.Positions)
	c.changed.Store(true)
	if errors.Is(err, store.ErrConflict) {
		return true, nil // it is used again: the caller tries once more
	}
	if err != nil {
		return false, err
	}
	c.config.Logger.Warn("deleted an expired consumer to make room for a new one",
		"consumer", oldest.Name, "owner", oldest.Owner, "acknowledged", oldest.Acknowledged, "consumers", store.MaxConsumers)
	return true, nil
}

// begin reads where the stream begins. It returns ErrExpired if changes after that position are gone and no other position is known.
func (s *Stream) begin(ctx context.Context, ownPosition bool) error {
	consumer, err := s.consumers.config.Store.Consumer(ctx, s.name)
	if err != nil {
		return err
	}
	if consumer.Incarnation != s.incarnation {
		return fmt.Errorf("consumer %s: %w", s.name, store.ErrNotFound)
	}
	each, err := s.consumers.config.Store.Check(ctx, consumer.Positions)
	if err != nil {
		return err
	}
	for partition, denied := range each {
		if denied != nil && !ownPosition {
			// Not wrapped: of a token the same error means something else.
			return fmt.Errorf("%w: partition %d: %s", ErrExpired, partition, denied.Error())
		}
	}
	s.positions = consumer.Positions
	s.known = held(consumer.Positions, each)
	return nil
}

// held returns the positions with the zero Position in place of those that the feed denies.
func held(positions []store.Position, each []error) []store.Position {
	known := slices.Clone(positions)
	for partition, denied := range each {
		if denied != nil {
			known[partition] = store.Position{}
		}
	}
	return known
}
