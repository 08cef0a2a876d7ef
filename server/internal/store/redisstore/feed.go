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

// Head implements store.Feed. It gives a partition without an epoch a new one, so that the position stays valid.
func (s *Store) Head(ctx context.Context, partition int) (store.Position, error) {
	if err := checkPartition(partition); err != nil {
		return store.Position{}, err
	}
	m, err := s.ensureMeta(ctx, s.client, partition)
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

// meta holds the fields of a partition's meta hash as text.
type meta struct{ epoch, seq, nonce, partitions, format string }

// ensureMeta runs lua/meta.lua. It returns the errors of the driver.
func (s *Store) ensureMeta(ctx context.Context, client redis.UniversalClient, partition int) (meta, error) {
	keys, args, err := s.metaArguments(partition)
	if err != nil {
		return meta{}, err
	}
	return parseMeta(metaScript.Run(ctx, client, keys, args...))
}

// ensureMetas runs lua/meta.lua for all partitions. It takes one round trip if the servers know the script.
func (s *Store) ensureMetas(ctx context.Context, client redis.UniversalClient) (metas [partitions]meta, err error) {
	var answers [partitions]*redis.Cmd
	// Each command also has the error of the pipeline.
	_, _ = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for partition := range answers {
			keys, args, argsErr := s.metaArguments(partition)
			err = errors.Join(err, argsErr)
			answers[partition] = metaScript.EvalSha(ctx, p, keys, args...)
		}
		return err
	})
	for partition, answer := range answers {
		if err == nil {
			metas[partition], err = parseMeta(answer)
		}
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			metas[partition], err = s.ensureMeta(ctx, client, partition)
		}
	}
	return metas, err
}

func (s *Store) metaArguments(partition int) (keys []string, args []any, err error) {
	epoch, err := s.random()
	return []string{s.keys.feed(partition), s.keys.meta(partition)}, []any{epoch, partitions, int(s.format)}, err
}

func parseMeta(answer *redis.Cmd) (meta, error) {
	m, err := answer.StringSlice()
	if err != nil {
		return meta{}, err
	}
	if len(m) != 5 {
		return meta{}, fmt.Errorf("the meta script's answer has %d parts", len(m))
	}
	return meta{epoch: m[0], seq: m[1], nonce: m[2], partitions: m[3], format: m[4]}, nil
}

// head returns the position after the newest entry.
func (m meta) head() (store.Position, error) {
	epoch, err1 := strconv.ParseUint(m.epoch, 10, 64)
	seq, err2 := strconv.ParseUint(m.seq, 10, 64)
	nonce, err3 := strconv.ParseInt(m.nonce, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return store.Position{}, fmt.Errorf("%w: the meta hash of a partition does not contain numbers", store.ErrCorrupt)
	}
	return store.Position{Epoch: epoch, Seq: seq, Nonce: uint64(nonce)}, nil
}

// ReadFeed implements store.Feed. It returns at most 1,000 entries. It reads from the position's own entry on, which proves
// that the position is still valid. If that entry was trimmed, the next one proves it.
func (s *Store) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("invalid limit %d: it must be at least 1", limit)
	}
	count := int64(min(limit, maxRead))
	if after.Seq > 0 {
		count++ // the position's own entry
	}
	at, err := s.readAt(ctx, partition, after, count)
	if err = errors.Join(err, at.err); err != nil {
		return nil, err
	}
	return at.entries[:min(limit, len(at.entries))], nil
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

// following returns the entries after a position, given the entries from the position's own on. It alone decides whether a
// position is valid, and returns ErrTrimmed or ErrRewound if it is not. The position's own entry proves a position or,
// without that entry, the next one, which contains the nonce of the one before. A position with Seq 0 needs only its epoch.
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
		return nil, errOtherEntry
	case after.Seq == head.Seq:
		return nil, nil
	}
	proven := after.Seq == 0
	if len(entries) > 0 && entries[0].Position.Seq == after.Seq {
		if entries[0].Position.Nonce != after.Nonce {
			return nil, errOtherEntry
		}
		proven, entries = true, entries[1:]
	}
	if len(entries) == 0 || !proven && !entries[0].Chained {
		return nil, store.ErrTrimmed
	}
	for n, entry := range entries {
		if err := entry.Follows(after); err != nil {
			if n > 0 {
				err = nil // the next read begins here and returns the error
			}
			return entries[:n], err
		}
		after = entry.Position
	}
	return entries, nil
}

var errOtherEntry = fmt.Errorf("%w: another entry has the position's number", store.ErrRewound)

func streamID(seq uint64) string { return strconv.FormatUint(seq, 10) + "-0" }

func parseEntries(partition int, epoch uint64, messages []redis.XMessage) ([]store.Entry, error) {
	entries := make([]store.Entry, 0, len(messages))
	for _, message := range messages {
		entry, err := parseEntry(message)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %s of feed %d", store.ErrCorrupt, message.ID, partition)
		}
		entry.Partition, entry.Position.Epoch = partition, epoch
		entries = append(entries, entry)
	}
	return entries, nil
}

// parseEntry reads the fields of an entry. See keys.feed.
func parseEntry(message redis.XMessage) (store.Entry, error) {
	text := func(name string) string {
		value, _ := message.Values[name].(string)
		return value
	}
	id, _, _ := strings.Cut(message.ID, "-")
	seq, err1 := strconv.ParseUint(id, 10, 64)
	revision, err2 := strconv.ParseInt(text("r"), 10, 32)
	nonce, err3 := strconv.ParseInt(text("n"), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || text("s") == "" {
		return store.Entry{}, store.ErrCorrupt
	}
	entry := store.Entry{
		Position:  store.Position{Seq: seq, Nonce: uint64(nonce)},
		SessionID: text("s"), Revision: int32(revision),
	}
	if text("b") != "" {
		before, err := strconv.ParseInt(text("b"), 10, 64)
		if err != nil {
			return store.Entry{}, store.ErrCorrupt
		}
		entry.Before, entry.Chained = uint64(before), true
	}
	_, entry.Pointer = message.Values["p"]
	if second, err := strconv.ParseInt(text("t"), 10, 64); err == nil {
		entry.Committed = second
	}
	if trace := text("c"); len(trace) == traceSize {
		entry.Trace = trace
	}
	return entry, nil
}
