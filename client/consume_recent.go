package client

import (
	"hash/fnv"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// handledKey names what was handled. A revision alone can stand for another outcome after the store has lost writes.
type handledKey struct {
	session  string
	revision int32
	outcome  string
	content  uint64 // 0 for an outcome
}

// keyOf returns the key of an outcome, or of one change.
func keyOf(v *verificationv1.Verification, outcome bool) handledKey {
	key := handledKey{session: v.GetSessionId(), revision: v.GetOutcomeRevision(), outcome: v.GetOutcomeId()}
	if outcome || v == nil {
		return key
	}
	key.revision = v.GetRevision()
	hash := fnv.New64a()
	if text, err := (proto.MarshalOptions{Deterministic: true}).Marshal(v); err == nil {
		_, _ = hash.Write(text)
	}
	key.content = hash.Sum64()
	return key
}

// recent is a set of the keys that were added last. It takes memory for the keys that it has.
type recent struct {
	size int // the most keys
	keys map[handledKey]struct{}
	ring []handledKey
	next int
}

func newRecent(size int) recent {
	return recent{size: size, keys: make(map[handledKey]struct{})}
}

func (r *recent) has(key handledKey) bool {
	_, has := r.keys[key]
	return has
}

// add adds a key. If the set is full, it evicts the oldest one.
func (r *recent) add(key handledKey) {
	if r.has(key) {
		return
	}
	r.keys[key] = struct{}{}
	if len(r.ring) < r.size {
		r.ring = append(r.ring, key)
		return
	}
	delete(r.keys, r.ring[r.next])
	r.ring[r.next] = key
	r.next = (r.next + 1) % len(r.ring)
}
