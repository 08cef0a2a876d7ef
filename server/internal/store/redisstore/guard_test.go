package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// everyCall holds the calls of a store that send something to Redis, except Prepare. Session vs_a exists and has the
// reference "case".
func everyCall(ctx context.Context, s *Store) map[string]func() error {
	positions := make([]store.Position, partitions)
	return map[string]func() error{
		"Get":      func() error { _, err := s.Get(ctx, "vs_a"); return err },
		"Update":   func() error { _, err := s.Update(ctx, "vs_a", applying(event("vs_a", 1))); return err },
		"Newest":   func() error { _, err := s.Newest(ctx, "case"); return err },
		"Unindex":  func() error { return s.Unindex(ctx, "other", "vs_a") },
		"Head":     func() error { _, err := s.Head(ctx, 0); return err },
		"ReadFeed": func() error { _, err := s.ReadFeed(ctx, 0, store.Position{}, 10); return err },
		"Check":    func() error { _, err := s.Check(ctx, positions); return err },
		"Follow":   func() error { _, err := s.Follow(ctx, positions, time.Second); return err },
		"List": func() error {
			_, err := s.List(ctx, store.ListQuery{Limit: 10, List: verification.ListProcessing})
			return err
		},
		"List by reference": func() error {
			_, err := s.List(ctx, store.ListQuery{Limit: 10, Reference: "case"})
			return err
		},
		"Walk":          func() error { return s.Walk(ctx, func(context.Context, verification.Session) error { return nil }) },
		"RepairLists":   func() error { _, err := s.RepairLists(ctx, proceed); return err },
		"ListsRepaired": func() error { _, _, err := s.ListsRepaired(ctx); return err },
		"Due":           func() error { _, err := s.Due(ctx, 0, 1, 0, 1); return err },
		"Accounts":      func() error { _, err := s.Accounts(ctx); return err },
		"Cursor":        func() error { _, err := s.Cursor(ctx, ""); return err },
		"SetCursor":     func() error { return s.SetCursor(ctx, "", 1) },
		"Lease":         func() error { _, err := s.Lease(ctx, "work", "a", time.Second); return err },
		"Release":       func() error { return s.Release(ctx, "work", "a") },
		"Ping":          func() error { return s.Ping(ctx) },
	}
}

// wantAllUnavailable checks that no call takes anything else for an answer of Redis, and that each error names the
// cause.
func wantAllUnavailable(t *testing.T, s *Store, cause string) {
	t.Helper()
	for name, call := range everyCall(testContext(t), s) {
		err := call()
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrUnavailable", name, err)
		} else if !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %q does not say %q", name, err, cause)
		}
	}
}

// wantAllWork checks that every call gets its answer. On a Cluster the first Follow returns the earlier results of
// each partition.
func wantAllWork(t *testing.T, s *Store) {
	t.Helper()
	for name, call := range everyCall(testContext(t), s) {
		err := call()
		for range partitions {
			if name == "Follow" && err != nil {
				err = call()
			}
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestG17_ARefusedConnectionIsNoAnswer: a call returns neither a missing record nor an empty list, nor "unexpected
// type=<nil>". The driver leaves the commands of such a pipeline without an error.
func TestG17_ARefusedConnectionIsNoAnswer(t *testing.T) {
	server := redistest.Start(t)
	allow(server, commands)
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("vs", "swordfish")})
	apply(t, s, event("vs_a", 0, withReference("case")))
	wantAllWork(t, s)
	server.MustAsk("ACL", "SETUSER", "vs", "off")
	server.MustAsk("CLIENT", "KILL", "USER", "vs")
	wantAllUnavailable(t, s, "WRONGPASS")
	if !s.Suspect() || s.Suspect() {
		t.Error("Redis is not suspect, or still is after somebody has asked")
	}
	server.MustAsk("ACL", "SETUSER", "vs", "on")
	wantAllWork(t, s)
}

// TestG17_EveryPipelineHasTheErrorOfItsConnection: this holds for all commands.
func TestG17_EveryPipelineHasTheErrorOfItsConnection(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "swordfish")
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("", "wrong")})
	ctx := testContext(t)
	for name, pipelined := range map[string]func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error){
		"Pipelined": s.client.Pipelined, "TxPipelined": s.client.TxPipelined,
	} {
		made, err := pipelined(ctx, func(p redis.Pipeliner) error {
			p.Get(ctx, "a")
			newCommitScript(1, 0).EvalSha(ctx, p, []string{"b"})
			return nil
		})
		if err == nil || len(made) != 2 {
			t.Errorf("%s: %d commands, %v", name, len(made), err)
		}
		for _, cmd := range made {
			if cmd.Err() == nil {
				t.Errorf("%s: %s has no error; the pipeline's is %v", name, cmd.Name(), err)
			}
		}
	}
}

// TestG17_ATopologyThatCannotBeReadIsNoAnswer: the driver's own redis.Nil does not mean that there is no record.
func TestG17_ATopologyThatCannotBeReadIsNoAnswer(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	apply(t, openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster}), event("vs_a", 0, withReference("case")))
	for _, node := range cluster.Nodes {
		node.MustAsk("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
	}
	for _, replicas := range []int{0, 1} {
		s := openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster, WaitReplicas: replicas})
		wantAllUnavailable(t, s, "cluster-preferred-endpoint-type")
		err := s.Prepare(testContext(t))
		if ReasonOf(err) != ReasonTopology || !errors.Is(err, store.ErrUnavailable) || errors.Is(err, ErrMisconfigured) {
			t.Errorf("Prepare: %v; want ErrUnavailable, with the reason %q", err, ReasonTopology)
		}
		if replicas == 0 {
			for _, node := range cluster.Nodes {
				node.MustAsk("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
			}
			wantAllWork(t, s)
			for _, node := range cluster.Nodes {
				node.MustAsk("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
			}
		}
	}
}

// TestG17_AMasterThatSentinelsDoNotKnowIsNoAnswer: the Sentinels answer nil to its name.
func TestG17_AMasterThatSentinelsDoNotKnowIsNoAnswer(t *testing.T) {
	set := redistest.StartSentinel(t, 0, 1)
	s := openStore(t, Options{Addrs: set.Addrs(), Mode: Sentinel, SentinelMaster: "unknown"})
	wantAllUnavailable(t, s, "REDIS_SENTINEL_MASTER")
	if err := s.Prepare(testContext(t)); ReasonOf(err) != ReasonTopology {
		t.Errorf("Prepare: %v; want the reason %q", err, ReasonTopology)
	}
}

// TestG17_NothingReachesAnotherRedisBehindTheAddress: from the first call on, the wrong Redis answers no call, and
// nothing is written to it until the right one is back.
func TestG17_NothingReachesAnotherRedisBehindTheAddress(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]struct {
		start  func(t *testing.T) *redistest.Server
		cause  string
		reason Reason
	}{
		"other partitions": {func(t *testing.T) *redistest.Server {
			r := redistest.Start(t)
			r.MustAsk("HSET", newKeys("vs:").meta(9), "partitions", "32")
			return r
		}, "32 partitions", ReasonData},
		"a later format": {func(t *testing.T) *redistest.Server {
			r := redistest.Start(t)
			r.MustAsk("HSET", newKeys("vs:").meta(0), "format", "9")
			return r
		}, "format 9", ReasonData},
		"one that evicts": {func(t *testing.T) *redistest.Server {
			return redistest.Start(t, "--maxmemory-policy", "volatile-ttl")
		}, "volatile-ttl", ReasonEviction},
		"a Cluster's node": {func(t *testing.T) *redistest.Server {
			return redistest.StartCluster(t, 1, 0).Nodes[0]
		}, "set the mode to cluster", ReasonMode},
	} {
		t.Run(name, func(t *testing.T) {
			right := redistest.Start(t)
			wrong := other.start(t)
			var addr atomic.Pointer[string]
			addr.Store(&right.Addr)
			s := openStore(t, Options{Addrs: []string{"redis:6379"}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, *addr.Load())
			}})
			apply(t, s, event("vs_a", 0, withReference("case")))
			if err := s.Prepare(testContext(t)); err != nil {
				t.Fatal(err)
			}
			before := wrong.MustAsk("DBSIZE")
			addr.Store(&wrong.Addr)
			right.MustAsk("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			wantAllUnavailable(t, s, other.cause)
			if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) || ReasonOf(err) != other.reason {
				t.Errorf("Prepare: %v with the reason %q; want ErrMisconfigured and %q", err, ReasonOf(err), other.reason)
			}
			wantAllUnavailable(t, s, other.cause)
			if after := wrong.MustAsk("DBSIZE"); after != before {
				t.Errorf("the wrong Redis had %s keys and has %s", before, after)
			}
			addr.Store(&right.Addr)
			if err := s.Prepare(testContext(t)); err != nil {
				t.Errorf("Prepare with the right one: %v", err)
			}
			wantAllWork(t, s)
		})
	}
}

// TestG17_NothingIsSentWhileRedisMustNotBeUsed: a commit that can be evicted must not be acknowledged, and a commit
// whose script would be refused half way must not be tried.
func TestG17_NothingIsSentWhileRedisMustNotBeUsed(t *testing.T) {
	server := redistest.Start(t)
	allow(server, commands)
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("vs", "swordfish")})
	apply(t, s, event("vs_a", 0, withReference("case")))
	for cause, fault := range map[string][2][]string{
		"noeviction": {{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}, {"CONFIG", "SET", "maxmemory-policy", "noeviction"}},
		"ZADD":       {{"ACL", "SETUSER", "vs", "-zadd"}, {"ACL", "SETUSER", "vs", "+zadd"}},
	} {
		server.MustAsk(fault[0]...)
		if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) || !strings.Contains(err.Error(), cause) {
			t.Errorf("Prepare: %v; want ErrMisconfigured and %q", err, cause)
		}
		wantAllUnavailable(t, s, cause)
		server.MustAsk(fault[1]...)
		if err := s.Prepare(testContext(t)); err != nil {
			t.Error(err)
		}
		wantAllWork(t, s)
	}
}

// TestPrepareAdvisesOnce: Prepare is called every few seconds.
func TestPrepareAdvisesOnce(t *testing.T) {
	var log safeBuffer
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}, Logger: debugLogger(&log)})
	for _, setting := range []string{"no", "no", "yes", "no"} {
		server.MustAsk("CONFIG", "SET", "appendonly", setting)
		if err := s.Prepare(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(log.String(), "appendonly is off"); got != 2 {
		t.Errorf("appendonly was off twice, and the log says so %d times:\n%s", got, log.String())
	}
}
