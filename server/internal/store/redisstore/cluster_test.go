package redisstore

import (
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redistest"
	"example.com/verification-status/server/internal/store/storetest"
)

// startCluster starts three masters without replicas.
func startCluster(t *testing.T) []string {
	t.Helper()
	const masters = 3
	var addrs []string
	var nodes []*redis.Client
	for range masters {
		bus, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		busPort := strconv.Itoa(bus.Addr().(*net.TCPAddr).Port)
		bus.Close()
		server := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", busPort)
		addrs = append(addrs, server.Addr)
		nodes = append(nodes, rawClient(t, server.Addr))
		host, port, _ := net.SplitHostPort(server.Addr)
		if err := nodes[0].Do(testContext(t), "CLUSTER", "MEET", host, port, busPort).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i, node := range nodes {
		if err := node.ClusterAddSlotsRange(testContext(t), i*16384/masters, (i+1)*16384/masters-1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	waitUntil(t, func() bool {
		for _, node := range nodes {
			slots, err := node.ClusterSlots(testContext(t)).Result()
			if err != nil || len(slots) != masters || parseInfo(node.ClusterInfo(testContext(t)).Val())["cluster_state"] != "ok" {
				return false
			}
		}
		return true
	})
	return addrs
}

func TestConformanceOnACluster(t *testing.T) {
	addrs := startCluster(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		for _, addr := range addrs {
			rawClient(t, addr).FlushAll(testContext(t))
		}
		s := openStore(t, Options{Addrs: addrs[:1], Mode: Cluster, FeedMaxLen: storetest.FeedMaxLen})
		if err := s.Prepare(testContext(t)); err != nil {
			t.Fatal(err)
		}
		return s
	})
	t.Run("PrepareInAnotherMode", func(t *testing.T) {
		s := openStore(t, Options{Addrs: addrs[:1]})
		if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("a Cluster's node as standalone: %v; want ErrMisconfigured", err)
		}
	})
}

func TestClusterModeOnAStandaloneServer(t *testing.T) {
	s := openStore(t, Options{Addrs: []string{redistest.Start(t).Addr}, Mode: Cluster})
	if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("Prepare: %v; want ErrMisconfigured", err)
	}
}
