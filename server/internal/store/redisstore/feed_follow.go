package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

const (
	// maxBlock bounds one XREAD: a cancelled context does not wake it, so Close must wait this long
	// at worst.
	maxBlock = time.Second
	// blockGrace is how much later than its block an XREAD may answer before Redis counts as away.
	blockGrace = 2 * time.Second
	// blockEarly is how much earlier than its block an XREAD may end, by its own clock.
	blockEarly = 20 * time.Millisecond
)

// follower waits for feed entries on a client of its own: blocked reads would use up the connections
// of all others. Each group of partitions has at most one read under way: one group of all partitions
// where one server has them all, one group for each on a Cluster. A read outlives the Follow that
// began it, at most by maxBlock, and the next Follow takes its result.
type follower struct {
	client redis.UniversalClient
	keys   *keys
	groups [][]int

	caller   sync.Mutex // held during Follow; guards the next two, both by group
	reading  []bool
	followed []time.Time // see store.Feed.Followed
	results  chan groupResult

	stop   context.CancelFunc
	stopCx context.Context
	wg     sync.WaitGroup // the reads under way
}

type groupResult struct {
	group   int
	from    []store.Position
	entries []store.Entry
	until   time.Time // all that came before is in entries, or before from
	err     error
}

var errFollowTwice = errors.New("Follow has a caller already: one at a time")

func newFollower(client redis.UniversalClient, keys *keys, split bool) *follower {
	var groups [][]int
	for partition := range partitions {
		if split || len(groups) == 0 {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], partition)
	}
	ctx, stop := context.WithCancel(context.Background())
	return &follower{
		client: client, keys: keys, groups: groups,
		reading: make([]bool, len(groups)), followed: make([]time.Time, len(groups)),
		results: make(chan groupResult, len(groups)), // a read never waits to tell
		stop:    stop, stopCx: ctx,
	}
}

// Follow implements store.Feed. The entries bear the epoch of the position that they follow. It
// returns at most 1,000 entries of each partition, and as soon as ctx ends.
func (s *Store) Follow(ctx context.Context, after []store.Position, block time.Duration) ([]store.Entry, error) {
	if len(after) != partitions {
		return nil, fmt.Errorf("Follow needs %d positions, one for each partition; got %d", partitions, len(after))
	}
	f := s.follower
	if !f.caller.TryLock() {
		return nil, errFollowTwice
	}
	defer f.caller.Unlock()
	timer := time.NewTimer(block)
	defer timer.Stop()
	if f.stopCx.Err() == nil {
		f.start(slices.Clone(after), min(maxBlock, block))
	}
	select {
	case result := <-f.results:
		entries, err := f.collect(after, result)
		if err != nil {
			return nil, s.failed(ctx, "follow the feed", err)
		}
		s.cache.evictOlder(entries)
		return entries, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.stopCx.Done():
		return nil, fmt.Errorf("follow the feed: %w: the store was closed", store.ErrUnavailable)
	}
}

// Followed implements store.Feed.
func (s *Store) Followed(partition int) time.Time {
	s.follower.caller.Lock()
	defer s.follower.caller.Unlock()
	return s.follower.followed[s.follower.groupOf(partition)]
}

func (f *follower) groupOf(partition int) int {
	return slices.IndexFunc(f.groups, func(group []int) bool { return slices.Contains(group, partition) })
}

// start begins a read for each group that has none under way.
func (f *follower) start(after []store.Position, block time.Duration) {
	for group := range f.groups {
		if f.reading[group] {
			continue
		}
		f.reading[group] = true
		f.wg.Go(func() {
			entries, until, err := f.read(f.groups[group], after, block)
			f.results <- groupResult{group: group, from: after, entries: entries, until: until, err: err}
		})
	}
}

// read is one XREAD over the partitions of a group. until is a time up to which it has seen all, of this
// machine's clock: that of the question, or of the end of a block in which nothing came. Zero where
// there may be more.
func (f *follower) read(group []int, after []store.Position, block time.Duration) (entries []store.Entry, until time.Time, err error) {
	block = max(block, time.Millisecond) // XREAD takes 0 for ever
	ctx, cancel := context.WithTimeout(f.stopCx, block+blockGrace)
	defer cancel()
	var streams, ids []string
	for _, partition := range group {
		streams = append(streams, f.keys.feed(partition))
		ids = append(ids, streamID(after[partition].Seq))
	}
	// A nil in what a Cluster says of its nodes is redis.Nil too, and would pass for "nothing came", by which
	// memory is trusted.
	if cluster, ok := f.client.(*redis.ClusterClient); ok {
		if _, err := cluster.MasterForKey(ctx, streams[0]); err != nil {
			return nil, time.Time{}, fmt.Errorf("the Cluster's nodes cannot be read: %w", err)
		}
	}
	until = time.Now()
	found, err := f.client.XRead(ctx, &redis.XReadArgs{Streams: append(streams, ids...), Count: maxRead, Block: block}).Result()
	if err == redis.Nil { //nolint:errorlint // a wrapped one is of a Sentinel that knows no master
		return nil, until.Add(max(0, min(block, time.Since(until))-blockEarly)), nil // the block may end early, see CLIENT UNBLOCK
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, stream := range found {
		partition := group[slices.Index(streams[:len(group)], stream.Stream)]
		parsed, err := parseEntries(partition, after[partition].Epoch, stream.Messages)
		if err != nil {
			return nil, time.Time{}, err
		}
		if len(parsed) >= maxRead {
			until = time.Time{}
		}
		entries = append(entries, parsed...)
	}
	return entries, until, nil
}

// collect takes a result, and those that are there already, and returns the entries that follow the
// positions of today. A read that began elsewhere (its caller has moved on since) may have seen too
// much, which is left out, or too little: then its result is none, and it is made again.
func (f *follower) collect(after []store.Position, result groupResult) (entries []store.Entry, err error) {
	for {
		f.reading[result.group] = false
		if result.err != nil {
			f.followed[result.group] = time.Time{}
			return nil, result.err
		}
		if !result.until.IsZero() && f.covers(result, after) {
			f.followed[result.group] = result.until
		}
		for _, entry := range result.entries {
			from, to := result.from[entry.Partition], after[entry.Partition]
			if from.Epoch == to.Epoch && from.Seq <= to.Seq && entry.Position.Seq > to.Seq {
				entries = append(entries, entry)
			}
		}
		select {
		case result = <-f.results:
		default:
			return entries, nil
		}
	}
}

// covers reports whether a read began where its partitions are now, or before: then nothing of after is
// missing in it.
func (f *follower) covers(result groupResult, after []store.Position) bool {
	return !slices.ContainsFunc(f.groups[result.group], func(partition int) bool {
		from, to := result.from[partition], after[partition]
		return from.Epoch != to.Epoch || from.Seq > to.Seq
	})
}

// close ends the reads and waits for them.
func (f *follower) close() error {
	f.stop()
	err := f.client.Close()
	f.caller.Lock() // a Follow that has not seen the stop can still begin a read
	defer f.caller.Unlock()
	f.wg.Wait()
	return err
}
