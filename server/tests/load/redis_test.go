//go:build load

package load

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/tests/rig"
)

// taken returns the bytes that Redis has allocated, the same without the feed, and the number of entries of the feed.
// MEMORY USAGE of a stream is an eighth too high, so the feed is deleted and restored. The connections of the seeders are
// closed by then, so that their buffers do not count.
func (s *storedLoad) taken() (all, rest, entries int64) {
	s.t.Helper()
	raw := redis.NewClient(&redis.Options{Addr: s.redis.Addr, PoolSize: 1})
	defer raw.Close()
	ctx := rig.Within(s.t, rig.Soon)
	must := func(err error) {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	rig.Await(s.t, "the seeders' connections are gone", func() bool { return s.info(ctx, raw, "clients", "connected_clients") == 1 })
	all = s.info(ctx, raw, "memory", "used_memory")
	feeds := map[string]string{}
	for keys := raw.Scan(ctx, 0, "*:feed", 10_000).Iterator(); keys.Next(ctx); {
		feed, err := raw.Dump(ctx, keys.Val()).Result()
		must(err)
		feeds[keys.Val()] = feed
		n, err := raw.XLen(ctx, keys.Val()).Result()
		must(err)
		entries += n
	}
	for key := range feeds {
		must(raw.Del(ctx, key).Err())
	}
	rest = s.info(ctx, raw, "memory", "used_memory")
	for key, feed := range feeds {
		must(raw.Restore(ctx, key, 0, feed).Err())
	}
	return all, rest, entries
}

// info returns one number of Redis' INFO.
func (s *storedLoad) info(ctx context.Context, raw *redis.Client, section, name string) int64 {
	s.t.Helper()
	info, err := raw.Info(ctx, section).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, "\r\n"+name+":")
	number, _, _ := strings.Cut(after, "\r\n")
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}
