package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/testing/storetest"
	"example.com/verification-status/server/internal/verification"
)

func TestConformanceOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
		for _, node := range cluster.Nodes {
			node.MustAsk("FLUSHALL")
		}
		s := openStore(t, conforming(Options{Addrs: cluster.Addrs()[:1], Mode: Cluster}, clock))
		if err := s.Prepare(testContext(t)); err != nil {
			t.Fatal(err)
		}
		return s
	})
	t.Run("PrepareInAnotherMode", func(t *testing.T) {
		s := openStore(t, Options{Addrs: cluster.Addrs()[:1]})
		if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("a Cluster's node as standalone: %v; want ErrMisconfigured", err)
		}
	})
}

// TestClusterNodesAreKnownByTheirInfo: mode standalone refuses a node of a Cluster by any of these lines of INFO.
func TestClusterNodesAreKnownByTheirInfo(t *testing.T) {
	for line, refused := range map[string]bool{
		"redis_mode:cluster": true, "server_mode:cluster": true, "cluster_enabled:1": true,
		"redis_mode:standalone": false, "server_mode:standalone": false, "cluster_enabled:0": false, "": false,
	} {
		if err := judgeServer(parseInfo(line), Standalone); errors.Is(err, ErrMisconfigured) != refused {
			t.Errorf("INFO with %q: %v; want a refusal: %v", line, err, refused)
		}
	}
}

// TestASingleClusterNodeInModeStandalone: a Cluster of one node serves all slots. Only INFO says that a script with
// keys of two slots will be refused.
func TestASingleClusterNodeInModeStandalone(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 1, 0)
	s := openStore(t, Options{Addrs: cluster.Addrs()})
	if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) || !strings.Contains(err.Error(), "set the mode to cluster") {
		t.Errorf("Prepare: %v; want ErrMisconfigured and what to set", err)
	}
}

func TestClusterModeOnAStandaloneServer(t *testing.T) {
	s := openStore(t, Options{Addrs: []string{redistest.Start(t).Addr}, Mode: Cluster})
	if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("Prepare: %v; want ErrMisconfigured", err)
	}
}

func TestClusterFaults(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 1)
	for _, replicas := range []int{0, 1} {
		t.Run(fmt.Sprintf("MigrationWithWaitFor%d", replicas), func(t *testing.T) {
			for _, node := range cluster.Nodes {
				_, _ = node.Ask("FLUSHALL") // replicas refuse, and follow
			}
			migrateWhileWriting(t, cluster, Options{Addrs: cluster.Addrs(), Mode: Cluster, WaitReplicas: replicas, WaitTimeout: 5 * time.Second})
		})
	}
	t.Run("Failover", func(t *testing.T) { failOverOneMaster(t, cluster) })
}

// migrateWhileWriting moves a partition to another master while writers repeat every refused event, as Stripe does.
// Each event must have one effect, and the feed no gap.
func migrateWhileWriting(t *testing.T, cluster *redistest.Cluster, o Options) {
	s := openStore(t, o)
	const partition, writers = 3, 4
	var ids []string
	for n := 0; len(ids) < writers; n++ {
		if id := fmt.Sprintf("vs_%d", n); s.Partition(id) == partition {
			ids = append(ids, id)
		}
	}
	at := slot(s.keys.feed(partition))
	from := cluster.MasterOf(at)
	to := from
	for other := 0; to == from; other++ {
		to = cluster.MasterOf(slot(s.keys.feed(other)))
	}

	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	written := make([]int, writers)
	begun := make(chan struct{}, writers)
	var wg sync.WaitGroup
	for writer, id := range ids {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				untilApplied(t, s, event(id, n))
				written[writer]++
				if n == 5 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range writers {
		await.One(t, begun)
	}
	moved := 0
	cluster.MigrateSlot(at, to, func(n int) { moved = n })
	stop()
	wg.Wait()
	for writer, id := range ids { // a last one, by the new master
		untilApplied(t, s, event(id, written[writer]))
		written[writer]++
	}
	t.Logf("%d keys moved, %v events written meanwhile", moved, written)
	if moved < writers+2 {
		t.Errorf("%d keys moved; want at least %d", moved, writers+2)
	}

	var position store.Position
	revisions := make(map[string]int32)
	for {
		entries, err := s.ReadFeed(testContext(t), partition, position, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, entry := range entries {
			if entry.Position.Seq != position.Seq+1 || entry.Revision != revisions[entry.SessionID]+1 {
				t.Fatalf("entry %+v follows %+v and revision %d", entry, position, revisions[entry.SessionID])
			}
			position = entry.Position
			revisions[entry.SessionID]++
		}
	}
	for writer, id := range ids {
		if int(revisions[id]) != written[writer] {
			t.Errorf("%s: %d revisions; want %d", id, revisions[id], written[writer])
		}
	}
}

func failOverOneMaster(t *testing.T, cluster *redistest.Cluster) {
	s := openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster, WaitReplicas: 1, WaitTimeout: 5 * time.Second})
	var ids []string
	for partition := range partitions {
		for n := 0; len(ids) <= partition; n++ {
			if id := fmt.Sprintf("vs_f%d", n); s.Partition(id) == partition {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range ids {
		untilApplied(t, s, event(id, 0))
	}
	positions := make([]store.Position, partitions)
	for partition := range positions {
		head, err := s.Head(testContext(t), partition)
		if err != nil {
			t.Fatal(err)
		}
		positions[partition] = head
	}
	killed := cluster.MasterOf(slot(s.keys.feed(0)))
	killed.Stop()
	// Its only replica takes its place and has none itself: until it is back nobody can confirm.
	alone := openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster})
	session, took := untilApplied(t, alone, event(ids[0], 1))
	t.Logf("a killed master's partition is written again after %v", took.Round(10*time.Millisecond))
	if session.Revision != 2 {
		t.Errorf("revision %d; want 2", session.Revision)
	}
	cluster.AwaitOK()
	killed.Start()
	cluster.AwaitOK()
	for partition, id := range ids {
		got, _ := untilApplied(t, s, event(id, 1))
		entries, err := s.ReadFeed(testContext(t), partition, positions[partition], 10)
		if err != nil || len(entries) != 1 || got.Revision != 2 {
			t.Errorf("partition %d: revision %d, entries %+v, %v; want one, of revision 2", partition, got.Revision, entries, err)
		}
	}
	var walked []string
	err := s.Walk(testContext(t), func(_ context.Context, session verification.Session) error {
		walked = append(walked, session.ID)
		return nil
	})
	for _, id := range ids {
		if !slices.Contains(walked, id) {
			t.Errorf("the walk over all masters has not met %s (%v)", id, err)
		}
	}
	if slices.Contains(positions, store.Position{}) {
		t.Error("a position is the zero one")
	}
}
