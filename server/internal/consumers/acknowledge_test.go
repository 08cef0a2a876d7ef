package consumers

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/store"
)

// TestG14_Acknowledge draws feeds and positions that were given out at any time. What is stored afterwards follows from the feed's
// answers and the positions alone, also if others acknowledge at the same time. The stored positions never go back.
func TestG14_Acknowledge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newFakeStore()
		c := New(Config{Store: s, Logger: slog.New(slog.DiscardHandler)})
		var given [fakePartitions][]store.Position // every position that was ever given out
		fresh := store.Consumer{Name: "billing", Positions: make([]store.Position, fakePartitions)}
		for partition := range fresh.Positions {
			fresh.Positions[partition] = s.feed[partition].head
			given[partition] = append(given[partition], s.feed[partition].head)
		}
		if _, _, err := s.CreateConsumer(t.Context(), fresh, 0); err != nil {
			t.Fatal(err)
		}
		draw := func(what string) []store.Position {
			positions := make([]store.Position, fakePartitions)
			for partition := range positions {
				positions[partition] = rapid.SampledFrom(given[partition]).Draw(t, what)
			}
			return positions
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			partition := rapid.IntRange(0, fakePartitions-1).Draw(t, "partition")
			switch rapid.IntRange(0, 20).Draw(t, "step") {
			case 0, 1, 2, 3, 4, 5, 6, 7:
				given[partition] = append(given[partition], s.append(partition).Position)
			case 8, 9:
				s.trim(partition, rapid.IntRange(1, 3).Draw(t, "trimmed"))
			case 10:
				s.flush(partition)
				given[partition] = append(given[partition], s.feed[partition].head)
			case 11, 12:
				s.lose(partition, rapid.IntRange(1, 3).Draw(t, "lost"))
			default:
				other := rapid.IntRange(0, 3).Draw(t, "others")
				s.moving = func() {
					if other--; other >= 0 { // another replica acknowledges between the comparison and the move
						at := s.stored("billing")
						moved := slices.Clone(at)
						entries, err := s.after(partition, at[partition])
						if err == nil && len(entries) > 0 {
							moved[partition] = entries[0].Position
						}
						s.consumers["billing"].Positions = moved
					}
				}
				acknowledgeOne(t, s, c, draw("position"))
				s.moving = func() {}
			}
		}
	})
}

// acknowledgeOne acknowledges positions and compares what is stored with the rules.
func acknowledgeOne(t *rapid.T, s *fakeStore, c *Consumers, given []store.Position) {
	before := s.stored("billing")
	err := c.Acknowledge(t.Context(), "billing", "", func(uint64) ([]store.Position, error) { return given, nil })
	after := s.stored("billing")
	each, _ := s.Check(t.Context(), given)
	held, _ := s.Check(t.Context(), before)
	if err != nil {
		denied := false
		for partition := range given {
			denied = denied || each[partition] != nil && errors.Is(err, each[partition])
		}
		if !denied {
			t.Fatalf("Acknowledge(%v) over %v: %v; the feed says %v", given, before, err, each)
		}
		return
	}
	for partition, position := range given {
		old := each[partition] != nil && !isAfter(position, after[partition])
		switch {
		case errors.Is(each[partition], store.ErrRewound), each[partition] != nil && !old:
			t.Fatalf("partition %d: %v was taken, and the feed says %v", partition, position, each[partition])
		case held[partition] == nil && after[partition] != before[partition] && !isAfter(after[partition], before[partition]):
			t.Fatalf("partition %d went back from %v to %v", partition, before[partition], after[partition])
		case !old && isAfter(position, after[partition]):
			t.Fatalf("partition %d is at %v, and %v was acknowledged", partition, after[partition], position)
		case held[partition] != nil && each[partition] == nil && after[partition] == before[partition] && position != before[partition]:
			t.Fatalf("partition %d stays at %v, which the feed denies, and %v was acknowledged", partition, before[partition], position)
		}
	}
}

// The cases of the contract, one by one.
func TestAcknowledgements(t *testing.T) {
	planted := errors.New("planted")
	inBubble(t, func(t *testing.T, r *rig) {
		want := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %v; want %v", what, err, want)
			}
		}
		want("before the creation", r.acknowledge("billing", "pay", r.heads()), store.ErrNotFound)
		stream := r.open(billing)
		stream.Close()
		begin := stream.Positions()
		at := func(position store.Position) []store.Position { return []store.Position{position, begin[1], begin[2]} }
		var entries []store.Position
		for range 6 {
			entries = append(entries, r.store.append(0).Position)
		}
		want("by another caller", r.acknowledge("billing", "other", at(entries[0])), ErrNotOwner)
		var asked uint64
		want("with a token that cannot be read", r.Acknowledge(t.Context(), "billing", "pay", func(incarnation uint64) ([]store.Position, error) {
			asked = incarnation
			return nil, planted
		}), planted)
		if asked != stream.Incarnation() {
			t.Errorf("the token was read for incarnation %d; want %d", asked, stream.Incarnation())
		}
		r.wantStored("after what was refused", begin)
		want("of the third", r.acknowledge("billing", "pay", at(entries[2])), nil)
		r.wantStored("after the third", at(entries[2]))
		want("of the first", r.acknowledge("billing", "pay", at(entries[0])), nil)
		r.wantStored("after the first, which is older", at(entries[2]))

		r.store.trim(0, 2)
		want("of the first, whose successor is trimmed", r.acknowledge("billing", "pay", at(entries[0])), nil)
		r.wantStored("after an old token", at(entries[2]))
		r.store.trim(0, 2)
		r.refused(billing, ErrExpired)
		want("of the third, with the consumer expired", r.acknowledge("billing", "pay", at(entries[2])), nil)
		want("of the fifth", r.acknowledge("billing", "pay", at(entries[4])), nil)
		r.wantStored("after the fifth, which heals", at(entries[4]))
		r.open(billing).Close()

		lost := entries[5]
		r.store.lose(0, 1)
		next := r.store.append(0).Position
		want("of a lost entry", r.acknowledge("billing", "pay", at(lost)), store.ErrRewound)
		want("of an entry of another data set", r.acknowledge("billing", "pay", at(store.Position{Epoch: 99, Seq: 1, Nonce: 1})), store.ErrRewound)
		r.wantStored("after lost entries", at(entries[4]))
		want("of the entry with the number of the lost one", r.acknowledge("billing", "pay", at(next)), nil)
		for range 4 {
			r.store.append(0)
		}
		r.store.trim(0, 4)
		middle := r.store.feed[0].entries[0].Position
		middle.Seq, middle.Nonce = middle.Seq-2, 12345
		want("of an entry after the stored one that can no longer be proven", r.acknowledge("billing", "pay", at(middle)), store.ErrTrimmed)
		r.wantStored("after it", at(next))

		if err := r.Delete(t.Context(), "billing", "pay", false); err != nil {
			t.Fatal(err)
		}
		want("after the deletion", r.acknowledge("billing", "pay", r.heads()), store.ErrNotFound)
	})
}

// If others move the consumer all the time, an acknowledgement fails after a bounded number of tries.
func TestAcknowledgeGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(billing).Close()
		r.store.append(0)
		moves := uint64(0)
		r.store.moving = func() {
			moves++
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			r.store.consumers["billing"].Positions[0].Nonce = 1000 + moves
		}
		if err := r.acknowledge("billing", "pay", r.heads()); !errors.Is(err, store.ErrConflict) || moves != store.MaxTries {
			t.Errorf("after %d moves by others: %v; want ErrConflict after %d", moves, err, store.MaxTries)
		}
	})
}
