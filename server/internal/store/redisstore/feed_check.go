package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

// Check implements store.Feed. It reads the position's own entry before the head, so that a loss in between shows in the head.
// An append in between makes a position look trimmed. Check passes such a position to ReadFeed, which reads both at the same
// moment.
func (s *Store) Check(ctx context.Context, positions []store.Position) (each []error, err error) {
	if len(positions) != partitions {
		return nil, fmt.Errorf("Check needs %d positions, one for each partition; got %d", partitions, len(positions))
	}
	var entries [partitions]*redis.XMessageSliceCmd
	var heads [partitions]*redis.SliceCmd
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for partition, position := range positions {
			entries[partition] = p.XRangeN(ctx, s.keys.feed(partition), streamID(max(1, position.Seq)), "+", 2)
			heads[partition] = p.HMGet(ctx, s.keys.meta(partition), "epoch", "seq", "nonce")
		}
		return nil
	})
	if err != nil {
		return nil, s.failed(ctx, "check the feed", err)
	}
	each = make([]error, partitions)
	for partition, position := range positions {
		head, known, err := parseHead(heads[partition].Val())
		if err != nil {
			return nil, err
		}
		found, err := parseEntries(partition, head.Epoch, entries[partition].Val())
		if err != nil {
			return nil, err
		}
		_, each[partition] = following(position, head, known, found)
		if errors.Is(each[partition], store.ErrTrimmed) {
			_, each[partition] = s.ReadFeed(ctx, partition, position, 1)
		}
		if err := each[partition]; err != nil && !errors.Is(err, store.ErrTrimmed) && !errors.Is(err, store.ErrRewound) {
			return nil, err
		}
	}
	return each, nil
}
