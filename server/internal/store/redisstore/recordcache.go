package redisstore

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"example.com/verification-status/server/internal/store"
)

// maxCached bounds the records that are remembered to begin an update with, the newest used.
const maxCached = 10_000

// recordCache holds records as this process saw them last. An update begins with one instead of reading: the
// commit compares the header, so that a hint which is old costs a second try and never a wrong write.
// It is safe for concurrent use.
type recordCache struct {
	mu      sync.Mutex
	records *simplelru.LRU[string, stored]
}

func newRecordCache() *recordCache {
	records, err := simplelru.NewLRU[string, stored](maxCached, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &recordCache{records: records}
}

// get returns what is remembered; else no record, which is right for a session's first event.
func (c *recordCache) get(id string) stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	record, _ := c.records.Get(id)
	return record
}

func (c *recordCache) put(id string, record stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if record.header == "" {
		c.records.Remove(id)
		return
	}
	c.records.Add(id, record)
}

// evictOlder forgets what the feed says is old: it would only conflict, and after a redaction it must not stay
// in memory.
func (c *recordCache) evictOlder(entries []store.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entry := range entries {
		if record, ok := c.records.Peek(entry.SessionID); ok && record.session.Revision < entry.Revision {
			c.records.Remove(entry.SessionID)
		}
	}
}
