package redisstore

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
)

// TestACommitAsksForWhatItChanges: the commands of a commit are its cost in Redis. This commit moves a session from
// one list to another and out of the due ones. It does not read the index of the reference, which does not change,
// nor the oldest entry of the feed, which is young.
func TestACommitAsksForWhatItChanges(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	addr := redistest.Start(t).Addr
	s := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy, FeedMaxAge: time.Hour, Clock: func() time.Time { return now }})
	commit := func(n int) string {
		cost := commandsOf(t, rawClient(t, addr), func() {
			apply(t, s, event("vs_a", 2*n, failing, withReference("case")))
		})
		maps.DeleteFunc(cost, func(name string, _ int) bool { return strings.HasPrefix(name, "keyspace_") })
		return fmt.Sprint(cost)
	}
	begin := func(n int) { apply(t, s, event("vs_a", 2*n-1, withReference("case"))) }
	begin(1)
	const young = "map[evalsha:1 getrange:1 hmget:1 hset:1 set:1 xadd:1 zadd:2 zrem:2]"
	if got := commit(1); got != young {
		t.Errorf("a commit asks for %s; want %s", got, young)
	}
	now = now.Add(time.Hour + time.Second)
	begin(2)
	if got := commit(2); got != young {
		t.Errorf("after entries were trimmed a commit asks for %s; want %s", got, young)
	}
}

// TestTheNewestOfAReferenceAmongEqualTimes: of two sessions that Stripe created in the same second, the one with the greater id, by
// bytes, is the newest. The entry of a commit says whether its session has become the newest one: the script decides it before it
// writes the index, so both must agree.
func TestTheNewestOfAReferenceAmongEqualTimes(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, ctx := openStore(t, Options{Addrs: []string{addr}}), testContext(t)
		newest := ""
		for n, id := range []string{"vs_b", "vs_a", "vs_b1", "vs_B", "vs_c", "vs_bz", "vs_c"} {
			start, err := s.Head(ctx, s.Partition(id))
			if err != nil {
				t.Fatal(err)
			}
			apply(t, s, event(id, n, withReference("case")))
			entries, err := s.ReadFeed(ctx, s.Partition(id), start, 10)
			if err != nil || len(entries) != 1 {
				t.Fatalf("%s: %d entries, %v; want 1", id, len(entries), err)
			}
			moved := id > newest
			newest = max(newest, id)
			if got, err := s.Newest(ctx, "case"); err != nil || got != newest || entries[0].Pointer != moved {
				t.Errorf("after %s the newest is %s, %v, and the entry says moved=%v; want %s and %v", id, got, err, entries[0].Pointer, newest, moved)
			}
		}
	})
}
