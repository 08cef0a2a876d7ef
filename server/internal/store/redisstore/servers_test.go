package redisstore

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/redistest"
)

// observed returns a function for Options.ObserveServers, and one that returns the servers of its last call.
func observed() (observe func([]Server), last func() []Server) {
	var servers []Server
	return func(s []Server) { servers = s }, func() []Server { return servers }
}

// TestPrepareObservesMemoryAndEvictions: Prepare reports what INFO says of the memory now, also if it refuses the server.
func TestPrepareObservesMemoryAndEvictions(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "50mb")
	observe, last := observed()
	s := openStore(t, Options{Addrs: []string{server.Addr}, ObserveServers: observe})
	prepare := func(wantRefused bool) Server {
		t.Helper()
		if err := s.Prepare(testContext(t)); (err != nil) != wantRefused {
			t.Fatalf("Prepare: %v; want an error: %v", err, wantRefused)
		}
		if len(last()) != 1 {
			t.Fatalf("%d servers were observed; want 1", len(last()))
		}
		return last()[0]
	}
	first := prepare(false)
	if want := (Server{Node: "master", UsedMemory: first.UsedMemory, MaxMemory: 50 << 20, Policy: "noeviction"}); first != want || first.UsedMemory < 100<<10 {
		t.Errorf("at the start: %+v; want %+v with the memory in use", first, want)
	}
	server.MustAsk("SET", "big", string(make([]byte, 4<<20)))
	if second := prepare(false); second.UsedMemory < first.UsedMemory+4<<20 {
		t.Errorf("with 4 MiB more: %d bytes are used after %d", second.UsedMemory, first.UsedMemory)
	}
	server.MustAsk("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	server.MustAsk("CONFIG", "SET", "maxmemory", "3mb")
	server.MustAsk("SET", "small", "x") // a command that evicts
	evicting := prepare(true)
	if evicting.Policy != "allkeys-lru" || evicting.MaxMemory != 3<<20 || evicting.EvictedKeys == 0 {
		t.Errorf("after evictions: %+v; want the policy, 3 MiB and a count above 0", evicting)
	}
}

// TestPrepareObservesEachMasterOfACluster: by its address, so that a full node is not hidden by empty ones.
func TestPrepareObservesEachMasterOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0)
	for n, node := range cluster.Nodes {
		node.MustAsk("CONFIG", "SET", "maxmemory", []string{"100mb", "200mb", "300mb"}[n])
	}
	observe, last := observed()
	s := openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster, ObserveServers: observe})
	if err := s.Prepare(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got, want := map[string]int64{}, map[string]int64{}
	for _, server := range last() {
		got[server.Node] = server.MaxMemory
	}
	for n, addr := range cluster.Addrs() {
		want[addr] = int64(n+1) * 100 << 20
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("maxmemory by node (-want +got):\n%s", diff)
	}
}

// TestServersThatTellLittle: some services leave fields out of INFO. What is not told is not 0.
func TestServersThatTellLittle(t *testing.T) {
	for text, want := range map[string]Server{
		"": {Node: "n", UsedMemory: Untold, MaxMemory: Untold, EvictedKeys: Untold},
		"used_memory:12\r\nmaxmemory:0\r\nevicted_keys:3\r\nmaxmemory_policy:noeviction\r\n": {Node: "n", UsedMemory: 12, EvictedKeys: 3, Policy: "noeviction"},
		"used_memory:1.5M\r\nmaxmemory:-2\r\n":                                               {Node: "n", UsedMemory: Untold, MaxMemory: Untold, EvictedKeys: Untold},
	} {
		if diff := cmp.Diff(want, serverOf(serverInfo{node: "n", fields: parseInfo(text)})); diff != "" {
			t.Errorf("INFO %q (-want +got):\n%s", text, diff)
		}
	}
}
