package ingest

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxMisses bounds how many misses are kept.
const maxMisses = 10_000

// missFor is how long Stripe is not asked again for a session that it did not know: longer each time. A caller that
// waits repeats its call; the webhook of a session that is created meanwhile ends the miss.
var missFor = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// misses keeps the sessions and references that Stripe did not know. It is safe for concurrent use.
type misses struct {
	mu   sync.Mutex
	seen *lru.Cache[question, miss]
}

// miss is when Stripe last did not know something, and how often in a row.
type miss struct {
	at    time.Time
	times int
}

func newMisses() *misses {
	seen, err := lru.New[question, miss](maxMisses)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &misses{seen: seen}
}

// fresh reports whether Stripe is not asked again now.
func (m *misses) fresh(what question, now time.Time) bool {
	last, found := m.seen.Get(what)
	return found && now.Sub(last.at) < missFor[min(last.times, len(missFor))-1]
}

// add notes that Stripe did not know something. Answers to callers that asked at the same time count as one miss.
func (m *misses) add(what question, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fresh(what, now) {
		return
	}
	last, _ := m.seen.Peek(what)
	m.seen.Add(what, miss{at: now, times: last.times + 1})
}

// end removes a miss: an event has shown the session or the reference.
func (m *misses) end(what question) { m.seen.Remove(what) }
