package live

import (
	"context"
	"errors"

	"example.com/verification-status/server/internal/store"
)

// check compares the positions with the feed. Where a position is no longer good, or breaks names its partition,
// check moves to the head, resets the cache and wakes all watchers. A break counts even if the feed has the
// position: the server that answers now can be another one, which has not lost the same entries.
func (f *follower) check(ctx context.Context, breaks map[int]error) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	each, err := f.store.Check(limited, f.positions)
	if err != nil {
		return err
	}
	for partition, cause := range each {
		if cause == nil {
			cause = breaks[partition]
		}
		switch {
		case errors.Is(cause, store.ErrRewound):
			if err := f.reportLoss(ctx, partition, cause); err != nil {
				return err
			}
		case errors.Is(cause, store.ErrTrimmed):
			f.logger.Warn("the change feed was trimmed before it was read: all watches read again", "partition", partition)
		case cause != nil:
			return cause
		default:
			continue
		}
		head, err := f.head(ctx, partition)
		if err != nil {
			return err
		}
		f.positions[partition] = head
		f.tails[partition].reset(head)
		unconfirmed := f.cache.reset(partition)
		if errors.Is(cause, store.ErrRewound) && len(unconfirmed) > 0 {
			f.reportUnconfirmed(partition, unconfirmed)
		}
		f.hub.WakeAll()
	}
	return nil
}

// reportLoss finds the sessions whose entries are gone, and reports them.
func (f *follower) reportLoss(ctx context.Context, partition int, cause error) error {
	lost, more, err := f.tails[partition].lost(func(position store.Position) error {
		return f.contains(ctx, partition, position)
	})
	if err != nil {
		return err
	}
	f.logger.Warn("the store has lost writes, the change feed was rewound: all watches read again",
		"error", cause, "partition", partition, "sessions", len(lost), "maybe_more", more)
	f.lost(lost, more)
	return nil
}

// reportUnconfirmed reports commits of this process that the store lost before the feed showed them: the
// positions are good all the same.
func (f *follower) reportUnconfirmed(partition int, lost []string) {
	f.logger.Warn("the store has lost writes: commits of this process are not in the change feed", "partition", partition, "sessions", len(lost))
	f.lost(lost, false)
	f.hub.WakeAll()
}

func (f *follower) head(ctx context.Context, partition int) (store.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f.store.Head(ctx, partition)
}

// contains returns an error if a position is no longer in the feed.
func (f *follower) contains(ctx context.Context, partition int, position store.Position) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := f.store.ReadFeed(ctx, partition, position, 1)
	return err
}
