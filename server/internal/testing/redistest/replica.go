package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// syncedWithin bounds the time until a replica has everything.
const syncedWithin = 15 * time.Second

// StartReplica starts a replica of another server, and waits until the replica has everything.
func StartReplica(t testing.TB, of *Server, args ...string) *Server {
	t.Helper()
	skipShort(t, "a replica of Redis")
	host, port, err := net.SplitHostPort(of.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s := Start(t, append([]string{"--replicaof", host + " " + port}, args...)...)
	s.AwaitSynced(of)
	return s
}

// AwaitSynced waits until a replica follows a master and has everything that the master has now.
func (s *Server) AwaitSynced(master *Server) {
	s.t.Helper()
	port := portOf(master)
	offset := func(name string, server *Server) int {
		n, err := strconv.Atoi(server.Info(name))
		if err != nil {
			return -1
		}
		return n
	}
	goal := offset("master_repl_offset", master)
	await(s, syncedWithin, "follow "+master.Addr, func() bool {
		return s.Info("master_port") == port && s.Info("master_link_status") == "up" && offset("slave_repl_offset", s) >= goal
	})
	own := "port=" + portOf(s) + ","
	await(s, syncedWithin, "be counted by "+master.Addr, func() bool {
		text, _ := master.Ask("INFO", "replication")
		for line := range strings.Lines(text) {
			if strings.Contains(line, own) && strings.Contains(line, "state=online") {
				return true
			}
		}
		return false
	})
}
