package telemetry

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// redisShownFor is how long a look at Redis is shown. Looks come every 10 s while Redis answers.
const redisShownFor = time.Minute

// RedisServer is what a master of Redis says of its memory. A negative number is one that it does not tell.
type RedisServer struct {
	// Node is the label: the address of the master on a Cluster, else a fixed word.
	Node string
	// UsedMemory and MaxMemory are in bytes. MaxMemory is 0 if there is no limit.
	UsedMemory, MaxMemory int64
	// EvictedKeys counts the keys that were deleted for lack of memory since this server started.
	EvictedKeys int64
	// Policy is maxmemory-policy; empty if the server does not tell it.
	Policy string
}

// RedisServers replaces the servers that are shown. at is when they were looked at.
func (m *Metrics) RedisServers(servers []RedisServer, at time.Time) {
	look := &redisLook{slices.Clone(servers), at}
	for i := range look.servers {
		// These are texts of another program. One that is not UTF-8 would make every scrape fail.
		look.servers[i].Node = strings.ToValidUTF8(look.servers[i].Node, "?")
		look.servers[i].Policy = strings.ToValidUTF8(look.servers[i].Policy, "?")
	}
	m.redis.last.Store(look)
}

// redisLook is one look at all masters.
type redisLook struct {
	servers []RedisServer
	at      time.Time
}

// redisCollector makes the metrics at each scrape, so that a node or policy that has gone leaves no series, and an old look shows none.
type redisCollector struct {
	last                       atomic.Pointer[redisLook] // nil: there was none
	used, most, evicted, rules *prometheus.Desc
}

func newRedisCollector() *redisCollector {
	desc := func(name string) *prometheus.Desc {
		d := describe(name)
		return prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	}
	return &redisCollector{
		used: desc("verification_redis_memory_used_bytes"), most: desc("verification_redis_memory_max_bytes"),
		evicted: desc("verification_redis_evicted_keys_total"), rules: desc("verification_redis_maxmemory_policy"),
	}
}

// Describe implements prometheus.Collector.
func (c *redisCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.used, c.most, c.evicted, c.rules} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *redisCollector) Collect(metrics chan<- prometheus.Metric) {
	look := c.last.Load()
	if look == nil || time.Since(look.at) > redisShownFor {
		return
	}
	for _, server := range look.servers {
		show := func(desc *prometheus.Desc, kind prometheus.ValueType, value int64) {
			if value >= 0 {
				metrics <- prometheus.MustNewConstMetric(desc, kind, float64(value), server.Node)
			}
		}
		show(c.used, prometheus.GaugeValue, server.UsedMemory)
		show(c.most, prometheus.GaugeValue, server.MaxMemory)
		show(c.evicted, prometheus.CounterValue, server.EvictedKeys)
		if server.Policy != "" {
			metrics <- prometheus.MustNewConstMetric(c.rules, prometheus.GaugeValue, 1, server.Node, server.Policy)
		}
	}
}
