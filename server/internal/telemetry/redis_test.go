package telemetry

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Only what the last look at Redis has found is shown, for a minute: an old figure must not say that all is well, or hold an alert.
func TestRedisServersThatAreShown(t *testing.T) {
	m, now := NewMetrics(), time.Now()
	if page := metricsPage(m); strings.Contains(page, "verification_redis_memory") {
		t.Errorf("before the first look:\n%s", page)
	}
	for _, step := range []struct {
		name    string
		servers []RedisServer
		at      time.Time
		want    []string // the series, in any order
	}{
		{"a Cluster", []RedisServer{{Node: "10.0.0.1:6379", UsedMemory: 5, MaxMemory: 0, EvictedKeys: 2, Policy: "noeviction"}, {Node: "10.0.0.2:6379", UsedMemory: 6, MaxMemory: 9, Policy: "allkeys-lru"}}, now.Add(-50 * time.Second), []string{
			`memory_used_bytes{node="10.0.0.1:6379"} 5`, `memory_max_bytes{node="10.0.0.1:6379"} 0`, `evicted_keys_total{node="10.0.0.1:6379"} 2`,
			`maxmemory_policy{node="10.0.0.1:6379",policy="noeviction"} 1`,
			`memory_used_bytes{node="10.0.0.2:6379"} 6`, `memory_max_bytes{node="10.0.0.2:6379"} 9`, `evicted_keys_total{node="10.0.0.2:6379"} 0`,
			`maxmemory_policy{node="10.0.0.2:6379",policy="allkeys-lru"} 1`,
		}},
		{"another policy", []RedisServer{{Node: "master", UsedMemory: 1, MaxMemory: 2, EvictedKeys: 3, Policy: "volatile-ttl"}}, now, []string{`memory_used_bytes{node="master"} 1`, `memory_max_bytes{node="master"} 2`, `evicted_keys_total{node="master"} 3`, `maxmemory_policy{node="master",policy="volatile-ttl"} 1`}},
		{"tells little, and no text", []RedisServer{{Node: "master", UsedMemory: 1, MaxMemory: -1, EvictedKeys: -1, Policy: "\xff"}}, now, []string{`memory_used_bytes{node="master"} 1`, `maxmemory_policy{node="master",policy="?"} 1`}},
		{"more than a minute old", []RedisServer{{Node: "master", UsedMemory: 1, MaxMemory: 2, EvictedKeys: 3, Policy: "noeviction"}}, now.Add(-61 * time.Second), nil},
	} {
		m.RedisServers(step.servers, step.at)
		var got []string
		for line := range strings.Lines(metricsPage(m)) {
			if series, found := strings.CutPrefix(line, "verification_redis_"); found && !strings.HasPrefix(series, "misconfigured") {
				got = append(got, strings.TrimSpace(series))
			}
		}
		slices.Sort(got)
		slices.Sort(step.want)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: series (-want +got):\n%s", step.name, diff)
		}
	}
}
