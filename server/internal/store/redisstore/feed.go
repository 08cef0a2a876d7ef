package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

// maxRead bounds the entries of one ReadFeed, and of one partition in one Follow.
const maxRead = 1000

// Partitions implements store.Feed.
func (s *Store) Partitions() int { return partitions }

// Partition implements store.Feed.
func (s *Store) Partition(sessionID string) int { return partitionOf(sessionID) }

// Head implements store.Feed. A partition without an epoch gets one, so that the position means
// something from now on.
func (s *Store) Head(ctx context.Context, partition int) (store.Position, error) {
	if err := checkPartition(partition); err != nil {
		return store.Position{}, err
	}
	m, err := s.ensureMeta(ctx, partition)
	if err != nil {
		return store.Position{}, s.failed(ctx, "read the head of the feed", err)
	}
	return m.head()
}

func checkPartition(partition int) error {
	if partition < 0 || partition >= partitions {
		return fmt.Errorf("there is no partition %d: they are 0 to %d", partition, partitions-1)
	}
	return nil
}

// meta is a partition's meta hash as text.
type meta struct{ epoch, seq, nonce, partitions, format string }

// ensureMeta runs lua/meta.lua. Its error is the driver's.
func (s *Store) ensureMeta(ctx context.Context, partition int) (meta, error) {
	epoch, err := s.random()
	if err != nil {
		return meta{}, err
	}
	keys := []string{s.keys.feed(partition), s.keys.meta(partition)}
	m, err := metaScript.Run(ctx, s.client, keys, epoch, partitions, int(s.format)).StringSlice()
	if err != nil {
		return meta{}, err
	}
	if len(m) != 5 {
		return meta{}, fmt.Errorf("the meta script's answer has %d parts", len(m))
	}
	return meta{epoch: m[0], seq: m[1], nonce: m[2], partitions: m[3], format: m[4]}, nil
}

// head is the position behind the newest entry.
func (m meta) head() (store.Position, error) {
	epoch, err1 := strconv.ParseUint(m.epoch, 10, 64)
	seq, err2 := strconv.ParseUint(m.seq, 10, 64)
	nonce, err3 := strconv.ParseInt(m.nonce, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return store.Position{}, fmt.Errorf("%w: the meta of a partition holds no numbers", store.ErrCorrupt)
	}
	return store.Position{Epoch: epoch, Seq: seq, Nonce: uint64(nonce)}, nil
}

// ReadFeed implements store.Feed. It reads from the position's own entry on, which proves that the
// position is still the one that was given out. At most 1,000 entries.
func (s *Store) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("cannot read %d entries: ask for at least one", limit)
	}
	count := int64(min(limit, maxRead))
	if after.Seq > 0 {
		count++ // the position's own
	}
	// A transaction, because entry and head must be of one moment.
	var metaCmd *redis.SliceCmd
	var feedCmd *redis.XMessageSliceCmd
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		metaCmd = p.HMGet(ctx, s.keys.meta(partition), "epoch", "seq", "nonce")
		feedCmd = p.XRangeN(ctx, s.keys.feed(partition), streamID(max(1, after.Seq)), "+", count)
		return nil
	})
	if err != nil {
		return nil, s.failed(ctx, "read the feed", err)
	}
	head, known, err := parseHead(metaCmd.Val())
	if err != nil {
		return nil, err
	}
	entries, err := parseEntries(partition, head.Epoch, feedCmd.Val())
	if err != nil {
		return nil, err
	}
	return following(after, head, known, entries)
}

// Check implements store.Feed. The position's own entry is looked at before the head: what is lost in
// between shows in the head.
func (s *Store) Check(ctx context.Context, positions []store.Position) (each []error, err error) {
	if len(positions) != partitions {
		return nil, fmt.Errorf("Check needs %d positions, one for each partition; got %d", partitions, len(positions))
	}
	var entries [partitions]*redis.XMessageSliceCmd
	var heads [partitions]*redis.SliceCmd
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for partition, position := range positions {
			entries[partition] = p.XRangeN(ctx, s.keys.feed(partition), streamID(max(1, position.Seq)), "+", 1)
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
	}
	return each, nil
}

func parseHead(values []any) (head store.Position, known bool, err error) {
	m := meta{nonce: "0"}
	for i, to := range []*string{&m.epoch, &m.seq, &m.nonce} {
		if text, ok := values[i].(string); ok {
			*to = text
		}
	}
	if m.epoch == "" {
		return store.Position{}, false, nil
	}
	head, err = m.head()
	return head, true, err
}

// following is what follows a position, given the entries from its own on: or why that cannot be told.
func following(after, head store.Position, known bool, entries []store.Entry) ([]store.Entry, error) {
	beginning := after == store.Position{}
	switch {
	case beginning && !known:
		return nil, nil
	case !known, !beginning && after.Epoch != head.Epoch:
		return nil, fmt.Errorf("%w: it has another epoch", store.ErrRewound)
	case after.Seq > head.Seq:
		return nil, fmt.Errorf("%w: it ends before the position", store.ErrRewound)
	case after.Seq == head.Seq && after.Seq > 0 && after.Nonce != head.Nonce:
		return nil, fmt.Errorf("%w: another entry has the position's number", store.ErrRewound)
	case after.Seq == head.Seq:
		return nil, nil
	case after.Seq == 0 && (len(entries) == 0 || entries[0].Position.Seq != 1):
		return nil, store.ErrTrimmed
	case after.Seq == 0:
		return entries, nil
	case len(entries) == 0 || entries[0].Position.Seq != after.Seq:
		return nil, store.ErrTrimmed
	case entries[0].Position.Nonce != after.Nonce:
		return nil, fmt.Errorf("%w: another entry has the position's number", store.ErrRewound)
	}
	return entries[1:], nil
}

func streamID(seq uint64) string { return strconv.FormatUint(seq, 10) + "-0" }

func parseEntries(partition int, epoch uint64, messages []redis.XMessage) ([]store.Entry, error) {
	entries := make([]store.Entry, 0, len(messages))
	for _, message := range messages {
		id, _, _ := strings.Cut(message.ID, "-")
		seq, err1 := strconv.ParseUint(id, 10, 64)
		session, _ := message.Values["s"].(string)
		revisionText, _ := message.Values["r"].(string)
		nonceText, _ := message.Values["n"].(string)
		revision, err2 := strconv.ParseInt(revisionText, 10, 32)
		nonce, err3 := strconv.ParseInt(nonceText, 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil || session == "" {
			return nil, fmt.Errorf("%w: entry %s of feed %d", store.ErrCorrupt, message.ID, partition)
		}
		_, pointer := message.Values["p"]
		trace, _ := message.Values["c"].(string)
		if len(trace) != traceSize {
			trace = ""
		}
		entries = append(entries, store.Entry{
			Partition: partition,
			Position:  store.Position{Epoch: epoch, Seq: seq, Nonce: uint64(nonce)},
			SessionID: session, Revision: int32(revision), Pointer: pointer, Trace: trace,
		})
	}
	return entries, nil
}
