package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
)

func heads(t *testing.T, s store.Store) []store.Position {
	t.Helper()
	positions := make([]store.Position, s.Partitions())
	for partition := range positions {
		positions[partition] = head(t, s, partition)
	}
	return positions
}

// followWakes: a change ends the wait at once, not at the end of the block.
func followWakes(t *testing.T, s store.Store) {
	after := heads(t, s)
	ctx := testContext(t)
	for n := range 3 {
		type result struct {
			entries []store.Entry
			err     error
		}
		done := make(chan result, 1)
		go func() {
			entries, err := s.Follow(ctx, after, timeout)
			done <- result{entries, err}
		}()
		id := fmt.Sprintf("vs_%d", n)
		apply(t, s, event(id, 0))
		got := <-done
		if got.err != nil || len(got.entries) != 1 || got.entries[0].SessionID != id {
			t.Fatalf("Follow = %+v, %v; want the entry of %s", got.entries, got.err, id)
		}
		entry := got.entries[0]
		after[entry.Partition] = entry.Position
		same(t, "the position", entry.Position, head(t, s, entry.Partition))
		if entries := readFeed(t, s, entry.Partition, entry.Position, 10); len(entries) != 0 {
			t.Errorf("entries after the one followed: %+v", entries)
		}
	}
}

// followBacklog: what is there already comes without waiting, in order within a partition, once.
func followBacklog(t *testing.T, s store.Store) {
	after := heads(t, s)
	const sessions, each = 20, 3
	for n := range sessions {
		for i := range each {
			apply(t, s, event(fmt.Sprintf("vs_%d", n), i))
		}
	}
	ctx := testContext(t)
	for total := 0; total < sessions*each; {
		entries, err := s.Follow(ctx, after, timeout)
		if err != nil || len(entries) == 0 {
			t.Fatalf("Follow after %d entries = %d, %v", total, len(entries), err)
		}
		for _, entry := range entries {
			if entry.Position.Seq != after[entry.Partition].Seq+1 {
				t.Fatalf("partition %d: entry %d follows %d", entry.Partition, entry.Position.Seq, after[entry.Partition].Seq)
			}
			after[entry.Partition] = entry.Position
		}
		total += len(entries)
	}
	entries, err := s.Follow(ctx, after, 20*time.Millisecond)
	if err != nil || len(entries) != 0 {
		t.Errorf("Follow at the end = %+v, %v; want nothing", entries, err)
	}
}

// followEnds: with its block, and with its context, also while it waits.
func followEnds(t *testing.T, s store.Store) {
	after := heads(t, s)
	entries, err := s.Follow(testContext(t), after, 20*time.Millisecond)
	if err != nil || len(entries) != 0 {
		t.Errorf("Follow = %+v, %v; want nothing", entries, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Follow(ctx, after, timeout)
	wantError(t, "Follow with a deadline", err, context.DeadlineExceeded)
	// The next call is not disturbed by the one that was given up.
	apply(t, s, event("vs_a", 0))
	entries, err = s.Follow(testContext(t), after, timeout)
	if err != nil || len(entries) != 1 {
		t.Errorf("Follow = %+v, %v; want one entry", entries, err)
	}
}
