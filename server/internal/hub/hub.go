// Package hub fans wake-ups out to the watchers of this process. A wake-up says only "look again":
// what there is to see is in the store. So nothing can overflow, wake-ups that coincide are one, and
// a lost one only delays. The hub knows no sessions, only topics.
package hub

import (
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Kind is a kind of topic.
type Kind uint8

// The kinds of topics.
const (
	KindSession Kind = iota
	KindReference
	KindPartition
	kinds
)

// Topic is what a watcher waits for.
type Topic struct {
	Kind Kind
	Name string
}

// Session is the topic of one session's changes.
func Session(id string) Topic { return Topic{KindSession, id} }

// Reference is the topic of a reference that may lead to another session.
func Reference(reference string) Topic { return Topic{KindReference, reference} }

// Partition is the topic of one partition of the feed.
func Partition(partition int) Topic { return Topic{KindPartition, strconv.Itoa(partition)} }

// shards keeps the watchers of different topics from waiting for one lock.
const shards = 64

// Hub is safe for concurrent use. The zero value is not usable; see New.
type Hub struct {
	seed   maphash.Seed
	shards [shards]shard
	counts [kinds]atomic.Int64
}

// shard's lock is held only to change or walk the maps, never over a wait: a wake-up never blocks.
type shard struct {
	mu     sync.Mutex
	topics map[Topic]map[*Subscription]uint64
}

// New makes an empty hub.
func New() *Hub {
	h := &Hub{seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].topics = make(map[Topic]map[*Subscription]uint64)
	}
	return h
}

// Subscription is one watcher's interest in any number of topics. Its methods are for one goroutine.
type Subscription struct {
	hub    *Hub
	wake   chan struct{}
	woken  atomic.Uint64
	added  int
	topics []Topic
}

// Subscribe begins to listen. Subscribe first and read the store second: then no change falls in
// between. Close it when done.
func (h *Hub) Subscribe(topics ...Topic) *Subscription {
	s := &Subscription{hub: h, wake: make(chan struct{}, 1)}
	for _, topic := range topics {
		s.Add(topic)
	}
	return s
}

// C receives a value when a topic was woken since the last receive.
func (s *Subscription) C() <-chan struct{} { return s.wake }

// Woken returns which topics were woken since the last call: bit n%64 for the n-th one added, from
// 0. Call it after a receive from C.
func (s *Subscription) Woken() uint64 { return s.woken.Swap(0) }

// Add listens to one more topic. A topic that is listened to already stays as it is.
func (s *Subscription) Add(topic Topic) {
	if slices.Contains(s.topics, topic) {
		return
	}
	shard := s.hub.shard(topic)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.topics[topic] == nil {
		shard.topics[topic] = make(map[*Subscription]uint64, 1)
	}
	shard.topics[topic][s] = 1 << (s.added % 64)
	s.added++
	s.topics = append(s.topics, topic)
	s.hub.counts[topic.Kind].Add(1)
}

// Remove stops listening to one topic.
func (s *Subscription) Remove(topic Topic) {
	at := slices.Index(s.topics, topic)
	if at < 0 {
		return
	}
	s.topics = slices.Delete(s.topics, at, at+1)
	shard := s.hub.shard(topic)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.topics[topic], s)
	if len(shard.topics[topic]) == 0 {
		delete(shard.topics, topic)
	}
	s.hub.counts[topic.Kind].Add(-1)
}

// Close stops listening to everything.
func (s *Subscription) Close() {
	for len(s.topics) > 0 {
		s.Remove(s.topics[len(s.topics)-1])
	}
}

// Wake wakes everyone who listens to a topic.
func (h *Hub) Wake(topic Topic) {
	shard := h.shard(topic)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for s, bit := range shard.topics[topic] {
		s.notify(bit)
	}
}

// WakeAll wakes everyone: after a time in which changes may have been missed.
func (h *Hub) WakeAll() {
	for i := range h.shards {
		h.shards[i].wakeAll()
	}
}

// Listening counts the subscriptions to topics of a kind.
func (h *Hub) Listening(kind Kind) int { return int(h.counts[kind].Load()) }

func (s *shard) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subscriptions := range s.topics {
		for subscription, bit := range subscriptions {
			subscription.notify(bit)
		}
	}
}

// notify sets the bit before the channel, so that whoever receives finds it.
func (s *Subscription) notify(bit uint64) {
	s.woken.Or(bit)
	select {
	case s.wake <- struct{}{}:
	default: // woken already, and has not looked yet
	}
}

func (h *Hub) shard(topic Topic) *shard {
	return &h.shards[maphash.Comparable(h.seed, topic)%shards]
}
