package redisstore

import (
	"context"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
)

// TestTheTraceOfACommitIsInItsFeedEntry: its feed entries contain it byte by byte, and nothing else does. A commit
// without a trace has the same entry as before.
func TestTheTraceOfACommitIsInItsFeedEntry(t *testing.T) {
	awkward := string([]byte{0, 1, ':', '\n', 0xff, 0x80, '9', ':', 0, 0, 'c', 's', 0xfe, '%', '1', 10, 13, 26, 0, 127, 128, 200, 250, 0})
	servers(t, func(t *testing.T, addr string) {
		trace := awkward
		s := openStore(t, Options{Addrs: []string{addr}, Trace: func(context.Context) string { return trace }})
		apply(t, s, event("vs_a", 0))
		for _, trace = range []string{"", "too short", strings.Repeat("x", 25)} {
			apply(t, s, event("vs_a", 3*len(trace)+1))
		}
		ctx, partition := testContext(t), s.Partition("vs_a")
		entries, err := s.ReadFeed(ctx, partition, store.Position{}, 10)
		if err != nil || len(entries) != 4 || entries[0].Trace != awkward || entries[0].Revision != 1 {
			t.Fatalf("%+v, %v", entries, err)
		}
		for _, entry := range entries[1:] {
			if entry.Trace != "" {
				t.Errorf("%+v", entry)
			}
		}
		messages, err := rawClient(t, addr).XRange(ctx, s.keys.feed(partition), "-", "+").Result()
		if err != nil || len(messages) != 4 || len(messages[0].Values) != 6 || len(messages[1].Values) != 5 {
			t.Errorf("%v, %v", messages, err)
		}
		positions := make([]store.Position, partitions)
		for p := range positions {
			if positions[p], err = s.Head(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		trace = awkward
		apply(t, s, event("vs_a", 100))
		followed, err := s.Follow(ctx, positions, 10*time.Second)
		if err != nil || len(followed) != 1 || followed[0].Trace != awkward {
			t.Errorf("%+v, %v", followed, err)
		}
	})
}

// TestATraceOfAnotherSizeIsNone: another version might have written something else there.
func TestATraceOfAnotherSizeIsNone(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		raw, ctx, partition := rawClient(t, addr), testContext(t), s.Partition("vs_a")
		if _, err := s.Head(ctx, partition); err != nil {
			t.Fatal(err)
		}
		raw.Do(ctx, "XADD", s.keys.feed(partition), "1-0", "s", "vs_a", "r", "1", "n", "7", "c", "00-abc-def-01")
		raw.HSet(ctx, s.keys.meta(partition), "seq", "1", "nonce", "7")
		if entries, err := s.ReadFeed(ctx, partition, store.Position{}, 10); err != nil || len(entries) != 1 || entries[0].Trace != "" {
			t.Errorf("%+v, %v", entries, err)
		}
	})
}
