package redisstore

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"example.com/verification-status/server/internal/store"
)

// maxHints bounds the records that are remembered to begin an update with, the newest used.
const maxHints = 10_000

// hints are records as this process saw them last. An update begins with one instead of reading: the
// commit compares the header, so that a hint which is old costs a second try and never a wrong write.
// It is safe for concurrent use.
type hints struct {
	mu      sync.Mutex
	records *simplelru.LRU[string, stored]
}

func newHints() *hints {
	records, err := simplelru.NewLRU[string, stored](maxHints, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &hints{records: records}
}

// get returns what is remembered; else no record, which is right for a session's first event.
func (h *hints) get(id string) stored {
	h.mu.Lock()
	defer h.mu.Unlock()
	record, _ := h.records.Get(id)
	return record
}

func (h *hints) put(id string, record stored) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if record.header == "" {
		h.records.Remove(id)
		return
	}
	h.records.Add(id, record)
}

// drop forgets what the feed says is old: it would only conflict, and after a redaction it must not stay
// in memory.
func (h *hints) drop(entries []store.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, entry := range entries {
		if record, ok := h.records.Peek(entry.SessionID); ok && record.session.Revision < entry.Revision {
			h.records.Remove(entry.SessionID)
		}
	}
}
