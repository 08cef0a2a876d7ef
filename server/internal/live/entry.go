package live

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"example.com/verification-status/server/internal/verification"
)

// shard's lock is held for a few instructions, never over I/O.
type shard struct {
	mu       sync.Mutex
	sessions *simplelru.LRU[string, remembered]
	news     [counters]uint64 // counts what became known of the sessions that share a counter
	updates  map[string]*update
	hits     atomic.Uint64
}

// remembered is a session, and up to which revision Committed has told of it.
type remembered struct {
	session *verification.Session
	own     int32
	// put is when the store was first seen to have this revision. The store can lose it before the feed has
	// told of it, which leaves no sign in the feed. So the feed vouches for a revision only once it is proven:
	// found again by a read that began after the feed had been followed past put.
	put    int64 // ns since the cache began
	proven bool
}

// update stands for the updates of one session that are under way here.
type update struct {
	users     int
	told      int32       // the newest revision that the feed has told of since the first of them began
	read      int32       // and the newest that was read or committed
	forgotten bool        // the feed could vouch for nothing since
	late      *time.Timer // runs while watchers wait to be told; see Told
}

// place is where a session is remembered.
type place struct {
	*shard
	cache   *Cache
	id      string
	counter *uint64
}

// generation is what is known at a moment: a read that begins then is no older.
type generation struct {
	news     uint64
	followed int64 // up to when the feed is, in ns since the cache began; 0: not
}

func (c *Cache) place(id string) place {
	hash := maphash.String(c.seed, id)
	shard := &c.shards[hash%shards]
	return place{shard: shard, cache: c, id: id, counter: &shard.news[hash/shards%counters]}
}

// now is the number of news so far.
func (p place) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.counter
}

// generation is what is known so far: look before a read begins. The feed is looked at first, so that it vouches
// for no more than the number tells.
func (p place) generation() generation {
	followed := p.cache.followed[p.cache.Partition(p.id)].Load()
	return generation{news: p.now(), followed: followed}
}

// get returns a session, or nil if there is none, or one that was not proven for too long.
func (p place) get() *verification.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, ok := p.sessions.Get(p.id)
	if !ok || !held.proven && p.cache.age()-held.put >= int64(Bound) {
		return nil
	}
	return held.session
}

// begin and end stand around an update. end returns the newest revision that was told meanwhile; 0: none.
func (p place) begin() *update {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.updates[p.id]
	if u == nil {
		u = &update{}
		p.updates[p.id] = u
	}
	u.users++
	return u
}

func (p place) end(u *update) (told int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.users--; u.users == 0 {
		delete(p.updates, p.id)
		if u.late != nil {
			u.late.Stop()
		}
	}
	if u.forgotten && u.told > 0 {
		return math.MaxInt32 // a revision of a lost timeline hides none of the new one
	}
	return u.told
}

// awaitTold notes that the feed must tell of a commit of this process, unless it has done so while the update
// was under way. Where the reader of the feed has gone to its head meanwhile, it may never tell.
func (p place) awaitTold(revision int32, u *update, at time.Time, unheard *unheard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !u.forgotten && u.told < revision {
		unheard.add(p.id, revision, at)
	}
}

// drop takes a session out of memory, and keeps reads that are under way from entering.
func (p place) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	*p.counter++
	p.sessions.Remove(p.id)
}

// put remembers a session that was read when so much was known. A read that news have overtaken is not
// remembered, and takes what is older than itself away. Of an update it is known what the news were: its
// own commit is none. own is the revision that Committed tells of. A read that nothing has overtaken, and
// that finds less than an earlier one did, shows a loss.
func (p place) put(session *verification.Session, since generation, own int32, u *update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, ok := p.sessions.Peek(p.id)
	same := ok && sameMaking(held.session, session)
	overtaken := *p.counter != since.news && (u == nil || u.forgotten || session.Revision < max(u.told, u.read))
	if under := p.updates[p.id]; under != nil {
		under.read = max(under.read, session.Revision)
	}
	next := remembered{session: session, own: own, put: p.cache.age()}
	switch {
	case same:
		next.own, next.put = max(own, held.own), held.put
		next.proven = held.proven || held.put <= since.followed
	case ok && held.session.Revision < session.Revision:
		next.own = max(own, held.own)
	}
	switch {
	case ok && held.session.Revision > session.Revision && (overtaken || held.proven):
		return
	case !overtaken:
		p.sessions.Add(p.id, next)
	case ok && !same:
		p.sessions.Remove(p.id)
	}
	if !same {
		*p.counter++ // reads that are under way may be older than this one
	}
}

// sameMaking reports whether two records show the same making of the same revision: after a loss its number
// can come again.
func sameMaking(a, b *verification.Session) bool {
	first, known := a.Fingerprint(a.Revision)
	second, alsoKnown := b.Fingerprint(b.Revision)
	return a.Revision == b.Revision && known == alsoKnown && first == second && a.State == b.State
}
