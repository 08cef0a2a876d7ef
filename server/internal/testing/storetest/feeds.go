package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// feedOnePerRevision: each revision appends one entry, and an input that makes no revision appends none.
func feedOnePerRevision(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	start := head(t, s, partition)
	began := time.Now().Unix()
	apply(t, s, event("vs_a", 0))
	apply(t, s, event("vs_a", 3))
	stale := event("vs_a", 2)
	if session := apply(t, s, stale); session.Revision != 2 || !session.Knows(stale.ID) {
		t.Fatalf("the stale event made revision %d", session.Revision)
	}
	// One update makes two revisions: by a read and by the event after it.
	twice := func(current verification.Session) (verification.Session, bool, error) {
		next, _ := verification.Transition(current, event("vs_a", 5))
		next, _ = verification.Transition(next, event("vs_a", 6))
		return next, true, nil
	}
	if _, err := s.Update(testContext(t), "vs_a", twice); err != nil {
		t.Fatal(err)
	}
	entries := readFeed(t, s, partition, start, 100)
	if len(entries) != 4 {
		t.Fatalf("%d entries; want 4: %+v", len(entries), entries)
	}
	for i, entry := range entries {
		want := store.Entry{
			Partition: partition, SessionID: "vs_a", Revision: int32(i + 1),
			Position: store.Position{Epoch: start.Epoch, Seq: start.Seq + uint64(i) + 1, Nonce: entry.Position.Nonce},
			Before:   start.Nonce, Chained: true, Committed: entry.Committed,
		}
		if entry.Committed < began || entry.Committed > time.Now().Unix() {
			t.Errorf("entry %d was committed at %d; want %d or a little later", i, entry.Committed, began)
		}
		if i > 0 {
			want.Before = entries[i-1].Position.Nonce
			if entry.Position.Nonce == want.Before {
				t.Errorf("entries %d and %d have one nonce", i-1, i)
			}
		}
		same(t, fmt.Sprintf("entry %d", i), entry, want)
	}
	same(t, "the head", head(t, s, partition), entries[3].Position)
}

// feedGapless: with concurrent writers of many sessions the feed has no gap, and the revisions of each session are in order.
func feedGapless(t *testing.T, s store.Store) {
	const sessions, each = 32, 5
	var wg sync.WaitGroup
	for n := range sessions {
		wg.Go(func() {
			for i := range each {
				apply(t, s, event(fmt.Sprintf("vs_%d", n), i))
			}
		})
	}
	wg.Wait()
	total := 0
	last := make(map[string]int32)
	for partition := range s.Partitions() {
		var position store.Position
		for _, entry := range readFeed(t, s, partition, position, 1000) {
			if entry.Position.Seq != position.Seq+1 {
				t.Errorf("partition %d: entry %d follows %d", partition, entry.Position.Seq, position.Seq)
			}
			if last[entry.SessionID]++; entry.Revision != last[entry.SessionID] {
				t.Errorf("%s: revision %d; want %d", entry.SessionID, entry.Revision, last[entry.SessionID])
			}
			if s.Partition(entry.SessionID) != partition {
				t.Errorf("%s is in partition %d; want %d", entry.SessionID, partition, s.Partition(entry.SessionID))
			}
			position = entry.Position
			total++
		}
	}
	if total != sessions*each {
		t.Errorf("%d entries; want %d", total, sessions*each)
	}
}

func feedLimits(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	for n := range 5 {
		apply(t, s, event("vs_a", n))
	}
	var revisions []int32
	var position store.Position
	for {
		entries := readFeed(t, s, partition, position, 2)
		if len(entries) == 0 {
			break
		}
		if len(entries) > 2 {
			t.Fatalf("%d entries; the limit was 2", len(entries))
		}
		for _, entry := range entries {
			revisions = append(revisions, entry.Revision)
			position = entry.Position
		}
	}
	same(t, "the revisions", revisions, []int32{1, 2, 3, 4, 5})
}

// feedBookmark: the head of an empty partition is a position to read from, and not the zero position.
func feedBookmark(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	start := head(t, s, partition)
	if start.Epoch == 0 || start.Seq != 0 {
		t.Errorf("the head of an empty partition is %+v; want an epoch and 0", start)
	}
	same(t, "the head a second time", head(t, s, partition), start)
	if entries := readFeed(t, s, partition, start, 10); len(entries) != 0 {
		t.Errorf("an empty feed has entries: %+v", entries)
	}
	apply(t, s, event("vs_a", 0))
	if entries := readFeed(t, s, partition, start, 10); len(entries) != 1 {
		t.Errorf("%d entries after the bookmark; want 1", len(entries))
	}
	if entries := readFeed(t, s, partition, head(t, s, partition), 10); len(entries) != 0 {
		t.Errorf("entries after the head: %+v", entries)
	}
}

func feedTrimmed(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	start := head(t, s, partition)
	apply(t, s, event("vs_a", 0))
	first := head(t, s, partition)
	// Many sessions of the partition, because a long history is slow to write.
	for n, written := 0, 0; written < 3*FeedMaxLen; n++ {
		id := fmt.Sprintf("vs_%d", n)
		if s.Partition(id) != partition {
			continue
		}
		for i := range 10 {
			apply(t, s, event(id, i))
			written++
		}
	}
	for _, after := range []store.Position{{}, start, first} {
		_, err := s.ReadFeed(testContext(t), partition, after, 10)
		wantError(t, fmt.Sprintf("ReadFeed after %d", after.Seq), err, store.ErrTrimmed)
	}
	if entries := readFeed(t, s, partition, head(t, s, partition), 10); len(entries) != 0 {
		t.Errorf("entries after the head: %+v", entries)
	}
}

func feedRewound(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	for n := range 3 {
		apply(t, s, event("vs_a", n))
	}
	newest := head(t, s, partition)
	middle := readFeed(t, s, partition, store.Position{}, 2)[1].Position
	if entries := readFeed(t, s, partition, middle, 10); len(entries) != 1 {
		t.Fatalf("%d entries; want 1", len(entries))
	}
	forged := map[string]store.Position{
		"ahead":                         {Epoch: newest.Epoch, Seq: newest.Seq + 1, Nonce: newest.Nonce},
		"the newest with a wrong nonce": {Epoch: newest.Epoch, Seq: newest.Seq, Nonce: newest.Nonce + 1},
		"the middle with a wrong nonce": {Epoch: middle.Epoch, Seq: middle.Seq, Nonce: middle.Nonce + 1},
		"another epoch":                 {Epoch: newest.Epoch + 1, Seq: newest.Seq, Nonce: newest.Nonce},
		"another epoch's beginning":     {Epoch: newest.Epoch + 1},
	}
	for what, position := range forged {
		_, err := s.ReadFeed(testContext(t), partition, position, 10)
		wantError(t, "ReadFeed after a position "+what, err, store.ErrRewound)
	}
}

func feedArguments(t *testing.T, s store.Store) {
	ctx := testContext(t)
	for _, partition := range []int{-1, s.Partitions()} {
		if _, err := s.Head(ctx, partition); err == nil {
			t.Errorf("Head(%d) has no error", partition)
		}
		if _, err := s.ReadFeed(ctx, partition, store.Position{}, 1); err == nil {
			t.Errorf("ReadFeed(%d) has no error", partition)
		}
	}
	if _, err := s.ReadFeed(ctx, 0, store.Position{}, 0); err == nil {
		t.Error("ReadFeed with limit 0 has no error")
	}
	if _, err := s.Follow(ctx, make([]store.Position, 1), 0); err == nil {
		t.Error("Follow with one position has no error")
	}
}
