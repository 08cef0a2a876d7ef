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
