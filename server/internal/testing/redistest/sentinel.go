package redistest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// failoverWithin bounds a failover. Sentinels and Clusters need a few seconds, and several tries on a busy machine.
const failoverWithin = 40 * time.Second

// MasterName is the name by which the Sentinels of StartSentinel know their master.
const MasterName = "mymaster"

// SentinelSet is a master with replicas, watched by Sentinels. A test stops, pauses and starts its servers as a fault would.
// The Sentinels notice within a second. It is not safe for concurrent use.
type SentinelSet struct {
	// Servers are the data nodes. The master of the start comes first; Master returns the one of now.
	Servers []*Server
	// Sentinels watch the data nodes. A majority of them elects a new master.
	Sentinels []*Server
}

// StartSentinel starts a master, replicas and Sentinels, and waits until all know each other. The data nodes get the arguments.
func StartSentinel(t testing.TB, replicas, sentinels int, args ...string) *SentinelSet {
	t.Helper()
	skipShort(t, "Sentinels")
	set := &SentinelSet{Servers: []*Server{Start(t, args...)}}
	for range replicas {
		set.Servers = append(set.Servers, StartReplica(t, set.Servers[0], args...))
	}
	host, port, err := net.SplitHostPort(set.Servers[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s %[4]d\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\nsentinel parallel-syncs %[1]s 2\n",
		MasterName, host, port, sentinels/2+1)
	for range sentinels {
		set.Sentinels = append(set.Sentinels, start(t, config))
	}
	for _, s := range set.Sentinels {
		await(s, syncedWithin, "know the set", func() bool {
			return s.Info("master0") == fmt.Sprintf("name=%s,status=ok,address=%s,slaves=%d,sentinels=%d", MasterName, set.Servers[0].Addr, replicas, sentinels)
		})
	}
	return set
}

// Addrs returns the addresses of the Sentinels.
func (s *SentinelSet) Addrs() []string { return addrs(s.Sentinels) }

func addrs(servers []*Server) []string {
	var all []string
	for _, server := range servers {
		all = append(all, server.Addr)
	}
	return all
}

// Master returns the server that the Sentinels call the master now, or nil while they do not agree.
func (s *SentinelSet) Master() *Server {
	var agreed string
	for _, sentinel := range s.Sentinels {
		if !sentinel.Running() {
			continue
		}
		answer, err := sentinel.Ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
		addr := strings.Replace(answer, "\n", ":", 1)
		if err != nil || agreed != "" && addr != agreed {
			return nil
		}
		agreed = addr
	}
	for _, server := range s.Servers {
		if server.Addr == agreed {
			return server
		}
	}
	return nil
}

// AwaitNewMaster waits until the Sentinels have made a server other than the given one the master, and that server calls itself
// the master too.
func (s *SentinelSet) AwaitNewMaster(than *Server) *Server {
	than.t.Helper()
	var master *Server
	await(than, failoverWithin, "be replaced as the master", func() bool {
		master = s.Master()
		return master != nil && master != than && master.Info("role") == "master"
	})
	return master
}

// Restart starts a server again after Stop and makes it a replica of the current master. The Sentinels would do the same, after
// ten seconds or more.
func (s *SentinelSet) Restart(server *Server) {
	server.t.Helper()
	server.Start()
	master := s.Master()
	if master == nil || master == server {
		return
	}
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		server.t.Fatal(err)
	}
	server.MustAsk("REPLICAOF", host, port)
	server.AwaitSynced(master)
}
