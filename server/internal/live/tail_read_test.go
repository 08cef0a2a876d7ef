package live

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// tailed is a feed of two partitions with records. A record's status holds a word for each of its revisions.
type tailed struct {
	*feed
	slow func() // called without the lock, around each read and each commit
	// answering is called before the answer to a "read" or a "commit". nil: not called.
	answering func(call string)
	commits   []commit
	// overtaken makes the next commit one that is lost before any reader sees it. Another process commits the same revision.
	overtaken bool
}

// commit is what a loss takes back.
type commit struct {
	partition int
	before    verification.Session
	id        string
}

func newTailed() *tailed { return &tailed{feed: newFeed(), slow: func() {}} }

func (s *tailed) Partition(id string) int { return int(id[len(id)-1]) % 2 }

func (s *tailed) Get(ctx context.Context, id string) (verification.Session, error) {
	s.slow()
	session, err := s.feed.Get(ctx, id)
	s.answer("read")
	return session, err
}

// Update commits a record and its entry at one moment.
func (s *tailed) Update(_ context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	s.slow()
	s.mu.Lock()
	next, _, err := fn(s.held[id])
	kept := next
	if s.overtaken {
		s.overtaken = false
		kept.Status = strings.TrimSuffix(kept.Status, " ") + "-instead "
	}
	if err == nil {
		s.commits = append(s.commits, commit{s.Partition(id), s.held[id], id})
		s.held[id] = kept
		s.append(s.Partition(id), store.Entry{SessionID: id, Revision: next.Revision})
	}
	s.mu.Unlock()
	s.notify()
	s.answer("commit")
	return next, err
}

func (s *tailed) answer(call string) {
	s.slow()
	if s.answering != nil {
		s.answering(call)
	}
}

// lose takes back the newest commits, as a failover to a replica that lags does.
func (s *tailed) lose(commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; commits > 0 && len(s.commits) > 0; commits-- {
		lost := s.commits[len(s.commits)-1]
		s.commits = s.commits[:len(s.commits)-1]
		if s.held[lost.id] = lost.before; !lost.before.Exists() {
			delete(s.held, lost.id)
		}
		s.entries[lost.partition] = s.entries[lost.partition][:len(s.entries[lost.partition])-1]
	}
}

// word returns an update that adds a revision with a word.
func word(id, text string) store.UpdateFunc {
	return func(current verification.Session) (verification.Session, bool, error) {
		current.ID = id
		current.Revision++
		current.Status += text + " "
		return current, true, nil
	}
}

// follow starts a View over the store, and waits until it has followed the feed.
func (s *tailed) follow(t *testing.T) *View {
	t.Helper()
	v := New(Config{Store: s, CacheSessions: 1000, Logger: slog.New(slog.DiscardHandler)})
	runFollower(t, v.follower)
	time.Sleep(followBlock + time.Millisecond)
	synctest.Wait()
	return v
}

// say commits a word, as another process does.
func (s *tailed) say(t *testing.T, id, text string) store.Entry {
	t.Helper()
	if _, err := s.Update(t.Context(), id, word(id, text)); err != nil {
		t.Fatal(err)
	}
	return s.newest(id)
}

// newest returns the newest entry of a session's partition.
func (s *tailed) newest(id string) store.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := s.entries[s.Partition(id)]
	return entries[len(entries)-1]
}

func wantSaid(t *testing.T, v *View, entry store.Entry, want string) {
	t.Helper()
	if session, err := v.SessionAt(t.Context(), entry); err != nil || session.Status != want {
		t.Errorf("the record of entry %d of %s is %q, %v; want %q", entry.Position.Seq, entry.SessionID, session.Status, err, want)
	}
}

// TestManyWatchesOfAllSessionsReadOnce: the feed not at all, since the follower has read it, and each record once for
// each of its entries.
func TestManyWatchesOfAllSessionsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTailed()
		v := s.follow(t)
		starts := []store.Position{s.end(0), s.end(1)}
		var entries []store.Entry
		for range 3 {
			for _, id := range []string{"vs_0", "vs_1"} {
				entries = append(entries, s.say(t, id, "word"))
				synctest.Wait()
			}
		}
		s.slow = func() { time.Sleep(time.Millisecond) }
		s.set(func() { s.gets, s.reads = 0, 0 })
		var reading sync.WaitGroup
		for range 50 {
			reading.Go(func() {
				for partition, start := range starts {
					page, ok := v.Limited().Tail(partition, start, 100)
					if !ok || len(page) != 3 {
						t.Errorf("the tail of partition %d has %d entries, %v; want 3", partition, len(page), ok)
					}
				}
				for _, entry := range entries[4:] {
					if session, err := v.Limited().SessionAt(t.Context(), entry); err != nil || session.Revision != 3 {
						t.Errorf("got revision %d, %v; want 3", session.Revision, err)
					}
				}
			})
		}
		reading.Wait()
		if s.gets != 2 || s.reads != 0 {
			t.Errorf("%d reads of records and %d of the feed; want 2 and 0", s.gets, s.reads)
		}
	})
}

// TestG7_ACopyOfALostTimelineIsNotShownForAnEntry: the store loses a commit of this process before the feed has shown it, and
// another process commits the same revision. The entry follows all that was read, and the lost copy has its revision.
func TestG7_ACopyOfALostTimelineIsNotShownForAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTailed()
		v := s.follow(t)
		wantSaid(t, v, s.say(t, "vs_1", "first"), "first ")
		synctest.Wait()
		s.set(func() { s.overtaken = true })
		if _, err := v.Update(t.Context(), "vs_1", word("vs_1", "lost")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, ok := v.Tail(1, s.end(1), 1); !ok || v.Peek("vs_1", 2) == nil {
			t.Fatal("the entry did not follow, or the lost copy is not cached")
		}
		wantSaid(t, v, s.newest("vs_1"), "first lost-instead ")
	})
}

// TestAReadThatBeganBeforeAnEntryIsNotShownForIt, neither to a caller that joins it nor from the cache.
func TestAReadThatBeganBeforeAnEntryIsNotShownForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTailed()
		v := s.follow(t)
		s.say(t, "vs_1", "first")
		synctest.Wait()
		gate := make(chan struct{})
		s.slow = func() { <-gate }
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = v.Session(t.Context(), "vs_1", 0) })
		synctest.Wait()
		// The cache learns nothing: its copy could be of this revision already.
		s.set(func() {
			s.append(1, store.Entry{SessionID: "vs_1", Revision: 1})
			s.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 1, State: verification.State{Status: "again "}}
		})
		entry := s.newest("vs_1")
		v.follower.advance([]store.Entry{entry})
		reading.Go(func() { wantSaid(t, v, entry, "again ") })
		synctest.Wait()
		s.set(func() { s.gets = 0 })
		close(gate)
		reading.Wait()
		if s.gets != 2 {
			t.Errorf("%d reads; want 2: one for each caller", s.gets)
		}
	})
}

// TestTheTailAnswersOnlyWhileTheFeedIsFollowed: after that, and at positions that it does not hold, only the store can.
func TestTheTailAnswersOnlyWhileTheFeedIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTailed()
		first := s.say(t, "vs_1", "first")
		v := s.follow(t)
		entry := s.say(t, "vs_1", "second")
		synctest.Wait()
		for name, test := range map[string]struct {
			after store.Position
			ok    bool
		}{
			"the head at the start": {first.Position, true},
			"the head":              {entry.Position, true},
			"before the start":      {store.Position{Epoch: 1}, false},
			"after the head":        {store.Position{Epoch: 1, Seq: 3, Nonce: 3}, false},
			"another nonce":         {store.Position{Epoch: 1, Seq: 2, Nonce: 9}, false},
			"another epoch":         {store.Position{Epoch: 2, Seq: 2, Nonce: 2}, false},
		} {
			if _, ok := v.Tail(1, test.after, 1); ok != test.ok {
				t.Errorf("%s: ok %v, want %v", name, ok, test.ok)
			}
		}
		wantSaid(t, v, entry, "first second ")
		time.Sleep(FreshnessBound)
		wantSaid(t, v, entry, "first second ") // proven, so that only the feed's age matters
		if v.PeekAt(entry) == nil || v.PeekAt(first) != nil {
			t.Error("want a cached record for the entry, and none for an entry before the tail")
		}
		s.set(func() { s.fail = store.ErrUnavailable })
		time.Sleep(FreshnessBound)
		if _, ok := v.Tail(1, first.Position, 1); ok || v.PeekAt(entry) != nil {
			t.Error("an answer without the store, although the feed is not followed")
		}
	})
}

// TestACommitAnsweredAfterItsEntryWasReadNeedsNoOtherRead: the read has shown that the store had what the commit left.
func TestACommitAnsweredAfterItsEntryWasReadNeedsNoOtherRead(t *testing.T) {
	for name, first := range map[string]string{"the read ends first": "read", "the commit is answered first": "commit"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTailed()
				v := s.follow(t)
				answer := map[string]chan struct{}{"read": make(chan struct{}), "commit": make(chan struct{})}
				var working sync.WaitGroup
				s.answering = func(call string) { <-answer[call] }
				working.Go(func() { _, _ = v.Update(t.Context(), "vs_1", word("vs_1", "word")) })
				synctest.Wait()
				entry := s.newest("vs_1")
				working.Go(func() { wantSaid(t, v, entry, "word ") })
				synctest.Wait()
				close(answer[first])
				delete(answer, first)
				synctest.Wait()
				for _, gate := range answer {
					close(gate)
				}
				working.Wait()
				if v.PeekAt(entry) == nil {
					t.Error("the record of the entry is not cached")
				}
			})
		})
	}
}

// TestACommitOfThisProcessWakesWatchersOfItsPartition by its entry, once; and at once if the feed is not followed.
func TestACommitOfThisProcessWakesWatchersOfItsPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTailed()
		v := s.follow(t)
		watcher := watch(t, v.Hub(), hub.Partition(1))
		update := func() {
			if _, err := v.Update(t.Context(), "vs_1", word("vs_1", "word")); err != nil {
				t.Fatal(err)
			}
		}
		s.set(func() { s.late = true })
		update()
		if watcher.woken() {
			t.Error("the commit woke the watcher before its entry was in the tail")
		}
		s.set(func() { s.late = false })
		s.notify()
		if !watcher.woken() {
			t.Error("the entry woke nobody")
		}
		if _, ok := v.Tail(1, s.end(1), 1); !ok {
			t.Error("the tail does not hold the entry that woke the watcher")
		}
		s.set(func() { s.fail = store.ErrUnavailable })
		time.Sleep(FreshnessBound)
		watcher.woken()
		update()
		if !watcher.woken() {
			t.Error("the commit woke nobody while the feed was not followed")
		}
	})
}
