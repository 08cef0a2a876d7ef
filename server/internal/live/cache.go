// Package nearcache answers reads of sessions from this process's memory, as long as the change feed is
// known to be followed. It sits between the store and those who ask it, and is filled by what they
// read and write; the tailer tells it what the feed says. It knows no database and no protocol, and
// decides nothing about sessions.
//
// What it promises, with the tailer's help:
//
//   - Recent serves from memory only while the feed was followed to its end less than Bound ago; an
//     answer is as old as that at most. Else it reads the store.
//   - A read that began before a change was told never comes after it: it does not enter the memory.
//   - A session is never answered with an older revision than an answer of this cache that was
//     complete when the question came.
//   - A revision that the store lost before the feed told of it, of which the feed keeps no sign, is served
//     for Bound at most: what was read or committed must be read once more, after the feed was followed past
//     it, to be vouched for.
//   - What the feed cannot vouch for (a trimmed or rewound partition, a reader that begins anew) is
//     forgotten.
package live

import (
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Bound is how long ago the feed must have been followed to its end for memory to be trusted.
const Bound = time.Second

const (
	// shards keeps readers of different sessions from waiting for one lock.
	shards = 64
	// counters, in each shard, keep news of one session from spoiling reads of others.
	counters = 32
	// readTimeout bounds a read of the store that several may be waiting for.
	readTimeout = 5 * time.Second
	// patience is how long news wait at most for an update that is under way: it may hang for seconds, such
	// as on late replicas or on a node that holds an index.
	patience = 100 * time.Millisecond
)

// Cache is a store.Store whose writes are remembered, with Recent beside it. It is safe for concurrent
// use. Get and all else of the Store ask the store as ever.
type Cache struct {
	store.Store
	clock    func() time.Time
	began    time.Time
	seed     maphash.Seed
	shards   [shards]shard
	followed []atomic.Int64 // by partition: until when the feed is known, in ns since began; 0: not
	unheard  []unheard      // by partition
	reads    singleflight.Group
	misses   atomic.Uint64
	watchers Watchers // nil: nobody
}

// Watchers are told of what this process's own updates bring to light. Its methods must not block.
type Watchers interface {
	// Committed comes after each commit.
	Committed(before, after verification.Session)
	// Changed comes where the feed told of a session while an update of it was under way, and the update
	// did not commit what it told, or not soon; see Told.
	Changed(id string)
}

// NewCache makes a cache of up to size sessions, at least one for each of its 64 parts. watchers may be nil.
func NewCache(s store.Store, size int, clock func() time.Time, watchers Watchers) *Cache {
	c := &Cache{
		Store: s, clock: clock, began: clock().Add(-time.Second), seed: maphash.MakeSeed(),
		followed: make([]atomic.Int64, s.Partitions()), unheard: make([]unheard, s.Partitions()), watchers: watchers,
	}
	for i := range c.shards {
		sessions, err := simplelru.NewLRU[string, remembered](max(1, size/shards), nil)
		if err != nil {
			panic(err) // only for a size below 1
		}
		c.shards[i].sessions, c.shards[i].updates = sessions, make(map[string]*update)
	}
	return c
}

// Remembered returns a session at a revision of at least least from memory, or nil where memory has none
// or may not be trusted. It must not be changed.
func (c *Cache) Remembered(id string, least int32) *verification.Session {
	if !c.trusted(c.Partition(id)) {
		return nil
	}
	at := c.place(id)
	session := at.get()
	if session == nil || session.Revision < least {
		return nil
	}
	at.hits.Add(1)
	return session
}

// Counts says how many answers came from memory so far, and how many the store was asked for in Recent.
func (c *Cache) Counts() (hits, misses uint64) {
	for i := range c.shards {
		hits += c.shards[i].hits.Load()
	}
	return hits, c.misses.Load()
}

// Recent returns a session at a revision of at least least, from memory where that may be trusted.
func (c *Cache) Recent(ctx context.Context, id string, least int32) (verification.Session, error) {
	if session := c.Remembered(id, least); session != nil {
		return *session, nil
	}
	c.misses.Add(1)
	session, shared, err := c.read(ctx, c.place(id))
	if shared && (session.Revision < least || errors.Is(err, store.ErrNotFound)) {
		return c.Get(ctx, id) // it began before the question: what the caller knows may be newer
	}
	return session, err
}

// Get implements store.Store. What it reads is remembered.
func (c *Cache) Get(ctx context.Context, id string) (verification.Session, error) {
	at := c.place(id)
	since := at.generation()
	session, err := c.Store.Get(ctx, id)
	if err == nil {
		at.put(&session, since, 0, nil)
	}
	return session, err
}

// read asks the store once for all who ask at the same time, with nothing new in between: who was
// woken by a change must not be given a read that began before it.
func (c *Cache) read(ctx context.Context, at place) (session verification.Session, shared bool, err error) {
	since := at.generation()
	answer := c.reads.DoChan(readKey(at.id, since.news), func() (any, error) {
		reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		session, err := c.Store.Get(reading, at.id)
		if err != nil {
			return nil, err
		}
		at.put(&session, since, 0, nil)
		return &session, nil
	})
	select {
	case result := <-answer:
		if result.Err != nil {
			return verification.Session{}, result.Shared, result.Err
		}
		return *result.Val.(*verification.Session), result.Shared, nil
	case <-ctx.Done():
		return verification.Session{}, false, ctx.Err()
	}
}

// readKey is that of the reads of a session at a generation. The number ends at the colon, so that no id and
// number make the key of another id.
func readKey(id string, since uint64) string { return strconv.FormatUint(since, 36) + ":" + id }

// Update implements store.Store. What was committed is remembered, and told at once.
func (c *Cache) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	at := c.place(id)
	u := at.begin()
	var announced int32
	defer func() {
		if told := at.end(u); told > announced && c.watchers != nil {
			c.watchers.Changed(id)
		}
	}()
	since := at.generation() // not in fn: the read that came before it may be older than what was told meanwhile
	var before verification.Session
	var wrote bool
	session, err := c.Store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
		before = current
		next, write, err := fn(current)
		wrote = write && err == nil
		return next, write, err
	})
	if err != nil || !session.Exists() {
		return session, err
	}
	if wrote && session.Revision > before.Revision {
		at.awaitTold(session.Revision, u, c.clock(), &c.unheard[c.Partition(id)])
	}
	if !wrote || c.watchers == nil {
		at.put(&session, since, 0, u)
		return session, nil
	}
	at.put(&session, since, session.Revision, u)
	announced = session.Revision
	c.watchers.Committed(before, session)
	return session, nil
}

// Told notes what the feed says of a session. Afterwards no older revision is answered. It reports whether
// the watchers of the session must be told: they were if the revision was committed here, and will be if an
// update is under way, which is mostly the one that made it: at its end, or when patience is over. The feed
// tends to come before the commit's own answer, and whoever looked then would find nothing in memory.
func (c *Cache) Told(id string, revision int32) (news bool) {
	at := c.place(id)
	at.mu.Lock()
	defer at.mu.Unlock()
	u := at.updates[id]
	if u != nil {
		u.told = max(u.told, revision)
	}
	c.unheard[c.Partition(id)].told(id, revision)
	held, ok := at.sessions.Peek(id)
	if !ok || held.session.Revision < revision {
		*at.counter++
		at.sessions.Remove(id)
	}
	if c.watchers == nil || u == nil {
		return c.watchers == nil || held.own < revision
	}
	if u.late == nil {
		u.late = time.AfterFunc(patience, func() {
			at.mu.Lock()
			u.late = nil
			at.mu.Unlock()
			c.watchers.Changed(id)
		})
	}
	return false
}

// Trust notes that all that a partition's feed held at a time has been told. It returns the sessions of which
// it ought to have told, since a commit of this process had been answered by then: the store has lost these
// commits. They are not answered any more.
func (c *Cache) Trust(partition int, until time.Time) (lost []string) {
	lost = c.unheard[partition].lost(until)
	for _, id := range lost {
		c.place(id).drop()
	}
	c.followed[partition].Store(int64(until.Sub(c.began)))
	return lost
}

// Forget empties the memory: the feed of a partition cannot vouch for it any more. Reads that are under
// way do not enter it. Until Trust is called again nothing of that partition is served from it. It returns
// the sessions with a commit of this process of which the feed had not told yet: after a loss nobody else
// knows of them.
func (c *Cache) Forget(partition int) (unheard []string) {
	c.followed[partition].Store(0)
	unheard = c.unheard[partition].forget()
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		for n := range shard.news {
			shard.news[n]++
		}
		for _, u := range shard.updates {
			u.forgotten = true
		}
		shard.sessions.Purge()
		shard.mu.Unlock()
	}
	return unheard
}

// Distrust notes that the feed is not followed now, such as after an error: memory is kept, and not
// used until Trust is called again.
func (c *Cache) Distrust() {
	for partition := range c.followed {
		c.followed[partition].Store(0)
	}
}

func (c *Cache) trusted(partition int) bool {
	until := c.followed[partition].Load()
	return until > 0 && c.age()-until < int64(Bound)
}

// age is for how long the cache is there, in ns.
func (c *Cache) age() int64 { return int64(c.clock().Sub(c.began)) }
