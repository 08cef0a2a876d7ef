package live

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// shards keeps readers of different sessions from waiting for one lock.
	shards = 64
	// generations, in each shard, keep changes of one session from spoiling reads of the others.
	generations = 32
)

// cache keeps sessions, and what the feed showed of them. It never calls the store, and holds no lock while it
// calls wake. It is safe for concurrent use.
type cache struct {
	partition func(id string) int
	wake      func(id string) // wakes a session's watchers; see invalidate
	began     time.Time       // a second before newCache, so that no age is 0
	seed      maphash.Seed
	shards    [shards]shard
	followed  []atomic.Int64 // by partition: up to when the feed is known, in ns since began; 0: stale
	own       []ownCommits   // by partition
	tails     []tail         // by partition; the follower's
}

// shard is a part of the cache. Its lock is held for a few instructions, never over I/O.
type shard struct {
	mu      sync.Mutex
	entries *simplelru.LRU[string, entry]
	changes [generations]uint64 // counts what became known of the sessions that share a counter
	updates map[string]*inFlight
	hits    atomic.Uint64
}

// newCache makes a cache of up to size sessions, at least one for each shard, beside the tails of the partitions.
func newCache(size int, tails []tail, partition func(id string) int, wake func(id string)) *cache {
	c := &cache{
		partition: partition, wake: wake, began: time.Now().Add(-time.Second), seed: maphash.MakeSeed(),
		followed: make([]atomic.Int64, len(tails)), own: make([]ownCommits, len(tails)), tails: tails,
	}
	for i := range c.shards {
		entries, err := simplelru.NewLRU[string, entry](max(1, size/shards), nil)
		if err != nil {
			panic(err) // only for a size below 1
		}
		c.shards[i].entries, c.shards[i].updates = entries, make(map[string]*inFlight)
	}
	return c
}

// peek returns a session at a revision of at least minRevision, and nil if the cache has none or is stale.
func (c *cache) peek(id string, minRevision int32) *verification.Session {
	if !c.fresh(c.partition(id)) {
		return nil
	}
	h := c.handle(id)
	session, _ := h.get()
	if session == nil || session.Revision < minRevision {
		return nil
	}
	h.hits.Add(1)
	return session
}

// peekAt returns the session of an entry, read from the store after the entry arrived here. It returns nil if the cache has no
// such session, if it is stale, and if the tail does not hold the entry.
func (c *cache) peekAt(e store.Entry) *verification.Session {
	if !c.fresh(e.Partition) {
		return nil
	}
	arrival, ok := c.tails[e.Partition].arrival(e.Position)
	if !ok {
		return nil
	}
	h := c.handle(e.SessionID)
	session, arrivals := h.get()
	if session == nil || arrivals < arrival {
		return nil
	}
	h.hits.Add(1)
	return session
}

// hits returns how many answers came from the cache so far.
func (c *cache) hits() (hits uint64) {
	for i := range c.shards {
		hits += c.shards[i].hits.Load()
	}
	return hits
}

// invalidate notes a revision that the feed shows of a session. From then on no older revision is answered. It
// reports whether the caller must wake the session's watchers. It returns false if they were woken for this
// revision (it was committed here), or will be: an update of the session is in flight here, most likely the one
// that made the revision, and its end wakes them, or a timer does after updateGrace. The entry tends to come
// before the answer of the commit; a watcher that was woken by it would find nothing in the cache.
func (c *cache) invalidate(id string, revision int32) (wake bool) {
	h := c.handle(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.updates[id]
	if u != nil {
		u.shown = max(u.shown, revision)
	}
	c.own[c.partition(id)].confirm(id, revision)
	cached, ok := h.entries.Peek(id)
	if !ok || cached.session.Revision < revision {
		*h.counter++
		h.entries.Remove(id)
	}
	if u == nil {
		return cached.woken < revision
	}
	if u.timer == nil {
		u.timer = time.AfterFunc(updateGrace, func() {
			h.mu.Lock()
			u.timer = nil
			h.mu.Unlock()
			c.wake(id)
		})
	}
	return false
}

// markFresh notes that the feed showed all that a partition held at a time. It returns the sessions with a
// commit of this process that was answered before that time, and that the feed did not show: the store has lost
// these commits. They are no longer cached.
func (c *cache) markFresh(partition int, until time.Time) (lost []string) {
	lost = c.own[partition].overdue(until)
	for _, id := range lost {
		c.handle(id).evict()
	}
	c.followed[partition].Store(int64(until.Sub(c.began)))
	return lost
}

// markStale notes that the feed is not followed now, such as after an error. The entries stay, and are not
// used until markFresh is called again.
func (c *cache) markStale() {
	for partition := range c.followed {
		c.followed[partition].Store(0)
	}
}

// reset evicts all sessions: the feed of a partition cannot vouch for them. Reads that are under way are not
// cached. Until markFresh is called again, nothing of that partition is answered. reset returns the sessions with
// a commit of this process that the feed had not shown yet: after a loss no other process knows of them.
func (c *cache) reset(partition int) (unconfirmed []string) {
	c.followed[partition].Store(0)
	unconfirmed = c.own[partition].clear()
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		for n := range shard.changes {
			shard.changes[n]++
		}
		for _, u := range shard.updates {
			u.reset = true
		}
		shard.entries.Purge()
		shard.mu.Unlock()
	}
	return unconfirmed
}

// fresh reports whether the feed of a partition was read to its end less than FreshnessBound ago.
func (c *cache) fresh(partition int) bool {
	until := c.followed[partition].Load()
	return until > 0 && c.age()-until < int64(FreshnessBound)
}

// age returns the time since began, in ns.
func (c *cache) age() int64 { return int64(time.Since(c.began)) }
