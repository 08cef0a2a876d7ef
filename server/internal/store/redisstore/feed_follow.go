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
	// maxBlock bounds one XREAD. A canceled context does not end it, so Close can take this long.
	maxBlock = time.Second
	// blockGrace is how much later than its block an XREAD can answer before Redis counts as unavailable.
	blockGrace = 2 * time.Second
	// blockEarly is how much earlier than its block an XREAD can end, by the clock of the server.
	blockEarly = 20 * time.Millisecond
)

// follower waits for feed entries. It has its own client, because blocked reads would use up the connections of other calls.
// Each group of partitions has at most one read in progress. There is one group of all partitions or, on a Cluster, one group
// for each partition. A read can outlive the Follow that began it by at most maxBlock. The next Follow takes its result.
type follower struct {
	client redis.UniversalClient
	keys   *keys
	groups [][]int

	caller   sync.Mutex // held during Follow; guards reading and followed, both by group
	reading  []bool
	followed []time.Time // see store.Feed.Followed
	results  chan groupResult

	stop   context.CancelFunc
	stopCx context.Context
	wg     sync.WaitGroup // the reads in progress
}

type groupResult struct {
	group   int
	from    []store.Position
	entries []store.Entry
	until   time.Time // every entry up to this time is in entries or before from
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
		results: make(chan groupResult, len(groups)), // so that a read never blocks
		stop:    stop, stopCx: ctx,
	}
}

// Follow implements store.Feed. Each entry has the epoch of the position that it follows. Follow returns at most 1,000 entries
// of each partition. It returns at once when ctx ends.
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

// start begins a read for each group without a read in progress.
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

// read does one XREAD over the partitions of a group. until is a time of this machine's clock up to which the read has seen
// every entry: the start of the read, or the end of its block if there was no entry. It is zero if there can be more entries.
func (f *follower) read(group []int, after []store.Position, block time.Duration) (entries []store.Entry, until time.Time, err error) {
	block = max(block, time.Millisecond) // for XREAD 0 means forever
	ctx, cancel := context.WithTimeout(f.stopCx, block+blockGrace)
	defer cancel()
	var streams, ids []string
	for _, partition := range group {
		streams = append(streams, f.keys.feed(partition))
		ids = append(ids, streamID(after[partition].Seq))
	}
	// If a Cluster's list of nodes contains a nil, the driver returns redis.Nil too. That would look like "no entry", and
	// caches would count as fresh.
	if cluster, ok := f.client.(*redis.ClusterClient); ok {
		if _, err := cluster.MasterForKey(ctx, streams[0]); err != nil {
			return nil, time.Time{}, fmt.Errorf("the Cluster's nodes cannot be read: %w", err)
		}
	}
	until = time.Now()
	found, err := f.client.XRead(ctx, &redis.XReadArgs{Streams: append(streams, ids...), Count: maxRead, Block: block}).Result()
	if err == redis.Nil { //nolint:errorlint // a wrapped one comes from a Sentinel without the master
		return nil, until.Add(max(0, min(block, time.Since(until))-blockEarly)), nil // the block can end early; see CLIENT UNBLOCK
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

// collect takes a result and all further results that are ready. It returns their entries after the positions. A read that began
// at other positions can have seen too much or too little. collect leaves out what is too much. If it is too little, the
// next Follow reads again.
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
		entries = slices.Grow(entries, len(result.entries))
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

// covers reports whether a read began at the positions after, or before them. Then it has seen every entry since then.
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
	f.caller.Lock() // until then a Follow that has not seen stop can begin a read
	defer f.caller.Unlock()
	f.wg.Wait()
	return err
}
