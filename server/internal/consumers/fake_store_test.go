package consumers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
)

const fakePartitions = 3

// fakeStore is a store of this package in memory. Leases run by the clock of the bubble. It implements the rules of store.Feed and
// store.Consumers on its own. Tests append entries, trim them, and lose them together with consumers or without.
type fakeStore struct {
	mu        sync.Mutex
	consumers map[string]*fakeConsumer
	feed      [fakePartitions]fakeFeed
	random    uint64          // the last nonce, epoch or incarnation
	away      error           // what every call returns
	hung      map[string]bool // the streams whose lease calls fail
	deleting  func()          // called before each DeleteConsumer, without the lock
	moving    func()          // called before each MoveConsumer, without the lock
	losing    func()          // called after each LeaseConsumer that took the lease, without the lock
}

type fakeConsumer struct {
	store.Consumer
	stream string
	until  time.Time
}

type fakeFeed struct {
	entries []store.Entry // what is held
	head    store.Position
}

func newFakeStore() *fakeStore {
	f := &fakeStore{consumers: map[string]*fakeConsumer{}, hung: map[string]bool{}, deleting: func() {}, moving: func() {}, losing: func() {}}
	for partition := range f.feed {
		f.feed[partition].head.Epoch = f.next()
	}
	return f
}

func (f *fakeStore) next() uint64 {
	f.random++
	return f.random
}

// append adds an entry to a partition.
func (f *fakeStore) append(partition int) store.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed := &f.feed[partition]
	entry := store.Entry{
		Partition: partition, Position: store.Position{Epoch: feed.head.Epoch, Seq: feed.head.Seq + 1, Nonce: f.next()},
		Before: feed.head.Nonce, Chained: true, Committed: time.Now().Unix(),
	}
	feed.head = entry.Position
	feed.entries = append(feed.entries, entry)
	return entry
}

// trim removes the oldest entries of a partition.
func (f *fakeStore) trim(partition, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed := &f.feed[partition]
	feed.entries = slices.Clone(feed.entries[min(count, len(feed.entries)):])
}

// lose removes the newest entries of a partition, as a failover does.
func (f *fakeStore) lose(partition, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed := &f.feed[partition]
	for ; count > 0 && len(feed.entries) > 0; count-- {
		last := feed.entries[len(feed.entries)-1]
		feed.entries = slices.Clone(feed.entries[:len(feed.entries)-1])
		feed.head.Seq, feed.head.Nonce = last.Position.Seq-1, last.Before
	}
}

// flush begins another data set in a partition.
func (f *fakeStore) flush(partition int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feed[partition] = fakeFeed{head: store.Position{Epoch: f.next()}}
}

// after returns the entries after a position, or the error of the feed.
func (f *fakeStore) after(partition int, position store.Position) ([]store.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.feed[partition].after(position)
}

func (feed fakeFeed) after(position store.Position) ([]store.Entry, error) {
	switch {
	case position.Epoch != feed.head.Epoch, position.Seq > feed.head.Seq:
		return nil, store.ErrRewound
	case position.Seq == feed.head.Seq && position.Nonce != feed.head.Nonce:
		return nil, store.ErrRewound
	case position.Seq == feed.head.Seq:
		return nil, nil
	}
	for i, entry := range feed.entries {
		switch {
		case entry.Position.Seq == position.Seq && entry.Position.Nonce != position.Nonce:
			return nil, store.ErrRewound
		case entry.Position.Seq == position.Seq+1 && entry.Before != position.Nonce:
			return nil, store.ErrRewound
		case entry.Position.Seq == position.Seq+1:
			return slices.Clone(feed.entries[i:]), nil
		}
	}
	return nil, store.ErrTrimmed
}

func (f *fakeStore) Partitions() int { return fakePartitions }

func (f *fakeStore) Head(_ context.Context, partition int) (store.Position, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.feed[partition].head, f.away
}

func (f *fakeStore) Check(_ context.Context, positions []store.Position) ([]error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	each := make([]error, fakePartitions)
	for partition, position := range positions {
		_, each[partition] = f.feed[partition].after(position)
	}
	return each, f.away
}

func (f *fakeStore) Behind(_ context.Context, positions []store.Position) ([]store.Behind, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	each := make([]store.Behind, fakePartitions)
	for partition, position := range positions {
		entries, err := f.feed[partition].after(position)
		each[partition] = store.Behind{Entries: int64(len(entries)), Err: err}
		if len(entries) > 0 {
			each[partition].Oldest = time.Unix(entries[0].Committed, 0)
		}
	}
	return each, f.away
}

// described returns a consumer as the store describes it. The caller holds the lock.
func (f *fakeStore) described(consumer *fakeConsumer) store.Consumer {
	of := consumer.Consumer
	of.Positions = slices.Clone(of.Positions)
	if of.Active = time.Now().Before(consumer.until); !of.Active {
		of.Holder = ""
	}
	return of
}

func (f *fakeStore) ListConsumers(context.Context) ([]store.Consumer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []store.Consumer
	for _, consumer := range f.consumers {
		all = append(all, f.described(consumer))
	}
	slices.SortFunc(all, func(a, b store.Consumer) int { return cmp.Compare(a.Name, b.Name) })
	return all, f.away
}

func (f *fakeStore) Consumer(_ context.Context, name string) (store.Consumer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	consumer := f.consumers[name]
	if consumer == nil || f.away != nil {
		return store.Consumer{}, cmp.Or(f.away, fmt.Errorf("fake: %w", store.ErrNotFound))
	}
	return f.described(consumer), nil
}

func (f *fakeStore) CreateConsumer(_ context.Context, fresh store.Consumer, share int) (store.Consumer, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		return store.Consumer{}, false, f.away
	}
	if stored := f.consumers[fresh.Name]; stored != nil {
		return f.described(stored), false, nil
	}
	own := 0
	for _, consumer := range f.consumers {
		if consumer.Owner == fresh.Owner {
			own++
		}
	}
	if share > 0 && own >= share {
		return store.Consumer{}, false, store.ErrConsumerShare
	}
	if len(f.consumers) >= store.MaxConsumers {
		return store.Consumer{}, false, store.ErrTooManyConsumers
	}
	fresh.Incarnation = f.next()
	f.consumers[fresh.Name] = &fakeConsumer{Consumer: fresh}
	return f.described(f.consumers[fresh.Name]), true, nil
}

func (f *fakeStore) LeaseConsumer(ctx context.Context, name string, incarnation uint64, stream, holder string, duration time.Duration) (bool, time.Duration, error) {
	held, left, err := f.lease(name, incarnation, stream, holder, duration)
	if held {
		f.losing()
		err = ctx.Err()
	}
	return held, left, err
}

func (f *fakeStore) lease(name string, incarnation uint64, stream, holder string, duration time.Duration) (bool, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	consumer := f.consumers[name]
	switch {
	case f.away != nil || f.hung[stream]:
		return false, 0, cmp.Or(f.away, store.ErrUnavailable)
	case consumer == nil || consumer.Incarnation != incarnation:
		return false, 0, store.ErrNotFound
	case consumer.stream != stream && time.Now().Before(consumer.until):
		return false, time.Until(consumer.until), nil
	}
	consumer.stream, consumer.Holder, consumer.until = stream, holder, time.Now().Add(duration)
	return true, duration, nil
}

func (f *fakeStore) ReleaseConsumer(_ context.Context, name string, incarnation uint64, stream string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	consumer := f.consumers[name]
	switch {
	case f.away != nil || f.hung[stream]:
		return cmp.Or(f.away, store.ErrUnavailable)
	case consumer == nil || consumer.Incarnation != incarnation:
		return store.ErrNotFound
	case consumer.stream == stream:
		consumer.until = time.Time{}
	}
	return nil
}

func (f *fakeStore) MoveConsumer(_ context.Context, name string, incarnation uint64, from, to []store.Position) (store.Consumer, error) {
	f.moving()
	f.mu.Lock()
	defer f.mu.Unlock()
	consumer := f.consumers[name]
	if f.away != nil || consumer == nil || consumer.Incarnation != incarnation {
		return store.Consumer{}, cmp.Or(f.away, store.ErrNotFound)
	}
	for partition := range consumer.Positions {
		if consumer.Positions[partition] == from[partition] && to[partition] != from[partition] {
			consumer.Positions[partition], consumer.Acknowledged = to[partition], time.Now()
		}
	}
	return f.described(consumer), nil
}

func (f *fakeStore) DeleteConsumer(_ context.Context, name string, incarnation uint64, unused []store.Position) error {
	f.deleting()
	f.mu.Lock()
	defer f.mu.Unlock()
	if consumer := f.consumers[name]; consumer != nil && (consumer.Incarnation == incarnation || incarnation == 0) && f.away == nil {
		if unused != nil && (time.Now().Before(consumer.until) || !slices.Equal(consumer.Positions, unused)) {
			return store.ErrConflict
		}
		delete(f.consumers, name)
	}
	return f.away
}

// hang makes the lease calls of a stream fail, or work again.
func (f *fakeStore) hang(stream string, hung bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hung[stream] = hung
}

// goAway makes every call fail with an error, or work again.
func (f *fakeStore) goAway(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = err
}

// stored returns the stored positions of a consumer, and nil if it does not exist.
func (f *fakeStore) stored(name string) []store.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.consumers[name] == nil {
		return nil
	}
	return slices.Clone(f.consumers[name].Positions)
}

// isFreeFor reports whether a stream has the lease of a consumer, or no stream has it.
func (f *fakeStore) isFreeFor(name, stream string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	consumer := f.consumers[name]
	return consumer != nil && (consumer.stream == stream || !time.Now().Before(consumer.until))
}

// snapshot returns a function that sets feed and consumers back, as a failover to a replica that was behind does.
func (f *fakeStore) snapshot() (restore func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed := f.feed
	consumers := make(map[string]fakeConsumer)
	for name, consumer := range f.consumers {
		consumers[name] = *consumer
		kept := consumers[name]
		kept.Positions = slices.Clone(kept.Positions)
		consumers[name] = kept
	}
	for partition := range feed {
		feed[partition].entries = slices.Clone(feed[partition].entries)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.feed = feed
		f.consumers = make(map[string]*fakeConsumer)
		for name, consumer := range consumers {
			f.consumers[name] = &consumer
		}
	}
}
