//go:build faults

package faults

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// topology is how Redis is run.
type topology struct {
	// env are the settings of the i-th replica.
	env func(i int) []string
	// masters are the servers that are written to now.
	masters func() []*redistest.Server
	// faults are the faults of this topology alone.
	faults []fault
}

var topologyNames = map[string]func(testing.TB) *topology{
	"standalone":      startStandalone,
	"sentinel":        func(t testing.TB) *topology { return startSentinel(t, 1) },
	"sentinel-nowait": func(t testing.TB) *topology { return startSentinel(t, 0) },
	"cluster":         startCluster,
}

// startStandalone is one server, each replica's connections through a cutter of its own.
func startStandalone(t testing.TB) *topology {
	server := redistest.Start(t)
	cutters := []*cutProxy{newCutProxy(t, server.Addr), newCutProxy(t, server.Addr), newCutProxy(t, server.Addr)}
	top := &topology{
		env:     func(i int) []string { return []string{"REDIS_URL=redis://" + cutters[i].addr()} },
		masters: func() []*redistest.Server { return []*redistest.Server{server} },
	}
	top.faults = append(top.faults,
		fault{"Redis paused (SIGSTOP) for 1 to 4 s", func(w *faultRig) { pauseServer(w, server, time.Second+w.moment(3)) }},
		// Longer than a webhook waits for its commit: each of that time must be refused.
		fault{"Redis paused (SIGSTOP) for 12 s", func(w *faultRig) { pauseServer(w, server, 12*time.Second) }},
		fault{"all of a replica's connections to Redis cut", func(w *faultRig) { cutters[w.pick(3)].cutAll() }},
	)
	for way := range cutWays {
		top.faults = append(top.faults, fault{"connection to Redis cut " + cutNames[way], func(w *faultRig) { cutCommits(w, cutters[w.pick(3)], way) }})
	}
	return top
}

// startSentinel starts a master with two replicas and three Sentinels. If each commit waits for a replica, no failover
// loses an acknowledged write. If none waits, the catch-up must restore it.
func startSentinel(t testing.TB, wait int) *topology {
	set := redistest.StartSentinel(t, 2, 3)
	for _, sentinel := range set.Sentinels {
		// Longer than a busy machine delays a healthy Redis: a failover that this test did not cause cannot be judged.
		sentinel.MustAsk("SENTINEL", "SET", redistest.MasterName, "down-after-milliseconds", "2000")
	}
	master := func() *redistest.Server {
		var now *redistest.Server
		rig.Await(t, "the Sentinels agree on a master", func() bool { now = set.Master(); return now != nil })
		return now
	}
	others := func(than *redistest.Server) (replicas []*redistest.Server) {
		for _, server := range set.Servers {
			if server != than {
				replicas = append(replicas, server)
			}
		}
		return replicas
	}
	return &topology{
		env: func(int) []string {
			return []string{
				"REDIS_URL=redis://" + strings.Join(set.Addrs(), ","), "REDIS_MODE=sentinel",
				"REDIS_SENTINEL_MASTER=" + redistest.MasterName, "REDIS_WAIT_REPLICAS=" + strconv.Itoa(wait),
			}
		},
		masters: func() []*redistest.Server { return []*redistest.Server{master()} },
		faults: []fault{
			{"Sentinel: the master killed (kill -9), failover", func(w *faultRig) {
				old := master()
				w.loses(checker.Loss{Reason: "failover of the master"}, func() {
					old.Stop()
					set.AwaitNewMaster(old)
					_ = pause(w.watching, w.moment(2))
					set.Restart(old)
				})
			}},
			{"Sentinel: a replica of Redis paused for 1 to 4 s", func(w *faultRig) {
				replicas := others(master())
				pauseServer(w, replicas[w.pick(len(replicas))], time.Second+w.moment(3))
			}},
			// The writes of the master during this time reach no replica, nor its socket: without WAIT they are lost.
			{"Sentinel: the master killed after a second without replicas", func(w *faultRig) {
				old := master()
				w.loses(checker.Loss{Reason: "failover to a replica that was behind"}, func() {
					for _, replica := range others(old) {
						replica.Pause()
					}
					old.MustAsk("CLIENT", "KILL", "TYPE", "replica")
					_ = pause(w.watching, time.Second)
					old.Stop()
					for _, replica := range others(old) {
						replica.Resume()
					}
					set.AwaitNewMaster(old)
					_ = pause(w.watching, w.moment(2))
					set.Restart(old)
				})
			}},
			{"Sentinel: all connections to the master cut", func(w *faultRig) { killConnections(master()) }},
		},
	}
}

// startCluster is three masters with a replica each, for which commits wait.
func startCluster(t testing.TB) *topology {
	cluster := redistest.StartCluster(t, 3, 1, "--cluster-node-timeout", "2500") // as with the Sentinels
	masters := func() (all []*redistest.Server) {
		for _, slot := range []int{0, 8000, 16383} {
			rig.Await(t, "slot "+strconv.Itoa(slot)+" has a master", func() bool { return cluster.MasterOf(slot) != nil })
			all = append(all, cluster.MasterOf(slot))
		}
		return all
	}
	return &topology{
		env: func(int) []string {
			return []string{
				"REDIS_URL=redis://" + strings.Join(cluster.Addrs()[:3], ","), "REDIS_MODE=cluster", "REDIS_WAIT_REPLICAS=1",
			}
		},
		masters: masters,
		faults: []fault{
			{"Cluster: a master killed (kill -9), failover", func(w *faultRig) {
				slot := w.pick(3) * 8191
				old := cluster.MasterOf(slot)
				w.loses(checker.Loss{Reason: "failover of a master"}, func() {
					old.Stop()
					cluster.AwaitNewMaster(slot, old)
					_ = pause(w.watching, w.moment(2))
					old.Start()
					cluster.AwaitOK()
				})
			}},
			{"Cluster: a slot moved to another master", func(w *faultRig) { moveSlot(w, cluster, masters()) }},
			{"Cluster: all connections to a master cut", func(w *faultRig) { killConnections(masters()[w.pick(3)]) }},
		},
	}
}

// moveSlot moves the slot of some session, with time between the keys for clients to be redirected.
func moveSlot(w *faultRig, cluster *redistest.Cluster, masters []*redistest.Server) {
	n := w.pick(len(masters))
	from, to := masters[n], masters[(n+1)%len(masters)]
	for range 20 {
		key := from.MustAsk("RANDOMKEY")
		if !strings.Contains(key, "}:s:") {
			continue
		}
		slot, err := strconv.Atoi(from.MustAsk("CLUSTER", "KEYSLOT", key))
		if err != nil {
			w.t.Fatal(err)
		}
		cluster.MigrateSlot(slot, to, func(int) { _ = pause(w.watching, 20*time.Millisecond) })
		return
	}
	w.t.Log("a master without sessions has no slot to move")
}

// killConnections cuts every client of a Redis but its replicas.
func killConnections(server *redistest.Server) { server.MustAsk("CLIENT", "KILL", "TYPE", "normal") }
