package rpc

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/hub"
	"example.com/verification-status/server/internal/nearcache"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// counted is a shelf that counts how often a record is read, and takes its time to answer.
type counted struct {
	*shelf
	takes time.Duration
	reads atomic.Int64
}

func (c *counted) Partition(string) int { return 0 }

func (c *counted) Get(ctx context.Context, id string) (verification.Session, error) {
	c.reads.Add(1)
	session, err := c.shelf.Get(ctx, id)
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

// ownNews wakes those who watch a session that was committed here.
type ownNews struct{ *hub.Hub }

func (n ownNews) Committed(_, after verification.Session) { n.Wake(hub.Session(after.ID)) }
func (n ownNews) Changed(id string)                       { n.Wake(hub.Session(id)) }

// TestOneEventIsReadOnceForTenThousandWatchers: all of one session. Each is told once, and the store is asked
// for the record once when all open, and once for the change; not at all if the change was made here.
//
// Once, because all who look while a read is under way share it, and find its answer in memory afterwards. The
// bound that no schedule breaks is the number of turns: whoever has one may have looked into memory just
// before the answer came there, and begin to read just after. Between the two are a few instructions, so that
// only a store that answers in no time, as in the last case, or a busy processor makes the difference.
func TestOneEventIsReadOnceForTenThousandWatchers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	const watchers, turns, id = 10_000, 16, "vs_1"
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
		{"made by another replica, read in no time", 0, false, turns, turns},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records := &counted{shelf: &shelf{held: map[string]verification.Session{}}, takes: c.takes}
				records.put(created)
				woken := hub.New()
				memory := nearcache.New(records, 1000, time.Now, ownNews{woken})
				service := New(Config{
					Store: memory, Recent: memory, Hub: woken, Ingest: nobody{}, Clock: time.Now,
					Logger: slog.New(slog.DiscardHandler), StreamReads: turns,
				})
				ctx, cancel := context.WithCancel(t.Context())
				var watching sync.WaitGroup
				defer watching.Wait()
				defer cancel()

				sinks := make([]*sink, watchers)
				memory.Trust(0, time.Now())
				for n := range sinks {
					sinks[n] = &sink{ctx: ctx, got: make(chan arrival, 10)}
					watching.Go(func() { _ = service.WatchStatus(bySession(id, 0), sinks[n]) })
				}
				told := func(revision int32, most int64) {
					t.Helper()
					time.Sleep(nearcache.Bound - time.Millisecond) // by turns they may read for 625 ms
					synctest.Wait()
					for n, s := range sinks {
						if len(s.got) != 1 {
							t.Fatalf("watcher %d has been told %d times of revision %d", n, len(s.got), revision)
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
				told(1, c.opening)

				memory.Trust(0, time.Now())
				if c.here {
					commit := func(verification.Session) (verification.Session, bool, error) { return verified, true, nil }
					if _, err := memory.Update(ctx, id, commit); err != nil {
						t.Fatal(err)
					}
				} else {
					records.put(verified)
				}
				if memory.Told(id, 2) { // as the tailer does
					woken.Wake(hub.Session(id))
				}
				told(2, c.changing)
			})
		})
	}
}
