package live

import (
	"errors"
	"sort"
	"sync"
	"sync/atomic"

	"example.com/verification-status/server/internal/store"
)

// keptEntries is how many of a partition's newest entries the follower keeps, at the least. They tell which sessions a failover has
// lost: asynchronous replication is milliseconds behind. And they answer the watches of all sessions that have read the feed as far
// as that.
const keptEntries = 1024

// tail holds the newest entries of one partition, the oldest first, without a gap. Only the follower changes a tail. Any goroutine
// may read it. The zero value is ready, and holds nothing after the zero Position.
type tail struct {
	// arrivals counts the entries that were ever added. The count at the time of an entry is the entry's arrival. No two entries
	// have the same, also after a loss, when numbers of entries come again.
	arrivals atomic.Uint64

	mu      sync.RWMutex
	start   store.Position // the position before the first entry
	entries []store.Entry  // never changed in place: callers of after have parts of it
}

// reset removes all entries. The next entry follows head.
func (t *tail) reset(head store.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start, t.entries = head, nil
}

// add appends the entry that follows the last one.
func (t *tail) add(entry store.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.entries) - keptEntries; n >= keptEntries {
		t.start = t.entries[n-1].Position
		t.entries = append(make([]store.Entry, 0, 2*keptEntries), t.entries[n:]...)
	}
	t.arrivals.Add(1)
	t.entries = append(t.entries, entry)
}

// after returns up to limit entries after a position, the oldest first. It returns false if the position is not that of an entry
// in the tail, or of the one before the first. The caller must not change the entries.
func (t *tail) after(position store.Position, limit int) (entries []store.Entry, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	first, ok := t.index(position)
	if !ok {
		return nil, false
	}
	end := min(first+limit, len(t.entries))
	return t.entries[first:end:end], true
}

// arrival returns the arrival of the entry that ends at a position. It returns false if the tail does not hold the entry.
func (t *tail) arrival(position store.Position) (arrival uint64, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	next, ok := t.index(position)
	return t.arrivals.Load() - uint64(len(t.entries)-next), ok && next > 0
}

// index returns the index of the entry after a position. Call it with the lock held.
func (t *tail) index(position store.Position) (next int, ok bool) {
	if position.Seq < t.start.Seq || position.Seq-t.start.Seq > uint64(len(t.entries)) {
		return 0, false
	}
	next = int(position.Seq - t.start.Seq)
	if next == 0 {
		return 0, position == t.start
	}
	return next, position == t.entries[next-1].Position
}

// lost returns the sessions of the entries that are gone, each once. more reports that older entries can be gone too: entries that
// were not kept, or that the feed cannot judge because it was trimmed. contains asks the feed about a position. Only the follower
// may call lost.
func (t *tail) lost(contains func(store.Position) error) (sessions []string, more bool, err error) {
	entries := t.entries
	trimmed := 0 // the number of entries that were trimmed, and that can have been lost before
	first := sort.Search(len(entries), func(i int) bool {
		if err != nil {
			return true
		}
		found := contains(entries[i].Position)
		if errors.Is(found, store.ErrTrimmed) {
			trimmed = max(trimmed, i+1)
		}
		if found != nil && !errors.Is(found, store.ErrRewound) && !errors.Is(found, store.ErrTrimmed) {
			err = found
		}
		return errors.Is(found, store.ErrRewound)
	})
	if err != nil {
		return nil, false, err
	}
	seen := make(map[string]bool)
	for _, entry := range entries[first:] {
		if !seen[entry.SessionID] {
			seen[entry.SessionID] = true
			sessions = append(sessions, entry.SessionID)
		}
	}
	return sessions, first == trimmed, nil
}
