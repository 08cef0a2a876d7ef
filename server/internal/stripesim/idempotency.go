package stripesim

import (
	"sync"
	"time"
)

const (
	idempotencyTTL    = 24 * time.Hour
	maxIdempotencyKey = 255 // characters
)

type idemKey struct {
	realm realm
	key   string
}

// savedCall is the first call with a key: its request and, once it is done, its answer.
type savedCall struct {
	key         idemKey
	fingerprint [32]byte
	requestID   string
	at          time.Time
	done        bool
	status      int
	body        []byte
}

// idempotency keeps the calls of the last 24 h by Idempotency-Key, at most the newest max of them.
// https://docs.stripe.com/api/idempotent_requests
type idempotency struct {
	max   int
	mu    sync.Mutex
	calls map[idemKey]*savedCall
	order []*savedCall // by age; a dropped call stays until it is the oldest
}

func newIdempotency(max int) *idempotency {
	return &idempotency{max: max, calls: make(map[idemKey]*savedCall)}
}

// begin claims a key. If replay is false, the caller must call save or drop.
func (m *idempotency) begin(key idemKey, fingerprint [32]byte, requestID string, now time.Time) (call *savedCall, replay bool, err *Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(now)
	if old := m.calls[key]; old != nil {
		switch {
		case old.fingerprint != fingerprint:
			return nil, false, errKeyReused()
		case !old.done:
			return nil, false, errKeyInUse()
		default:
			return old, true, nil
		}
	}
	call = &savedCall{key: key, fingerprint: fingerprint, requestID: requestID, at: now}
	m.calls[key] = call
	m.order = append(m.order, call)
	return call, false, nil
}

// save keeps the answer, also an error: the call was done.
func (m *idempotency) save(call *savedCall, status int, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	call.status, call.body, call.done = status, body, true
}

// drop frees the key of a call that was refused before it was done.
func (m *idempotency) drop(call *savedCall) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls[call.key] == call {
		delete(m.calls, call.key)
	}
}

func (m *idempotency) prune(now time.Time) {
	for len(m.order) > 0 && (len(m.order) >= m.max || now.Sub(m.order[0].at) >= idempotencyTTL) {
		oldest := m.order[0]
		m.order[0] = nil
		m.order = m.order[1:]
		if m.calls[oldest.key] == oldest {
			delete(m.calls, oldest.key)
		}
	}
}
