package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
)

// TestG6_ReadersOfTheTailMissNothing: this process and another one commit, the store loses its newest commits and is away now and
// then, and everything takes its time. Each reader reads as a watch of all sessions does. At the end it has been shown what the store
// holds for each session that its entries named, or it was told that its position is lost.
func TestG6_ReadersOfTheTailMissNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var shown, told int
	for round := range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := &shuffle{t: t, tailed: newTailed(), rng: rand.New(rand.NewPCG(seed, uint64(round)))}
			s.run()
			shown, told = shown+s.shown, told+s.told
		})
	}
	if shown < 1000 || told < 10 {
		t.Errorf("only %d changes were shown, and %d readers were told of a loss", shown, told)
	}
}

// shuffle is one round.
type shuffle struct {
	t *testing.T
	*tailed
	view *View

	mu          sync.Mutex // guards what follows
	rng         *rand.Rand
	words       int
	shown, told int
}

// n returns a random number below most.
func (s *shuffle) n(most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(most)
}

func (s *shuffle) pause(most time.Duration) { time.Sleep(time.Duration(s.n(int(most)))) }

// word returns a word that was never said before.
func (s *shuffle) word(by string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words++
	return fmt.Sprintf("%s%d", by, s.words)
}

func (s *shuffle) run() {
	s.slow = func() { s.pause(4 * time.Millisecond) }
	s.view = s.follow(s.t)
	over := time.Now().Add(6 * time.Second)
	var working sync.WaitGroup
	repeat := func(pause time.Duration, do func()) {
		working.Go(func() {
			for time.Now().Before(over) {
				s.pause(pause)
				do()
			}
		})
	}
	id := func() string { return fmt.Sprintf("vs_%d", s.n(4)) }
	own := func(id string) { _, _ = s.view.Update(s.t.Context(), id, word(id, s.word("own"))) }
	other := func(id string) { _, _ = s.Update(s.t.Context(), id, word(id, s.word("other"))) }
	repeat(20*time.Millisecond, func() { own(id()) })
	repeat(20*time.Millisecond, func() { other(id()) })
	repeat(30*time.Millisecond, func() { _, _ = s.view.Session(s.t.Context(), id(), 0) })
	repeat(2*time.Second, func() { s.lose(1 + s.n(4)) })
	repeat(time.Second, func() {
		s.set(func() { s.overtaken = true })
		own(id())
	})
	repeat(4*time.Second, func() {
		s.set(func() { s.fail = store.ErrUnavailable })
		s.pause(time.Second)
		s.set(func() { s.fail = nil })
	})
	ctx, stop := context.WithCancel(s.t.Context())
	readers := make([]*tailReader, 5)
	var reading sync.WaitGroup
	for n := range readers {
		readers[n] = &tailReader{shuffle: s}
		reading.Go(func() { readers[n].run(ctx) })
	}
	working.Wait()
	s.set(func() { s.fail = nil })
	time.Sleep(10 * time.Second) // longer than a reader sleeps
	stop()
	reading.Wait()
	for _, r := range readers {
		r.check()
	}
}

// tailReader reads the feed as a watch of all sessions does.
type tailReader struct {
	*shuffle
	positions []store.Position
	words     map[string]string // by session, what was shown for its newest entry
	revisions map[string]int32  // and the entry's revision
}

func (r *tailReader) run(ctx context.Context) {
	woken := watch(r.t, r.view.Hub(), hub.Partition(0), hub.Partition(1))
	for ctx.Err() == nil {
		if r.positions == nil {
			r.begin(ctx)
		}
		if err := r.read(ctx); errors.Is(err, store.ErrRewound) {
			r.positions = nil
			r.mu.Lock()
			r.told++
			r.mu.Unlock()
			continue
		}
		r.pause(20 * time.Millisecond)
		select {
		case <-woken.C():
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
		}
	}
}

// begin starts at the heads. The store can be away.
func (r *tailReader) begin(ctx context.Context) {
	r.words, r.revisions = make(map[string]string), make(map[string]int32)
	var positions []store.Position
	for len(positions) < r.Partitions() && ctx.Err() == nil {
		head, err := r.view.Head(ctx, len(positions))
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		positions = append(positions, head)
	}
	r.positions = positions
}

// read shows what follows the positions.
func (r *tailReader) read(ctx context.Context) error {
	for partition := range r.positions {
		entries, ok := r.view.Tail(partition, r.positions[partition], 100)
		if !ok {
			var err error
			if entries, err = r.view.ReadFeed(ctx, partition, r.positions[partition], 100); err != nil {
				return err
			}
		}
		for _, entry := range entries {
			session, err := r.view.SessionAt(ctx, entry)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			r.show(entry, strings.Fields(session.Status))
			r.positions[partition] = entry.Position
		}
	}
	return nil
}

// show notes the word of an entry. Entries of a session come in order, without a hole.
func (r *tailReader) show(entry store.Entry, words []string) {
	if before := r.revisions[entry.SessionID]; before != 0 && entry.Revision != before+1 {
		r.t.Errorf("revision %d of %s came after %d", entry.Revision, entry.SessionID, before)
	}
	r.revisions[entry.SessionID] = entry.Revision
	if delete(r.words, entry.SessionID); int(entry.Revision) <= len(words) {
		r.words[entry.SessionID] = words[entry.Revision-1]
	}
	r.mu.Lock()
	r.shown++
	r.mu.Unlock()
}

// check compares what was shown last with the store.
func (r *tailReader) check() {
	for id, revision := range r.revisions {
		words := strings.Fields(r.held[id].Status)
		if int(revision) != len(words) || r.words[id] != words[revision-1] {
			r.t.Errorf("the reader was shown revision %d of %s as %q; the store has %q", revision, id, r.words[id], words)
		}
	}
}
