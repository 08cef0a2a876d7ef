package live

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
)

// follower reads the feed for this process: one reader, whatever the number of watchers. It tells the cache
// what the feed shows, and wakes the watchers. It notices if the feed was rewound, and wakes all watchers after
// any time in which it can have missed something.
type follower struct {
	store   store.Store
	cache   followedCache
	hub     *hub.Hub
	lost    func(sessions []string, more bool)
	changed func(id string, revision int32)
	logger  *slog.Logger

	// positions and tails outlive an outage: a failover loses entries while the store cannot be read.
	positions []store.Position
	tails     []tail // by partition; the cache reads them

	known atomic.Pointer[time.Time] // see lag
}

// followedCache is the part of the cache that the follower calls.
type followedCache interface {
	invalidate(id string, revision int32) (wake bool)
	markFresh(partition int, until time.Time) (lost []string)
	markStale()
	reset(partition int) (unconfirmed []string)
}

func newFollower(config Config, h *hub.Hub, cache followedCache, tails []tail) *follower {
	f := &follower{
		store: config.Store, cache: cache, hub: h, lost: config.Lost, changed: config.Changed, logger: config.Logger,
		tails: tails,
	}
	if f.lost == nil {
		f.lost = func([]string, bool) {}
	}
	if f.changed == nil {
		f.changed = func(string, int32) {}
	}
	now := time.Now()
	f.known.Store(&now)
	return f
}

// run follows the feed until ctx ends. It waits for a store that is away. Call it once.
func (f *follower) run(ctx context.Context) {
	pause := retryMin
	var logged time.Time // the last warning; zero: none since the feed was read
	failures := 0        // since the last warning
	for {
		began, known := time.Now(), f.known.Load()
		err := f.follow(ctx)
		f.cache.markStale()
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= retryMax {
			pause = retryMin
			if f.known.Load() != known { // the feed was read; the call did not hang all the time
				logged, failures = time.Time{}, 0
			}
		}
		failures++
		if time.Since(logged) >= logEvery {
			f.logger.Warn("the change feed cannot be read: trying again", "error", err, "failures", failures)
			logged, failures = time.Now(), 0
		}
		if sleep(ctx, pause/2+rand.N(pause/2)) != nil {
			return
		}
		pause = min(2*pause, retryMax)
	}
}

// follow reads the feed from the positions, at first from the heads, until a call fails.
func (f *follower) follow(ctx context.Context) error {
	checked := time.Now()
	if err := f.begin(ctx); err != nil {
		return err
	}
	f.hub.WakeAll() // earlier changes can have been missed
	for {
		entries, err := f.store.Follow(ctx, f.positions, followBlock)
		if err != nil {
			return err
		}
		if unchained(entries) {
			began := time.Now()
			if err := f.check(ctx, nil); err != nil {
				return err
			}
			checked = began
		}
		entries, breaks := f.advance(entries)
		woke := f.deliver(entries)
		f.wakeReferences(ctx, entries)
		if !woke && len(entries) > 0 {
			pause := ownPause
			if f.hub.Listening(hub.KindPartition) > 0 {
				pause = watchedPause
			}
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
		if began := time.Now(); breaks != nil || began.Sub(checked) >= checkEvery {
			if err := f.check(ctx, breaks); err != nil {
				return err
			}
			checked = began
		}
		f.markFresh(checked)
	}
}

// begin takes the heads the first time. Later it checks that the feed is still the one that was read.
func (f *follower) begin(ctx context.Context) error {
	if f.positions != nil {
		return f.check(ctx, nil)
	}
	positions := make([]store.Position, f.store.Partitions())
	for partition := range positions {
		head, err := f.head(ctx, partition)
		if err != nil {
			return err
		}
		positions[partition] = head
	}
	f.positions = positions
	for partition, head := range positions {
		f.tails[partition].reset(head)
		f.cache.reset(partition) // the feed does not vouch for reads from before the head
	}
	return nil
}

// unchained reports whether entries were read that do not name the entry before them: an older version wrote
// them. Only the feed can say then whether they follow the positions. One answer shows each partition at one
// moment, so the first entry of each partition matters.
func unchained(entries []store.Entry) bool {
	last := -1
	return slices.ContainsFunc(entries, func(entry store.Entry) bool {
		first := entry.Partition != last
		last = entry.Partition
		return first && !entry.Chained
	})
}

// advance moves the positions over entries, as far as each entry follows the one before it, and returns these
// entries. If an entry does not follow, the store has lost entries that were read, and others have replaced them;
// or the feed was trimmed before it was read. breaks holds the reason by partition. A check of the new position
// would find nothing wrong.
func (f *follower) advance(entries []store.Entry) (following []store.Entry, breaks map[int]error) {
	for _, entry := range entries {
		position := &f.positions[entry.Partition]
		if entry.Position.Seq <= position.Seq || breaks[entry.Partition] != nil {
			continue // a check has moved to the head since, or will
		}
		if err := entry.Follows(*position); err != nil {
			if breaks == nil {
				breaks = make(map[int]error)
			}
			breaks[entry.Partition] = err
			continue
		}
		*position = entry.Position
		f.tails[entry.Partition].add(entry)
		following = append(following, entry)
	}
	return following, breaks
}

// markFresh lets the cache answer as far as the feed was read and its positions were checked.
func (f *follower) markFresh(checked time.Time) {
	known, all := checked, true
	for partition := range f.positions {
		until := f.store.Followed(partition)
		if until.IsZero() {
			all = false
			continue
		}
		if checked.Before(until) {
			until = checked
		}
		if until.Before(known) {
			known = until
		}
		if lost := f.cache.markFresh(partition, until); len(lost) > 0 {
			f.reportUnconfirmed(partition, lost)
		}
	}
	if all {
		f.known.Store(&known)
	}
}

// lag implements View.Lag.
func (f *follower) lag() time.Duration { return time.Since(*f.known.Load()) }

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
