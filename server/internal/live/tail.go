package live

import (
	"errors"
	"sort"

	"example.com/verification-status/server/internal/store"
)

// keptEntries is how many of a partition's newest entries the follower keeps, at the least, to tell which
// sessions a failover has lost. Asynchronous replication is milliseconds behind.
const keptEntries = 1024

// tail holds the newest entries of one partition, oldest first.
type tail struct{ entries []store.Entry }

func (t *tail) add(entry store.Entry) {
	if len(t.entries) >= 2*keptEntries {
		t.entries = append(t.entries[:0], t.entries[len(t.entries)-keptEntries:]...)
	}
	t.entries = append(t.entries, entry)
}

// lost returns the sessions of the entries that are gone, each once. more reports that older entries can be gone
// too: entries that were not kept, or that the feed cannot judge because it was trimmed. contains asks the feed
// about a position.
func (t *tail) lost(contains func(store.Position) error) (sessions []string, more bool, err error) {
	trimmed := 0 // the number of entries that were trimmed, and that can have been lost before
	first := sort.Search(len(t.entries), func(i int) bool {
		if err != nil {
			return true
		}
		found := contains(t.entries[i].Position)
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
	for _, entry := range t.entries[first:] {
		if !seen[entry.SessionID] {
			seen[entry.SessionID] = true
			sessions = append(sessions, entry.SessionID)
		}
	}
	return sessions, first == trimmed, nil
}
