package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// verdicts checks a position by ReadFeed and by Check, which must agree. It returns the entries after the position.
func verdicts(t *testing.T, s store.Store, partition int, after store.Position, want error) []store.Entry {
	t.Helper()
	entries, err := s.ReadFeed(testContext(t), partition, after, 1000)
	if !errors.Is(err, want) {
		t.Errorf("ReadFeed(%d, %+v): error %v; want %v", partition, after, err, want)
	}
	positions := heads(t, s)
	positions[partition] = after
	each, err := s.Check(testContext(t), positions)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	for p, verdict := range each {
		if p == partition && !errors.Is(verdict, want) || p != partition && verdict != nil {
			t.Errorf("Check: partition %d: %v", p, verdict)
		}
	}
	return entries
}

// wrongNonce returns a position of another data set.
func wrongNonce(position store.Position) store.Position {
	position.Nonce++
	return position
}

// idsOfEach returns a session of each partition.
func idsOfEach(s store.Store) []string {
	ids := make([]string, s.Partitions())
	for n, found := 0, 0; found < len(ids); n++ {
		id := fmt.Sprintf("vs_%d", n)
		if at := &ids[s.Partition(id)]; *at == "" {
			*at = id
			found++
		}
	}
	return ids
}

// feedAfterASilence: each partition is quiet for a year, again and again. A reader that was at its head misses nothing, although
// the entry that it read last is trimmed with the next change.
func feedAfterASilence(t *testing.T, s store.Store, now *atomic.Int64) {
	const year = int64(365 * 24 * time.Hour / time.Second)
	ids, start := idsOfEach(s), heads(t, s)
	two := func(second int) store.UpdateFunc {
		return func(current verification.Session) (verification.Session, bool, error) {
			next, _ := verification.Transition(current, event(current.ID, second))
			next, _ = verification.Transition(next, event(current.ID, second+1))
			return next, true, nil
		}
	}
	for _, id := range ids {
		apply(t, s, event(id, 0))
	}
	first := heads(t, s)
	now.Add(year)
	for partition, id := range ids {
		apply(t, s, event(id, 1))
		if entries := verdicts(t, s, partition, first[partition], nil); len(entries) != 1 || entries[0].Revision != 2 {
			t.Errorf("after the silence of partition %d: %+v; want revision 2", partition, entries)
		}
	}
	for partition := range ids {
		verdicts(t, s, partition, start[partition], store.ErrTrimmed) // revision 1 is missing
		verdicts(t, s, partition, store.Position{}, store.ErrTrimmed)
		verdicts(t, s, partition, wrongNonce(first[partition]), store.ErrRewound)
	}

	// Several commits, one of which makes two revisions, and then a year of silence in all partitions.
	second := heads(t, s)
	now.Add(year)
	for _, id := range ids {
		if _, err := s.Update(testContext(t), id, two(2)); err != nil {
			t.Fatal(err)
		}
		apply(t, s, event(id, 4))
	}
	third := heads(t, s)
	for partition := range ids {
		if entries := verdicts(t, s, partition, second[partition], nil); len(entries) != 3 {
			t.Errorf("after the second silence of partition %d: %+v; want 3 entries", partition, entries)
		}
		verdicts(t, s, partition, first[partition], store.ErrTrimmed)
	}
	now.Add(year)
	for _, id := range ids {
		apply(t, s, event(id, 5))
	}
	for partition := range ids {
		if entries := verdicts(t, s, partition, third[partition], nil); len(entries) != 1 {
			t.Errorf("after the third silence of partition %d: %+v; want 1 entry", partition, entries)
		}
		verdicts(t, s, partition, second[partition], store.ErrTrimmed)
	}
	for partition, head := range heads(t, s) {
		verdicts(t, s, partition, head, nil)
		verdicts(t, s, partition, wrongNonce(head), store.ErrRewound)
	}
}

// feedTrimmedByLength: of all positions that a reader could have, exactly those are valid after which no entry is missing. The
// entry of the position itself can be trimmed.
func feedTrimmedByLength(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	at := head(t, s, partition)
	positions := []store.Position{at}
	for n := 0; len(positions) <= 2*FeedMaxLen+50; n++ {
		id := fmt.Sprintf("vs_%d", n)
		if s.Partition(id) != partition {
			continue
		}
		for i := range 10 {
			apply(t, s, event(id, i))
		}
		entries := readFeed(t, s, partition, at, 1000)
		if len(entries) != 10 {
			t.Fatalf("%d entries; want 10", len(entries))
		}
		for _, entry := range entries {
			if err := entry.Follows(at); err != nil {
				t.Fatal(err)
			}
			at = entry.Position
			positions = append(positions, at)
		}
	}
	// oldest is the number of the oldest entry that is held. No entry is missing after the position before it.
	oldest := 0
	for ; oldest < len(positions); oldest++ {
		if _, err := s.ReadFeed(testContext(t), partition, positions[oldest], 1); err == nil {
			break
		}
	}
	oldest++
	if oldest < FeedMaxLen/2 || oldest > len(positions)-FeedMaxLen {
		t.Fatalf("the oldest entry is %d of %d", oldest, len(positions)-1)
	}
	for _, n := range []int{0, 1, oldest - 3, oldest - 2} {
		verdicts(t, s, partition, positions[n], store.ErrTrimmed)
	}
	for _, n := range []int{oldest - 1, oldest, oldest + 1, len(positions) - 1} {
		if entries := verdicts(t, s, partition, positions[n], nil); len(entries) != len(positions)-1-n {
			t.Errorf("%d entries after %d; want %d", len(entries), n, len(positions)-1-n)
		}
		verdicts(t, s, partition, wrongNonce(positions[n]), store.ErrRewound)
	}
}
