package live

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

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
	return runWith(t, s, h, &fakeCache{})
}

func runWith(t *testing.T, s store.Store, h *hub.Hub, m followedCache) (stop func() time.Duration) {
	return runFollower(t, newFollowing(s, h, m, nil, slog.New(slog.DiscardHandler)))
}

// newFollowing makes a follower of a test's feed, with a test's cache.
func newFollowing(s store.Store, h *hub.Hub, c followedCache, lost func([]string, bool), logger *slog.Logger) *follower {
	return newFollower(Config{Store: s, Lost: lost, Logger: logger}, h, c, make([]tail, s.Partitions()))
}

func runFollower(t *testing.T, f *follower) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
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
			t.Error("a record was read although no watcher listens to a reference")
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

// TestACommitWakesTheWatchersOfANewReferenceOnly: a commit of this process. One that keeps the session's reference leads its watchers to no other
// session.
func TestACommitWakesTheWatchersOfANewReferenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(Config{Store: newRecords(), CacheSessions: 1000, Logger: slog.New(slog.DiscardHandler)})
		person, other := watch(t, v.Hub(), hub.Reference("person")), watch(t, v.Hub(), hub.Reference("other"))
		for _, commit := range []struct {
			reference     string
			person, other bool
		}{{"person", true, false}, {"person", false, false}, {"other", false, true}, {"", false, false}} {
			_, err := v.Update(t.Context(), "vs_1", func(s verification.Session) (verification.Session, bool, error) {
				s, _, _ = advance(s)
				s.Reference = commit.reference
				return s, true, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if gotPerson, gotOther := person.woken(), other.woken(); gotPerson != commit.person || gotOther != commit.other {
				t.Errorf("a commit with the reference %q woke the watchers of person: %t, of other: %t; want %t, %t",
					commit.reference, gotPerson, gotOther, commit.person, commit.other)
			}
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

func TestAnOutageOfTheStoreAtStartIsWaitedFor(t *testing.T) {
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
			session.wokenWithin(followBlock)
			stop()
		})
	}
}

// A store that stays unavailable is said at once and then once a minute, with the number of failures, however it fails; and at once
// when it becomes unavailable again.
func TestALongOutageOfTheStoreIsLoggedOnceAMinute(t *testing.T) {
	for name, hang := range map[string]bool{"it fails": false, "it hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logged bytes.Buffer
				f := newFeed()
				runFollower(t, newFollowing(f, hub.New(), &fakeCache{}, nil, slog.New(slog.NewTextHandler(&logged, nil))))
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

func TestAfterAnOutageOfTheStoreEveryWatcherReadsAgain(t *testing.T) {
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
		session.wokenWithin(followBlock)
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
		quiet.wokenWithin(checkEvery + followBlock)
		f.add(0, store.Entry{SessionID: "vs_quiet", Revision: 4})
		quiet.wokenWithin(followBlock)
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
				if took := stop(); took > followBlock {
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
		if took := stop(); took > followBlock {
			t.Errorf("it took %v", took)
		}
	})
}
