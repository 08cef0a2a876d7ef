package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// feed is a feed of two partitions in memory, with faults at exact moments.
type feed struct {
	store.Store

	mu      sync.Mutex
	entries [2][]store.Entry
	trimmed int        // so many entries of each partition are no longer held
	nonces  uint64     // given out
	old     bool       // entries are written by an older version, and name no other
	checked time.Time  // when the last check began
	blind   bool       // a check finds nothing
	lost    bool       // positions given out are no longer in the feed
	fail    error      // of every call, as long as it is set
	hang    bool       // calls answer only when their context ends
	late    bool       // Follow finds nothing
	behind  *time.Time // up to when partition 1 was followed, if not up to now
	added   chan struct{}
	heads   int
	gets    int
	reads   int // of the feed, also by checks
	held    map[string]verification.Session
}

func newFeed() *feed {
	return &feed{added: make(chan struct{}, 1), held: make(map[string]verification.Session)}
}

func (f *feed) Partitions() int { return len(f.entries) }

// trouble is what a call meets first.
func (f *feed) trouble(ctx context.Context) error {
	f.mu.Lock()
	hang, fail := f.hang, f.fail
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fail
}

func (f *feed) Head(ctx context.Context, partition int) (store.Position, error) {
	if err := f.trouble(ctx); err != nil {
		return store.Position{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads++
	f.lost = false
	return f.end(partition), nil
}

// end is the position behind the newest entry.
func (f *feed) end(partition int) store.Position {
	if n := len(f.entries[partition]); n > 0 {
		return f.entries[partition][n-1].Position
	}
	return store.Position{Epoch: 1}
}

func (f *feed) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	if err := f.trouble(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.entries[partition]
	if f.lost || after.Seq > uint64(len(held)) || after.Seq > 0 && held[after.Seq-1].Position != after {
		return nil, fmt.Errorf("partition: %w", store.ErrRewound)
	}
	if after.Seq < uint64(f.trimmed) {
		return nil, fmt.Errorf("partition: %w", store.ErrTrimmed)
	}
	f.reads++
	following := held[after.Seq:]
	return slices.Clone(following[:min(limit, len(following))]), nil
}

func (f *feed) Follow(ctx context.Context, after []store.Position, block time.Duration) ([]store.Entry, error) {
	timer := time.NewTimer(block)
	defer timer.Stop()
	for {
		if err := f.trouble(ctx); err != nil {
			return nil, err
		}
		f.mu.Lock()
		var found []store.Entry
		for partition := range f.entries {
			seq := max(after[partition].Seq, uint64(f.trimmed))
			if !f.lost && !f.late && seq < uint64(len(f.entries[partition])) {
				found = append(found, f.entries[partition][seq:]...)
			}
		}
		f.mu.Unlock()
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-f.added:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
		}
	}
}

func (f *feed) Get(ctx context.Context, id string) (verification.Session, error) {
	if err := f.trouble(ctx); err != nil {
		return verification.Session{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets++
	session, ok := f.held[id]
	if !ok {
		return session, store.ErrNotFound
	}
	return session, nil
}

// add appends an entry, as a commit would.
func (f *feed) add(partition int, entry store.Entry) {
	f.mu.Lock()
	f.append(partition, entry)
	f.mu.Unlock()
	f.notify()
}

func (f *feed) append(partition int, entry store.Entry) {
	before := f.end(partition)
	f.nonces++
	entry.Partition = partition
	entry.Position = store.Position{Epoch: 1, Seq: before.Seq + 1, Nonce: f.nonces}
	if !f.old {
		entry.Before, entry.Chained = before.Nonce, true
	}
	f.entries[partition] = append(f.entries[partition], entry)
}

func (f *feed) notify() {
	select {
	case f.added <- struct{}{}:
	default:
	}
}

func (f *feed) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *feed) Check(ctx context.Context, positions []store.Position) (each []error, err error) {
	blind := false
	f.set(func() { f.checked, blind = time.Now(), f.blind })
	if blind {
		return make([]error, len(positions)), nil
	}
	for partition, position := range positions {
		_, err := f.ReadFeed(ctx, partition, position, 1)
		if err != nil && !errors.Is(err, store.ErrRewound) && !errors.Is(err, store.ErrTrimmed) {
			return nil, err
		}
		each = append(each, err)
	}
	return each, nil
}

func (f *feed) Followed(partition int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind != nil && partition == 1 {
		return *f.behind
	}
	if f.fail != nil {
		return time.Time{}
	}
	return time.Now()
}

// fakeCache notes the calls, in order.
type fakeCache struct {
	mu          sync.Mutex
	log         []string
	unconfirmed []string // what markFresh or reset returns next
}

func (m *fakeCache) note(format string, arguments ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if line := fmt.Sprintf(format, arguments...); len(m.log) == 0 || m.log[len(m.log)-1] != line {
		m.log = append(m.log, line)
	}
}

func (m *fakeCache) invalidate(id string, revision int32) bool {
	m.note("invalidate %s %d", id, revision)
	return true
}
func (m *fakeCache) markFresh(partition int, _ time.Time) []string {
	if partition == 0 {
		m.note("fresh")
	}
	return m.takeUnconfirmed()
}
func (m *fakeCache) reset(partition int) []string {
	m.note("reset %d", partition)
	return m.takeUnconfirmed()
}

func (m *fakeCache) takeUnconfirmed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	unconfirmed := m.unconfirmed
	m.unconfirmed = nil
	return unconfirmed
}

func (m *fakeCache) setUnconfirmed(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unconfirmed = ids
}
func (m *fakeCache) markStale() { m.note("stale") }

func (m *fakeCache) lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}
