package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// appended returns what a commit, or anything else, has appended to the feed of vs_a.
func appended(t *testing.T, s *Store, do func()) []store.Entry {
	t.Helper()
	partition := s.Partition("vs_a")
	before, err := s.Head(testContext(t), partition)
	if err != nil {
		t.Fatal(err)
	}
	do()
	entries, err := s.ReadFeed(testContext(t), partition, before, 10)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestG6_TheEpochThatACommitBegins: the first commit after a FLUSHALL begins an epoch, out of the nonce in its header. Otherwise a position
// of the feed before would be good in the new one.
func TestG6_TheEpochThatACommitBegins(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		seen := make(map[string]bool)
		for range 3 {
			raw.FlushAll(ctx)
			apply(t, s, event("vs_a", 0))
			nonce := binary.BigEndian.Uint64([]byte(raw.Get(ctx, s.keys.record("vs_a")).Val()[4:12]))
			want := fmt.Sprintf("%d%09d", nonce>>32, nonce&(1<<32-1)%1_000_000_000)
			got := raw.HGet(ctx, s.keys.meta(s.Partition("vs_a")), "epoch").Val()
			if got != want || seen[got] {
				t.Errorf("the epoch is %q, after %v; want %q, out of the nonce %d", got, seen, want, nonce)
			}
			seen[got] = true
			if head, err := s.Head(ctx, s.Partition("vs_a")); err != nil || strconv.FormatUint(head.Epoch, 10) != want || head.Seq != 1 {
				t.Errorf("the head is %+v, %v; want the epoch %s and 1", head, err, want)
			}
		}
	})
}

// TestACommitThatFailsRestoresTheSecondsOfSets: a session that stays in a set gets another second there. If a later key is of a foreign
// type, it must have its old second again. If it left the set, a session that is due would not be read from Stripe again.
func TestACommitThatFailsRestoresTheSecondsOfSets(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		partition := s.Partition("vs_a")
		due, processing := s.keys.due(partition), s.keys.list(partition, verification.ListProcessing)
		verified := func(e *verification.Event) { e.Object.Status = verification.StatusVerified }
		for name, test := range map[string]struct {
			change func(*verification.Event)
			sets   []string // in which the second changes
			key    string   // that becomes foreign
		}{
			"two sets before the feed":     {func(*verification.Event) {}, []string{due, processing}, s.keys.feed(partition)},
			"one set before the other one": {func(*verification.Event) {}, []string{due}, processing},
			"a list that is bounded":       {verified, []string{s.keys.list(partition, verification.ListVerified)}, s.keys.feed(partition)},
		} {
			raw.FlushAll(ctx)
			apply(t, s, event("vs_a", 0, test.change))
			raw.Rename(ctx, test.key, "kept")
			raw.RPush(ctx, test.key, "x")
			before := dump(t, raw)
			seconds := func() (all []float64) {
				for _, set := range test.sets {
					all = append(all, raw.ZScore(ctx, set, "vs_a").Val())
				}
				return all
			}
			former, update := seconds(), applying(event("vs_a", 1, test.change))
			if _, err := s.Update(ctx, "vs_a", update); !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: Update: %v; want an error", name, err)
			}
			if after := dump(t, raw); after != before {
				t.Errorf("%s: before:\n%s\nafter:\n%s", name, before, after)
			}
			raw.Del(ctx, test.key)
			raw.Rename(ctx, "kept", test.key)
			if _, err := s.Update(ctx, "vs_a", update); err != nil {
				t.Errorf("%s: fixed, Update: %v", name, err)
			}
			for n, now := range seconds() {
				if former[n] == 0 || now != former[n]+1 {
					t.Errorf("%s: the second in %s was %.0f, and is %.0f after the commit; want one more", name, test.sets[n], former[n], now)
				}
			}
			wantTruth(t, s, raw)
		}
	})
}

// TestG6_ACommitBehindAnEntryThatARefusedScriptLeft takes the next free number, and the meta hash has it and the nonce of the
// newest entry. A number of another entry with it would be a position that no entry has.
func TestG6_ACommitBehindAnEntryThatARefusedScriptLeft(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		apply(t, s, event("vs_a", 0))
		entries := appended(t, s, func() {
			before, err := s.Head(ctx, s.Partition("vs_a"))
			if err != nil {
				t.Fatal(err)
			}
			leaveEntry(t, raw, s, "vs_a", before, store.Position{Epoch: before.Epoch, Seq: before.Seq + 1, Nonce: 77})
			apply(t, s, event("vs_a", 1))
			apply(t, s, event("vs_a", 2))
		})
		if len(entries) != 3 || entries[1].Before != 77 || entries[2].Before != entries[1].Position.Nonce {
			t.Fatalf("the feed grew by %+v; want the entry that was left and two linked ones", entries)
		}
		// Head would correct the meta hash.
		meta := raw.HMGet(ctx, s.keys.meta(s.Partition("vs_a")), "seq", "nonce").Val()
		if newest := entries[2].Position; fmt.Sprint(meta) != fmt.Sprint([]any{newest.Seq, signed(newest.Nonce)}) {
			t.Errorf("the meta hash has the number and nonce %v; want those of %+v", meta, newest)
		}
	})
}

// TestACommitWithoutARevisionThatGetsAReference appends an entry only if its session becomes the newest one of the reference.
func TestACommitWithoutARevisionThatGetsAReference(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, ctx := openStore(t, Options{Addrs: []string{addr}}), testContext(t)
		apply(t, s, event("vs_b", 0, withReference("taken")))
		apply(t, s, event("vs_a", 0))
		join := func(reference string) func() {
			return func() {
				if _, err := s.Update(ctx, "vs_a", func(current verification.Session) (verification.Session, bool, error) {
					current.Reference = reference
					return current, true, nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if entries := appended(t, s, join("taken")); len(entries) != 0 {
			t.Errorf("below the newest of a reference the feed grew by %+v; want nothing", entries)
		}
		entries := appended(t, s, join("free"))
		if len(entries) != 1 || entries[0].Revision != 0 || !entries[0].Pointer {
			t.Errorf("as the newest of a reference the feed grew by %+v; want a pointer without a revision", entries)
		}
	})
}

// TestTheNewestOfAReferenceThatGetsItsCreationTime does not become the newest again: the watchers of the reference need no new entry.
func TestTheNewestOfAReferenceThatGetsItsCreationTime(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		apply(t, s, event("vs_a", 0, withReference("case"), func(e *verification.Event) { e.Object.Created = 0 }))
		entries := appended(t, s, func() { apply(t, s, event("vs_a", 1, withReference("case"))) })
		if len(entries) != 1 || entries[0].Pointer {
			t.Errorf("the feed grew by %+v; want one entry that moves no reference", entries)
		}
		if got := raw.ZScore(testContext(t), s.keys.reference("case"), "vs_a").Val(); got != 1_790_000_000 {
			t.Errorf("its score in the reference is %.0f; want its creation", got)
		}
	})
}

// TestACommitBoundsTheIndexOfAReference: the oldest session leaves it.
func TestACommitBoundsTheIndexOfAReference(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		older := make([]redis.Z, maxIndexed)
		for n := range older {
			older[n] = redis.Z{Score: float64(n), Member: fmt.Sprintf("vs_%04d", n)}
		}
		raw.ZAdd(ctx, s.keys.reference("case"), older...)
		apply(t, s, event("vs_a", 0, withReference("case")))
		size, oldest := raw.ZCard(ctx, s.keys.reference("case")).Val(), raw.ZRange(ctx, s.keys.reference("case"), 0, 0).Val()
		if size != maxIndexed || len(oldest) != 1 || oldest[0] != "vs_0001" {
			t.Errorf("the index holds %d sessions from %v on; want %d from vs_0001 on", size, oldest, maxIndexed)
		}
	})
}
