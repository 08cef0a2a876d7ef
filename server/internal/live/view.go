package live

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Sessions is a store.Store with reads that the cache can answer. View and Limited implement it. Tail, SessionAt and PeekAt are
// for watches of all sessions: many of them read the same entries at about the same time.
type Sessions interface {
	store.Store
	// Session returns a session, at a revision of at least minRevision if it has come that far. The
	// answer is less than FreshnessBound old. Errors are those of store.Store.Get.
	Session(ctx context.Context, id string, minRevision int32) (verification.Session, error)
	// Peek returns what Session would return from the cache, and nil if Session would read the store.
	// The session must not be changed.
	Peek(id string, minRevision int32) *verification.Session
	// Tail returns what ReadFeed would return, less than FreshnessBound ago, without reading the store: up to limit
	// entries after a position. It returns false if ReadFeed must be asked: the position is not one of the newest that
	// this process has followed, or the feed is not followed now. The entries must not be changed.
	Tail(partition int, after store.Position, limit int) (entries []store.Entry, ok bool)
	// SessionAt returns the session of an entry of the feed, by a read of the store that began after the entry
	// arrived here. So it holds the entry's revision, and those of all earlier entries of the session that their
	// caller knows, if the store has not lost them. Errors are those of store.Store.Get.
	SessionAt(ctx context.Context, entry store.Entry) (verification.Session, error)
	// PeekAt returns what SessionAt would return from the cache, and nil if SessionAt would read the store. The
	// session must not be changed.
	PeekAt(entry store.Entry) *verification.Session
}

// Config is what a View is made of.
type Config struct {
	// Store keeps the sessions and the feed.
	Store store.Store
	// CacheSessions is the number of sessions that the cache holds at most; each of its 64 shards holds at
	// least one.
	CacheSessions int
	// WatchReads is how many reads of the store Limited makes at once; 0: 16.
	WatchReads int
	// Lost is called with the sessions whose changes the store has lost, each once. more says that other
	// sessions can be concerned: the loss goes back further than the follower's own record of the feed. Lost
	// must not block. nil: not called.
	Lost func(sessions []string, more bool)
	// Changed is called with each change that the feed shows, before the cache and the watchers learn of it.
	// It is there for tests. nil: not called.
	Changed func(id string, revision int32)
	Logger  *slog.Logger
}

// View is a store.Store whose sessions are cached, and whose changes wake watchers. It is safe for concurrent
// use. Run must run for the cache to answer and for changes of other processes to wake anybody.
type View struct {
	store.Store
	cache    *cache
	hub      *hub.Hub
	follower *follower
	limited  *Limited
	reads    singleflight.Group
	misses   atomic.Uint64
	// committed wakes the watchers of a commit of this process. before is the reference that the session had before.
	committed func(session verification.Session, before string)
}

var _ Sessions = (*View)(nil)

// New makes a View. It reads nothing before Run.
func New(config Config) *View {
	if config.WatchReads == 0 {
		config.WatchReads = 16
	}
	h := hub.New()
	notify := notifier{hub: h, partition: config.Store.Partition}
	tails := make([]tail, config.Store.Partitions())
	v := &View{
		Store: config.Store, hub: h,
		cache: newCache(config.CacheSessions, tails, config.Store.Partition, notify.session),
	}
	notify.followed = v.cache.fresh
	v.committed = notify.committed
	v.limited = Limit(v, config.WatchReads)
	config.Store = v
	v.follower = newFollower(config, h, v.cache, tails)
	return v
}

// Run follows the feed until ctx ends. It waits for a store that is away. Call it once.
func (v *View) Run(ctx context.Context) { v.follower.run(ctx) }

// Hub returns the hub that changes wake. Subscribe first and read second: then no change is missed.
func (v *View) Hub() *hub.Hub { return v.hub }

// Limited returns the View for watches: it reads the store through slots. See Limited.
func (v *View) Limited() Sessions { return v.limited }

// Lag returns the age of the newest moment up to which every partition of the feed is known to be fully read
// and unchanged. Before the first such moment it counts from New.
func (v *View) Lag() time.Duration { return v.follower.lag() }

// Counts returns how many answers came from the cache so far, and how many calls of Session read the store.
func (v *View) Counts() (hits, misses uint64) { return v.cache.hits(), v.misses.Load() }

// Peek implements Sessions.
func (v *View) Peek(id string, minRevision int32) *verification.Session {
	return v.cache.peek(id, minRevision)
}

// Session implements Sessions.
func (v *View) Session(ctx context.Context, id string, minRevision int32) (verification.Session, error) {
	if session := v.cache.peek(id, minRevision); session != nil {
		return *session, nil
	}
	v.misses.Add(1)
	session, shared, err := v.read(ctx, v.cache.handle(id))
	if shared && (session.Revision < minRevision || errors.Is(err, store.ErrNotFound)) {
		return v.Get(ctx, id) // the shared read began before this call: the caller can know of a newer revision
	}
	return session, err
}

// Tail implements Sessions.
func (v *View) Tail(partition int, after store.Position, limit int) (entries []store.Entry, ok bool) {
	if !v.cache.fresh(partition) {
		return nil, false
	}
	return v.cache.tails[partition].after(after, limit)
}

// PeekAt implements Sessions.
func (v *View) PeekAt(entry store.Entry) *verification.Session { return v.cache.peekAt(entry) }

// SessionAt implements Sessions.
func (v *View) SessionAt(ctx context.Context, entry store.Entry) (verification.Session, error) {
	if session := v.cache.peekAt(entry); session != nil {
		return *session, nil
	}
	if _, ok := v.cache.tails[entry.Partition].arrival(entry.Position); !ok {
		return v.Get(ctx, entry.SessionID)
	}
	v.misses.Add(1)
	session, _, err := v.read(ctx, v.cache.handle(entry.SessionID))
	return session, err
}

// Get implements store.Store. It reads the store and caches what it reads.
func (v *View) Get(ctx context.Context, id string) (verification.Session, error) {
	h := v.cache.handle(id)
	since := h.generation()
	session, err := v.Store.Get(ctx, id)
	if err == nil {
		h.put(&session, since, 0, nil)
	}
	return session, err
}

// read reads the store once for all callers that ask at the same generation. A caller that a change has woken
// never gets a read that began before the change, nor before an entry that has arrived. shared reports whether the
// read had other callers.
func (v *View) read(ctx context.Context, h handle) (session verification.Session, shared bool, err error) {
	since := h.generation()
	answer := v.reads.DoChan(readKey(h.id, since), func() (any, error) {
		reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		session, err := v.Store.Get(reading, h.id)
		if err != nil {
			return nil, err
		}
		h.put(&session, since, 0, nil)
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

// readKey is the key of the reads of a session at a generation. Each number ends at a colon, so that no id and
// numbers make the key of another id.
func readKey(id string, since generation) string {
	return strconv.FormatUint(since.changes, 36) + ":" + strconv.FormatUint(since.arrivals, 36) + ":" + id
}

// Update implements store.Store. It caches what it commits, and wakes the session's watchers before it
// returns.
func (v *View) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	h := v.cache.handle(id)
	u := h.begin()
	var woken int32
	defer func() {
		if shown := h.end(u); shown > woken {
			v.cache.wake(id)
		}
	}()
	since := h.generation() // not in fn: the read before it can be older than what the feed showed meanwhile
	var before int32        // only what is used later: a whole session would be on the heap
	var reference string
	var wrote bool
	session, err := v.Store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
		before, reference = current.Revision, current.Reference
		next, write, err := fn(current)
		wrote = write && err == nil
		return next, write, err
	})
	if err != nil || !session.Exists() {
		return session, err
	}
	if wrote && session.Revision > before {
		h.expect(session.Revision, u)
	}
	if !wrote {
		h.put(&session, since, 0, u)
		return session, nil
	}
	h.put(&session, since, session.Revision, u)
	woken = session.Revision
	v.committed(session, reference)
	return session, nil
}
