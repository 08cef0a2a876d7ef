package nearcache

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
	id      string
	counter *uint64
}

func (c *Cache) place(id string) place {
	hash := maphash.String(c.seed, id)
	shard := &c.shards[hash%shards]
	return place{shard: shard, id: id, counter: &shard.news[hash/shards%counters]}
}

// now is what is known so far: look before a read begins.
func (p place) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.counter
}

func (p place) get() *verification.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, _ := p.sessions.Get(p.id)
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
// own commit is none. own is the revision that Committed tells of.
func (p place) put(session *verification.Session, since uint64, own int32, u *update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, ok := p.sessions.Peek(p.id)
	overtaken := *p.counter != since && (u == nil || u.forgotten || session.Revision < max(u.told, u.read))
	if under := p.updates[p.id]; under != nil {
		under.read = max(under.read, session.Revision)
	}
	switch {
	case ok && held.session.Revision > session.Revision:
		return
	case !overtaken:
		p.sessions.Add(p.id, remembered{session, max(own, held.own)})
	case ok && held.session.Revision < session.Revision:
		p.sessions.Remove(p.id)
	}
	if !ok || held.session.Revision < session.Revision {
		*p.counter++ // reads that are under way may be older than this one
	}
}
