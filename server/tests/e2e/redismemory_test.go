package e2e

import (
	"net/http"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG17_ARedisThatIsMadeToEvictIsShownWhileTheServerRuns: the metrics show the memory, its limit, the policy and the evictions within
// seconds of a change, also while the server refuses to use that Redis. The evictions stay visible afterwards.
func TestG17_ARedisThatIsMadeToEvictIsShownWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	const (
		used    = `verification_redis_memory_used_bytes{node="master"}`
		most    = `verification_redis_memory_max_bytes{node="master"}`
		evicted = `verification_redis_evicted_keys_total{node="master"}`
		policy  = `verification_redis_maxmemory_policy{node="master",policy="`
		refused = `verification_redis_misconfigured{reason="eviction"}`
	)
	redis := redistest.Start(t, "--maxmemory", "200mb")
	p := rig.Serve(t, rig.Settings(redis.Addr))
	client := rig.NewHTTPClient(t)
	values := func() map[string]float64 { return scrape(t, client, p) }
	if got := values(); got[used] < 100<<10 || got[most] != 200<<20 || got[evicted] != 0 || got[policy+`noeviction"}`] != 1 || got[refused] != 0 {
		t.Errorf("at the start: used %v, limit %v, evicted %v, noeviction %v, refused %v", got[used], got[most], got[evicted], got[policy+`noeviction"}`], got[refused])
	}
	redis.MustAsk("SET", "unrelated", strings.Repeat("x", 8<<20))
	p.Await("8 MiB more in use", func() bool { return values()[used] > 8<<20 })

	redis.MustAsk("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	redis.MustAsk("CONFIG", "SET", "maxmemory", "3mb")
	redis.MustAsk("SET", "small", "x") // a command that evicts
	p.Await("evictions and their policy", func() bool {
		got := values()
		return got[evicted] > 0 && got[most] == 3<<20 && got[policy+`allkeys-lru"}`] == 1 && got[policy+`noeviction"}`] == 0 && got[refused] == 1
	})
	p.AwaitReady(http.StatusServiceUnavailable)

	redis.MustAsk("CONFIG", "SET", "maxmemory", "200mb")
	redis.MustAsk("CONFIG", "SET", "maxmemory-policy", "noeviction")
	p.AwaitReady(http.StatusOK)
	if got := values(); got[evicted] == 0 || got[refused] != 0 || got[policy+`noeviction"}`] != 1 {
		t.Errorf("afterwards: evicted %v, refused %v, noeviction %v; want the count to stay", got[evicted], got[refused], got[policy+`noeviction"}`])
	}
}
