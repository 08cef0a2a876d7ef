// Package hub fans wake-ups out to the watchers of this process. A wake-up says only "read again": the data is in
// the store. So nothing can overflow, wake-ups that coincide are one, and a lost one only delays.
//
// The package refuses to know sessions; it knows topics. It imports the standard library only.
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

// Topic is something that a watcher waits for.
type Topic struct {
	Kind Kind
	Name string
}

// Session is the topic of one session's changes.
func Session(id string) Topic { return Topic{KindSession, id} }

// Reference is the topic of a reference that can lead to another session now.
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

// shard's lock is held only to change or walk the lists, never over a wait: a wake-up never blocks.
type shard struct {
	mu     sync.Mutex
	topics map[Topic]*link // the first link of each topic
}

// link is one subscription in the list of a topic's listeners. Most topics have one listener; a map would be larger
// than the rest of the subscription.
type link struct {
	topic      Topic
	bit        uint64
	listener   *Subscription
	next, prev *link
}

// New makes a hub without subscriptions.
func New() *Hub {
	h := &Hub{seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].topics = make(map[Topic]*link)
	}
	return h
}

// Subscription listens to any number of topics for one watcher. Its methods are for one goroutine, except Poke and
// Pending.
type Subscription struct {
	hub   *Hub
	wake  chan struct{}
	woken atomic.Uint64
	added int
	one   link // most subscriptions have one topic only
	more  []*link
}

// Subscribe listens to topics until Close. Subscribe first and read the store second: then no change falls in
// between.
func (h *Hub) Subscribe(topics ...Topic) *Subscription {
	s := &Subscription{hub: h, wake: make(chan struct{}, 1)}
	for _, topic := range topics {
		s.Add(topic)
	}
	return s
}

// C receives a value when a topic was woken since the last receive.
func (s *Subscription) C() <-chan struct{} { return s.wake }

// Woken returns which topics were woken since the last call: bit n%64 for the n-th topic added, from 0. Call it after
// a receive from C.
func (s *Subscription) Woken() uint64 { return s.woken.Swap(0) }

// Pending reports whether a topic was woken since the last call of Woken. Any goroutine may call it.
func (s *Subscription) Pending() bool { return s.woken.Load() != 0 }

// Poke wakes this subscription alone, without a topic. Any goroutine may call it.
func (s *Subscription) Poke() { s.notify(0) }

// Add listens to one more topic. It does nothing if the subscription listens to the topic already.
func (s *Subscription) Add(topic Topic) {
	if s.find(topic) != nil {
		return
	}
	added := &s.one
	if added.listener != nil {
		added = &link{}
		s.more = append(s.more, added)
	}
	*added = link{topic: topic, bit: 1 << (s.added % 64), listener: s}
	s.added++
	s.hub.shard(topic).add(added)
	s.hub.counts[topic.Kind].Add(1)
}

// Remove stops listening to one topic.
func (s *Subscription) Remove(topic Topic) {
	removed := s.find(topic)
	if removed == nil {
		return
	}
	s.hub.shard(topic).remove(removed)
	s.hub.counts[topic.Kind].Add(-1)
	if removed == &s.one {
		removed.listener = nil
	} else {
		s.more = slices.DeleteFunc(s.more, func(l *link) bool { return l == removed })
	}
}

func (s *Subscription) find(topic Topic) *link {
	if s.one.listener != nil && s.one.topic == topic {
		return &s.one
	}
	for _, l := range s.more {
		if l.topic == topic {
			return l
		}
	}
	return nil
}

// Close stops listening to everything.
func (s *Subscription) Close() {
	for len(s.more) > 0 {
		s.Remove(s.more[len(s.more)-1].topic)
	}
	s.Remove(s.one.topic)
}

// Wake wakes all subscriptions to a topic, and reports whether there are any.
func (h *Hub) Wake(topic Topic) (listening bool) {
	shard := h.shard(topic)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for l := shard.topics[topic]; l != nil; l = l.next {
		l.listener.notify(l.bit)
		listening = true
	}
	return listening
}

// WakeAll wakes all subscriptions, after a time in which changes can have been missed.
func (h *Hub) WakeAll() {
	for i := range h.shards {
		h.shards[i].wakeAll()
	}
}

// Listening returns the number of subscriptions to topics of a kind.
func (h *Hub) Listening(kind Kind) int { return int(h.counts[kind].Load()) }

func (s *shard) add(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.next = s.topics[l.topic]
	if l.next != nil {
		l.next.prev = l
	}
	s.topics[l.topic] = l
}

func (s *shard) remove(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.next != nil {
		l.next.prev = l.prev
	}
	switch {
	case l.prev != nil:
		l.prev.next = l.next
	case l.next != nil:
		s.topics[l.topic] = l.next
	default:
		delete(s.topics, l.topic)
	}
}

func (s *shard) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, first := range s.topics {
		for l := first; l != nil; l = l.next {
			l.listener.notify(l.bit)
		}
	}
}

// notify sets the bit before it sends, so that the receiver finds it.
func (s *Subscription) notify(bit uint64) {
	s.woken.Or(bit)
	select {
	case s.wake <- struct{}{}:
	default: // woken already, and not received yet
	}
}

func (h *Hub) shard(topic Topic) *shard {
	return &h.shards[maphash.Comparable(h.seed, topic)%shards]
}
