package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/verification-status/server/internal/store"
)

// Acknowledge stores that a consumer has handled everything up to the positions that decode returns for the consumer's incarnation. A
// position that is not after the stored one changes nothing. Acknowledge returns store.ErrNotFound, ErrNotOwner, the error
// of decode as it is, store.ErrRewound if a position was lost with writes of the store, store.ErrTrimmed if a position is
// after the stored one and so old that the feed can no longer prove it, and store.ErrConflict if others move the
// consumer all the time. After an error nothing has moved.
func (c *Consumers) Acknowledge(ctx context.Context, name, caller string, decode func(incarnation uint64) ([]store.Position, error)) error {
	consumer, err := c.config.Store.Consumer(ctx, name)
	if err != nil {
		return err
	}
	if !owns(consumer, caller) {
		return ErrNotOwner
	}
	given, err := decode(consumer.Incarnation)
	if err != nil {
		return err
	}
	each, err := c.config.Store.Check(ctx, given)
	if err != nil {
		return err
	}
	for range store.MaxTries {
		to, err := c.moved(ctx, consumer.Positions, given, each)
		if err != nil || slices.Equal(to, consumer.Positions) {
			return err
		}
		consumer, err = c.config.Store.MoveConsumer(ctx, name, consumer.Incarnation, consumer.Positions, to)
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("consumer %s: %w", name, store.ErrConflict)
}

// moved returns where an acknowledgement moves the stored positions to. each holds the feed's answer to each given position. The
// stored positions are checked only where that matters.
func (c *Consumers) moved(ctx context.Context, stored, given []store.Position, each []error) ([]store.Position, error) {
	to := slices.Clone(stored)
	var unclear []int
	for partition, position := range given {
		ahead := isAfter(position, stored[partition])
		switch denied := each[partition]; {
		case errors.Is(denied, store.ErrTrimmed) && position.Epoch == stored[partition].Epoch && !ahead:
			// An old token, which changes nothing.
		case denied != nil:
			return nil, denied
		case ahead:
			to[partition] = position
		case position != stored[partition]:
			unclear = append(unclear, partition)
		}
	}
	if len(unclear) == 0 {
		return to, nil
	}
	each, err := c.config.Store.Check(ctx, stored)
	if err != nil {
		return nil, err
	}
	for _, partition := range unclear {
		if each[partition] != nil {
			to[partition] = given[partition] // the feed holds it, but not the stored one
		}
	}
	return to, nil
}
