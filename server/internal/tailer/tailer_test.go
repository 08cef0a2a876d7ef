package tailer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/await"
	"example.com/verification-status/server/internal/hub"
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
	behind  *time.Time // up to when partition 1 was followed, if not up to now
	added   chan struct{}
	heads   int
	gets    int
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

func (f *feed) ReadFeed(ctx context.Context, partition int, after store.Position, _ int) ([]store.Entry, error) {
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
	return nil, nil
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
			if !f.lost && seq < uint64(len(f.entries[partition])) {
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

// memory notes what it is told, in order.
type memory struct {
	mu      sync.Mutex
	log     []string
	unheard []string // what Trust or Forget returns next
}

func (m *memory) note(format string, arguments ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if line := fmt.Sprintf(format, arguments...); len(m.log) == 0 || m.log[len(m.log)-1] != line {
		m.log = append(m.log, line)
	}
}

func (m *memory) Told(id string, revision int32) bool {
	m.note("told %s %d", id, revision)
	return true
}
func (m *memory) Trust(partition int, _ time.Time) []string {
	if partition == 0 {
		m.note("trust")
	}
	return m.takeUnheard()
}
func (m *memory) Forget(partition int) []string {
	m.note("forget %d", partition)
	return m.takeUnheard()
}

func (m *memory) takeUnheard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	unheard := m.unheard
	m.unheard = nil
	return unheard
}

func (m *memory) setUnheard(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unheard = ids
}
func (m *memory) Distrust() { m.note("distrust") }

func (m *memory) lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// watcher is a subscription with what it is worth in a test.
type watcher struct {
	*hub.Subscription
	t *testing.T
}

func watch(t *testing.T, h *hub.Hub, topics ...hub.Topic) watcher {
	s := h.Subscribe(topics...)
	t.Cleanup(s.Close)
	return watcher{s, t}
}

// woken reports whether a wake-up is there, and takes it.
func (w watcher) woken() bool {
	w.t.Helper()
	synctest.Wait()
	select {
	case <-w.C():
		return true
	default:
		return false
	}
}

// wokenWithin waits for a wake-up.
func (w watcher) wokenWithin(d time.Duration) {
	w.t.Helper()
	select {
	case <-w.C():
	case <-time.After(d):
		w.t.Fatalf("no wake-up within %v", d)
	}
}

// run tails until the test ends; stop ends it earlier and says how long that took.
func run(t *testing.T, s store.Store, h *hub.Hub) (stop func() time.Duration) {
	return runWith(t, s, h, &memory{})
}

func runWith(t *testing.T, s store.Store, h *hub.Hub, m Memory) (stop func() time.Duration) {
	return runTailer(t, New(s, h, m, nil, slog.New(slog.DiscardHandler)))
}

func runTailer(t *testing.T, tailer *Tailer) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tailer.Run(ctx)
	}()
	stop = sync.OnceValue(func() time.Duration {
		began := time.Now()
		cancel()
		await.One(t, done)
		return time.Since(began)
	})
	t.Cleanup(func() { stop() })
	return stop
}

func TestAnEntryWakesItsSessionItsPartitionAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		run(t, f, h)
		synctest.Wait()
		session, other := watch(t, h, hub.Session("vs_1")), watch(t, h, hub.Session("vs_2"))
		first, second := watch(t, h, hub.Partition(0)), watch(t, h, hub.Partition(1))
		f.add(1, store.Entry{SessionID: "vs_1", Revision: 1})
		if !session.woken() || !second.woken() {
			t.Error("the session or its partition slept on")
		}
		if other.woken() || first.woken() {
			t.Error("another session or partition was woken")
		}
	})
}

func TestAMovedReferenceWakesItsWatchersWithoutBeingNamedInTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		run(t, f, h)
		synctest.Wait()
		f.held["vs_1"] = verification.Session{ID: "vs_1", State: verification.State{Reference: "person"}}
		f.add(0, store.Entry{SessionID: "vs_1", Revision: 1, Pointer: true})
		synctest.Wait()
		if f.gets != 0 {
			t.Error("a record was read although nobody watches any reference")
		}
		person, other := watch(t, h, hub.Reference("person")), watch(t, h, hub.Reference("other"))
		f.add(0, store.Entry{SessionID: "vs_1", Revision: 2})
		if person.woken() || f.gets != 0 {
			t.Error("an entry that moves no reference woke a reference")
		}
		f.add(0, store.Entry{SessionID: "vs_1", Pointer: true})
		if !person.woken() || other.woken() {
			t.Error("the reference's watchers slept on, or others were woken")
		}
		f.add(0, store.Entry{SessionID: "vs_gone", Pointer: true})
		f.add(0, store.Entry{SessionID: "vs_1", Pointer: true})
		if !person.woken() {
			t.Error("a record that is gone stopped the rest")
		}
	})
}

func TestAtStartEveryoneLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		f.add(0, store.Entry{SessionID: "vs_1", Revision: 1}) // before the heads are read
		session := watch(t, h, hub.Session("vs_1"))
		run(t, f, h)
		if !session.woken() {
			t.Error("a change between a watcher's look and the first head is lost")
		}
	})
}

func TestAStoreThatIsAwayAtStartIsWaitedFor(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, h := newFeed(), hub.New()
			f.fail, f.hang = store.ErrUnavailable, hang
			session := watch(t, h, hub.Session("vs_1"))
			stop := run(t, f, h)
			time.Sleep(time.Minute)
			if session.woken() {
				t.Error("woken without a store")
			}
			f.set(func() { f.fail, f.hang = nil, false })
			session.wokenWithin(callTimeout + retryMax)
			f.add(0, store.Entry{SessionID: "vs_1", Revision: 1})
			session.wokenWithin(block)
			stop()
		})
	}
}

// A store that stays away is said at once and then once a minute, with the number of failures, however it fails; and at once
// when it goes away again.
func TestAStoreThatStaysAwayIsSaidOnceAMinute(t *testing.T) {
	for name, hang := range map[string]bool{"it fails": false, "it hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logged bytes.Buffer
				f := newFeed()
				runTailer(t, New(f, hub.New(), &memory{}, nil, slog.New(slog.NewTextHandler(&logged, nil))))
				synctest.Wait()
				f.set(func() { f.fail, f.hang = store.ErrUnavailable, hang })
				time.Sleep(2*time.Minute + 10*time.Second)
				synctest.Wait()
				if got := strings.Count(logged.String(), "cannot be read"); got != 3 || !strings.Contains(logged.String(), " failures=1\n") {
					t.Errorf("got %d lines in 130 s, want 3: %s", got, &logged)
				}
				f.set(func() { f.fail, f.hang = nil, false })
				time.Sleep(10 * time.Second)
				f.set(func() { f.fail, f.hang = store.ErrUnavailable, hang })
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := strings.Count(logged.String(), "cannot be read"); got != 4 {
					t.Errorf("got %d lines after it went away again, want 4: %s", got, &logged)
				}
			})
		})
	}
}

func TestAfterAStoreThatWasAwayEveryoneLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		stop := run(t, f, h)
		synctest.Wait()
		session, quiet := watch(t, h, hub.Session("vs_1")), watch(t, h, hub.Session("vs_quiet"))
		f.set(func() { f.fail = store.ErrUnavailable })
		time.Sleep(10 * time.Second)
		if session.woken() {
			t.Error("woken without a store")
		}
		f.set(func() { f.fail = nil })
		f.add(0, store.Entry{SessionID: "vs_1", Revision: 1})
		quiet.wokenWithin(2 * retryMax)
		session.wokenWithin(block)
		stop()
	})
}

func TestARewoundFeedIsNoticedAndEveryoneLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		for range 9 {
			f.add(0, store.Entry{SessionID: "vs_1", Revision: 1})
		}
		stop := run(t, f, h)
		synctest.Wait()
		quiet := watch(t, h, hub.Session("vs_quiet"))
		f.set(func() { f.entries[0], f.lost = f.entries[0][:3], true }) // Redis neither fails nor leaves a gap
		quiet.wokenWithin(checkEvery + block)
		f.add(0, store.Entry{SessionID: "vs_quiet", Revision: 4})
		quiet.wokenWithin(block)
		stop()
	})
}

func TestFailuresAreNotRetriedInATightLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		f.fail = store.ErrUnavailable
		calls := 0
		counting := &counted{feed: f, calls: &calls}
		stop := run(t, counting, h)
		time.Sleep(time.Minute)
		stop()
		if calls < 20 || calls > 80 {
			t.Errorf("%d tries in a minute; a pause is 1 to 2 s at last", calls)
		}
	})
}

type counted struct {
	*feed
	calls *int
}

func (c *counted) Head(ctx context.Context, partition int) (store.Position, error) {
	*c.calls++
	return c.feed.Head(ctx, partition)
}

func TestRunEndsPromptly(t *testing.T) {
	states := map[string]func(*feed){
		"following":            func(*feed) {},
		"waiting for a store":  func(f *feed) { f.fail = store.ErrUnavailable },
		"in a call that hangs": func(f *feed) { f.hang = true },
	}
	for name, state := range states {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFeed()
				state(f)
				stop := run(t, f, hub.New())
				time.Sleep(20 * time.Second)
				if took := stop(); took > block {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A store that hangs while a burst of references moves must not cost callTimeout for each of them once
// the process stops.
func TestRunEndsPromptlyInTheMiddleOfABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFeed(), hub.New()
		stop := run(t, f, h)
		synctest.Wait()
		watch(t, h, hub.Reference("person"))
		burst := slices.Repeat([]store.Entry{{SessionID: "vs_1", Revision: 1, Pointer: true}}, 1000)
		for n, entry := range burst {
			f.add(n%2, entry)
		}
		f.set(func() { f.hang = true })
		time.Sleep(time.Second)
		if took := stop(); took > block {
			t.Errorf("it took %v", took)
		}
	})
}
