package live

import (
	"hash/maphash"
	"math"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// entry is a cached session.
type entry struct {
	session *verification.Session
	woken   int32 // the revision up to which commits of this process have woken the watchers
	// seen is when the store was first seen to hold this revision. The store can lose it before the feed has
	// shown it, which leaves no sign in the feed. So the feed vouches for a revision only once it is proven: a
	// read that began after the feed was followed past seen has found it again.
	seen   int64 // ns since the cache began
	proven bool
	// arrivals is how many entries of the partition had arrived here when a read began that found this revision.
	arrivals uint64
}

// inFlight stands for the updates of one session that are under way in this process.
type inFlight struct {
	updates int
	shown   int32       // the newest revision that the feed has shown since the first update began
	read    int32       // the newest revision that was read or committed since then
	reset   bool        // the cache was reset since then
	timer   *time.Timer // runs while the watchers' wake-up is left to the updates; see cache.invalidate
}

// handle leads to the entry of one session.
type handle struct {
	*shard
	cache   *cache
	id      string
	counter *uint64
}

// generation is what is known of a session at a moment: a read that begins then is no older.
type generation struct {
	changes  uint64
	followed int64  // up to when the feed is known, in ns since the cache began; 0: stale
	arrivals uint64 // how many entries of the partition have arrived here
}

func (c *cache) handle(id string) handle {
	hash := maphash.String(c.seed, id)
	shard := &c.shards[hash%shards]
	return handle{shard: shard, cache: c, id: id, counter: &shard.changes[hash/shards%generations]}
}

// generation returns what is known so far. Take it before a read begins. It loads the time of the feed first, so
// that the feed vouches for no more than the counter includes.
func (h handle) generation() generation {
	partition := h.cache.partition(h.id)
	followed, arrivals := h.cache.followed[partition].Load(), h.cache.tails[partition].arrivals.Load()
	return generation{changes: h.changeCount(), followed: followed, arrivals: arrivals}
}

func (h handle) changeCount() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *h.counter
}

// get returns the cached session, and its arrivals (see entry). It returns nil if there is none, and if it was not
// proven within FreshnessBound.
func (h handle) get() (session *verification.Session, arrivals uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	cached, ok := h.entries.Get(h.id)
	if !ok || !cached.proven && h.cache.age()-cached.seen >= int64(FreshnessBound) {
		return nil, 0
	}
	return cached.session, cached.arrivals
}

// begin registers an update. Call end when it is done.
func (h handle) begin() *inFlight {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.updates[h.id]
	if u == nil {
		u = &inFlight{}
		h.updates[h.id] = u
	}
	u.updates++
	return u
}

// end returns the newest revision that the feed has shown since begin; 0: none. After a reset it is greater than
// any revision: a revision of the lost timeline must not hide one of the new timeline.
func (h handle) end(u *inFlight) (shown int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.updates--; u.updates == 0 {
		delete(h.updates, h.id)
		if u.timer != nil {
			u.timer.Stop()
		}
	}
	if u.reset && u.shown > 0 {
		return math.MaxInt32
	}
	return u.shown
}

// expect notes that the feed must show a commit of this process, unless it has shown the commit while the update
// was in flight. After a reset the follower can have skipped the entry, so nothing is expected.
func (h handle) expect(revision int32, u *inFlight) {
	answered := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !u.reset && u.shown < revision {
		h.cache.own[h.cache.partition(h.id)].add(h.id, revision, answered)
	}
}

// evict removes the session, and keeps reads that are under way from being cached.
func (h handle) evict() {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.counter++
	h.entries.Remove(h.id)
}

// put caches a session that was read at a generation. u is the update that read or committed it, and nil for a
// plain read. woken is the revision that the update wakes the watchers for, and 0 if it wakes nobody.
//
// If the generation has moved, the session can be stale: it is not cached, and a cached copy that is older, or
// another version of the same revision, is evicted. An update's session is stale only if the feed has shown a
// newer revision since the update began, or another call has read one: its own entry moves the generation too.
//
// A session that is not stale, and older than a cached copy, shows that the store lost the copy's revision. It
// replaces the copy, unless the copy is proven: then the feed will show the loss.
//
// A read that finds the version of the cached copy shows that the store had it after the arrivals at which the read
// began, stale or not.
func (h handle) put(session *verification.Session, since generation, woken int32, u *inFlight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	cached, ok := h.entries.Peek(h.id)
	same := ok && sameVersion(cached.session, session)
	stale := *h.counter != since.changes && (u == nil || u.reset || session.Revision < max(u.shown, u.read))
	if other := h.updates[h.id]; other != nil {
		other.read = max(other.read, session.Revision)
	}
	next := entry{session: session, woken: woken, seen: h.cache.age(), arrivals: since.arrivals}
	switch {
	case same:
		cached.arrivals = max(cached.arrivals, since.arrivals)
		next.arrivals = cached.arrivals
		next.woken, next.seen = max(woken, cached.woken), cached.seen
		next.proven = cached.proven || cached.seen <= since.followed
	case ok && cached.session.Revision < session.Revision:
		next.woken = max(woken, cached.woken)
	}
	switch {
	case ok && cached.session.Revision > session.Revision && (stale || cached.proven):
		return
	case !stale:
		h.entries.Add(h.id, next)
	case same:
		h.entries.Add(h.id, cached)
	case ok:
		h.entries.Remove(h.id)
	}
	if !same {
		*h.counter++ // reads that are under way can be older than this session
	}
}

// sameVersion reports whether two records hold the same version of the same revision. After a loss its number
// can come again with other content.
func sameVersion(a, b *verification.Session) bool {
	if a.Revision != b.Revision || a.State != b.State { // the usual case, after a commit, and the cheapest to see
		return false
	}
	first, known := a.Fingerprint(a.Revision)
	second, alsoKnown := b.Fingerprint(b.Revision)
	return known == alsoKnown && first == second
}
