package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

// surroundings is what the feed holds at a position.
type surroundings struct {
	head    store.Position
	entries []store.Entry // after the position, at most two. If err is ErrTrimmed: the oldest ones that are held
	err     error         // nil, ErrTrimmed or ErrRewound
}

// Check implements store.Feed.
func (s *Store) Check(ctx context.Context, positions []store.Position) (each []error, err error) {
	if err := onePerPartition("Check", positions); err != nil {
		return nil, err
	}
	found, err := s.around(ctx, positions)
	if err != nil {
		return nil, err
	}
	each = make([]error, partitions)
	for partition := range found {
		each[partition] = found[partition].err
	}
	return each, nil
}

// Behind implements store.Consumers.
func (s *Store) Behind(ctx context.Context, positions []store.Position) ([]store.Behind, error) {
	if err := onePerPartition("Behind", positions); err != nil {
		return nil, err
	}
	found, err := s.around(ctx, positions)
	if err != nil {
		return nil, err
	}
	behind := make([]store.Behind, partitions)
	for partition, position := range positions {
		at := found[partition]
		behind[partition] = store.Behind{Entries: entriesAfter(position, at.head), Err: at.err}
		if len(at.entries) > 0 && at.entries[0].Committed > 0 {
			behind[partition].Oldest = time.Unix(at.entries[0].Committed, 0)
		}
	}
	return behind, nil
}

// entriesAfter counts the entries after a position by the numbers of the entries. In another data set all entries are after it.
func entriesAfter(position, head store.Position) int64 {
	if position.Epoch != head.Epoch {
		return int64(head.Seq)
	}
	return int64(max(head.Seq, position.Seq) - position.Seq)
}

// around returns what the feed holds at one position of each partition. It reads the position's own entry before the head, so
// that a loss in between shows in the head. An append in between makes a position look trimmed. around passes such a
// position to readAt, which reads both at the same moment.
func (s *Store) around(ctx context.Context, positions []store.Position) (found [partitions]surroundings, err error) {
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
		return found, s.failed(ctx, "check the feed", err)
	}
	for partition, position := range positions {
		found[partition], err = judge(partition, position, heads[partition], entries[partition])
		if err == nil && errors.Is(found[partition].err, store.ErrTrimmed) {
			found[partition], err = s.readAt(ctx, partition, position, 2)
		}
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// readAt reads the feed from a position's own entry on, at most count entries. Entries and head are read in a transaction, so
// at the same moment.
func (s *Store) readAt(ctx context.Context, partition int, position store.Position, count int64) (surroundings, error) {
	var head *redis.SliceCmd
	var entries *redis.XMessageSliceCmd
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		head = p.HMGet(ctx, s.keys.meta(partition), "epoch", "seq", "nonce")
		entries = p.XRangeN(ctx, s.keys.feed(partition), streamID(max(1, position.Seq)), "+", count)
		return nil
	})
	if err != nil {
		return surroundings{}, s.failed(ctx, "read the feed", err)
	}
	return judge(partition, position, head, entries)
}

// judge returns the surroundings of a position, given the head and the entries from the position's own on.
func judge(partition int, position store.Position, headCmd *redis.SliceCmd, entriesCmd *redis.XMessageSliceCmd) (surroundings, error) {
	head, known, err := parseHead(headCmd.Val())
	if err != nil {
		return surroundings{}, err
	}
	held, err := parseEntries(partition, head.Epoch, entriesCmd.Val())
	if err != nil {
		return surroundings{}, err
	}
	after, err := following(position, head, known, held)
	if errors.Is(err, store.ErrTrimmed) {
		after = held
	}
	return surroundings{head: head, entries: after, err: err}, nil
}

func onePerPartition(call string, positions []store.Position) error {
	if len(positions) != partitions {
		return fmt.Errorf("%s needs %d positions, one for each partition; got %d", call, partitions, len(positions))
	}
	return nil
}
