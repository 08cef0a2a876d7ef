package rpc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// counted is a fakeStore that counts how often a record is read, and takes its time to answer.
type counted struct {
	*fakeStore
	takes time.Duration
	reads atomic.Int64
}

func (c *counted) Partition(string) int { return 0 }

func (c *counted) Get(ctx context.Context, id string) (verification.Session, error) {
	c.reads.Add(1)
	session, err := c.fakeStore.Get(ctx, id)
	time.Sleep(c.takes)
	return session, err
}

func (c *counted) Update(_ context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	c.mu.Lock()
	current := c.held[id]
	c.mu.Unlock()
	next, _, err := fn(current)
	c.put(next)
	return next, err
}

// Follow implements store.Feed: it polls.
func (c *counted) Follow(ctx context.Context, after []store.Position, block time.Duration) ([]store.Entry, error) {
	for until := time.Now().Add(block); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		entries := slices.Clone(c.entries[after[0].Seq:])
		c.mu.Unlock()
		if len(entries) > 0 || !time.Now().Before(until) || ctx.Err() != nil {
			return entries, ctx.Err()
		}
	}
}

// Followed implements store.Feed.
func (c *counted) Followed(int) time.Time { return time.Now() }

// Check implements store.Feed. Nothing is ever lost.
func (c *counted) Check(context.Context, []store.Position) ([]error, error) {
	return make([]error, 1), nil
}

// follow makes a View of the records whose cache is fresh, and runs it until the test's context ends.
func (c *counted) follow(ctx context.Context, running *sync.WaitGroup) *live.View {
	view := live.New(live.Config{Store: c, CacheSessions: 1000, Logger: slog.New(slog.DiscardHandler)})
	running.Go(func() { view.Run(ctx) })
	time.Sleep(live.FreshnessBound)
	synctest.Wait()
	return view
}

// TestOneEventIsReadOnceForTenThousandWatchers: all of one session. Each gets it once. The store is read
// once when all open, and once for the change; not at all if the change was made here.
//
// Once, because all watches that look while a read is under way share it, and find its answer in the cache later. The
// bound that no schedule breaks is the number of slots: a look that has one can have missed the cache just
// before the answer came there, and begin to read just after. Between the two are a few instructions, so that
// only a store that answers in no time, as in the last case, or a busy processor makes the difference.
func TestOneEventIsReadOnceForTenThousandWatchers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	const watchers, slots, id = 10_000, 16, "vs_1"
	created, _ := verification.Transition(verification.Session{}, eventOf(1, 1, object(id, "requires_input")))
	verified, _ := verification.Transition(created, eventOf(2, 2, object(id, "verified")))
	for _, c := range []struct {
		name              string
		takes             time.Duration
		here              bool // the change is made here
		opening, changing int64
	}{
		{"made by another replica", time.Millisecond, false, 1, 1},
		{"made here", time.Millisecond, true, 1, 0},
		{"made by another replica, read in no time", 0, false, slots, slots},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records := &counted{fakeStore: &fakeStore{held: map[string]verification.Session{}}, takes: c.takes}
				records.put(created)
				ctx, cancel := context.WithCancel(t.Context())
				var watching sync.WaitGroup
				defer watching.Wait()
				defer cancel()
				view := records.follow(ctx, &watching)
				service := New(Config{Live: view, Ingest: emptyIngest{}, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})

				sinks := make([]*sink, watchers)
				for n := range sinks {
					sinks[n] = &sink{ctx: ctx, got: make(chan arrival, 10)}
					watching.Go(func() { _ = service.WatchStatus(bySession(id, 0), sinks[n]) })
				}
				wantAll := func(revision int32, most int64) {
					t.Helper()
					time.Sleep(live.FreshnessBound - time.Millisecond) // through the slots they can read for 625 ms
					synctest.Wait()
					for n, s := range sinks {
						if len(s.got) != 1 {
							t.Fatalf("watcher %d got %d responses; want revision %d once", n, len(s.got), revision)
						}
						if got := (<-s.got).GetVerification().GetRevision(); got != revision {
							t.Fatalf("watcher %d: revision %d, want %d", n, got, revision)
						}
					}
					reads := records.reads.Swap(0)
					t.Logf("revision %d: %d reads of the store for %d watchers", revision, reads, watchers)
					if reads > most {
						t.Errorf("the store was asked %d times, for %d watchers of one session; want %d at the most", reads, watchers, most)
					}
				}
				wantAll(1, c.opening)

				if c.here {
					commit := func(verification.Session) (verification.Session, bool, error) { return verified, true, nil }
					if _, err := view.Update(ctx, id, commit); err != nil {
						t.Fatal(err)
					}
				} else {
					records.put(verified)
				}
				wantAll(2, c.changing)
			})
		})
	}
}
