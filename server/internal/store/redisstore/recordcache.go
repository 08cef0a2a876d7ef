package redisstore

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"example.com/verification-status/server/internal/store"
)

// maxCached bounds the record cache. It keeps the records that were used last.
const maxCached = 10_000

// recordCache holds records as this process last saw them. An update begins with the cached record instead of a read. The commit
// compares the header, so a stale record costs a second try and never causes a wrong write. It is safe for concurrent use.
type recordCache struct {
	mu      sync.Mutex
	records *simplelru.LRU[string, stored]
}

func newRecordCache() *recordCache {
	records, err := simplelru.NewLRU[string, stored](maxCached, nil)
	if err != nil {
		panic(err) // only if the size is below 1
	}
	return &recordCache{records: records}
}

// get returns the cached record. It returns the zero value on a miss, which is right for the first event of a session.
func (c *recordCache) get(id string) stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	record, _ := c.records.Get(id)
	return record
}

// put caches a record. It removes the entry if there is no record.
func (c *recordCache) put(id string, record stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if record.header == "" {
		c.records.Remove(id)
		return
	}
	c.records.Add(id, record)
}

// evictOlder evicts the records that are older than their feed entries. A commit with such a record would fail, and a record must
// not stay in memory after its redaction.
func (c *recordCache) evictOlder(entries []store.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entry := range entries {
		if record, ok := c.records.Peek(entry.SessionID); ok && record.session.Revision < entry.Revision {
			c.records.Remove(entry.SessionID)
		}
	}
}
