package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
)

func heads(t *testing.T, s store.Store) []store.Position {
	t.Helper()
	positions := make([]store.Position, s.Partitions())
	for partition := range positions {
		positions[partition] = head(t, s, partition)
	}
	return positions
}

// follow calls Follow until it returns entries or an error, or until the block is over. Follow can return early with nothing.
func follow(ctx context.Context, s store.Store, after []store.Position, block time.Duration) ([]store.Entry, error) {
	for over := time.Now().Add(block); ; {
		entries, err := s.Follow(ctx, after, max(time.Millisecond, time.Until(over)))
		if len(entries) > 0 || err != nil || !time.Now().Before(over) {
			return entries, err
		}
	}
}

// followWakes: a change ends the wait at once, before the end of the block.
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
			entries, err := follow(ctx, s, after, timeout)
			done <- result{entries, err}
		}()
		id := fmt.Sprintf("vs_%d", n)
		apply(t, s, event(id, 0))
		got := await.One(t, done)
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

// followBacklog: Follow returns existing entries without waiting, each once, in order within a partition.
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
		entries, err := follow(ctx, s, after, timeout)
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
	entries, err := follow(ctx, s, after, 20*time.Millisecond)
	if err != nil || len(entries) != 0 {
		t.Errorf("Follow at the end = %+v, %v; want nothing", entries, err)
	}
}

// followEnds: Follow returns at the end of its block, and if its context ends, also while it waits.
func followEnds(t *testing.T, s store.Store) {
	after := heads(t, s)
	entries, err := follow(testContext(t), s, after, 20*time.Millisecond)
	if err != nil || len(entries) != 0 {
		t.Errorf("Follow = %+v, %v; want nothing", entries, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = follow(ctx, s, after, timeout)
	wantError(t, "Follow with a deadline", err, context.DeadlineExceeded)
	// The call that was given up does not disturb the next one.
	apply(t, s, event("vs_a", 0))
	entries, err = follow(testContext(t), s, after, timeout)
	if err != nil || len(entries) != 1 {
		t.Errorf("Follow = %+v, %v; want one entry", entries, err)
	}
}

// followedSaysUntilWhen: up to the time that Followed returns the feed was really followed, and that time lags by at most one wait.
func followedSaysUntilWhen(t *testing.T, s store.Store) {
	const block, slack = 100 * time.Millisecond, 5 * time.Second // the slack is for the machine, not for the store
	ctx, after := testContext(t), heads(t, s)
	apply(t, s, event("vs_a", 0))
	partition := s.Partition("vs_a")
	for {
		entries, err := s.Follow(ctx, after, block)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 0 {
			after[entries[0].Partition] = entries[0].Position
			break
		}
	}
	before := time.Now()
	for s.Followed(partition).Before(before) {
		if entries, err := s.Follow(ctx, after, block); err != nil || len(entries) > 0 {
			t.Fatalf("Follow = %+v, %v; want nothing", entries, err)
		}
		if time.Since(before) > slack {
			t.Fatalf("Followed = %v, %v after %v, although nothing comes", s.Followed(partition), slack, before)
		}
	}
	if until := s.Followed(partition); until.After(time.Now()) {
		t.Errorf("Followed = %v, which is in the future", until)
	}
}
