package redistest

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/address"
)

// slots is the number of hash slots of every Cluster.
const slots = 16384

// Cluster is a Redis Cluster on loopback. A test stops, pauses and starts its nodes as a fault would. The other nodes notice
// within two seconds. It is not safe for concurrent use.
type Cluster struct {
	// Nodes are the servers. The masters of the start come first; MasterOf returns those of now.
	Nodes []*Server

	t testing.TB
}

// StartCluster starts masters with equal ranges of slots, and that many replicas for each master. It waits until every node
// knows all others. Every node gets the arguments.
func StartCluster(t testing.TB, masters, replicasEach int, args ...string) *Cluster {
	t.Helper()
	skipShort(t, "a Cluster")
	c := &Cluster{t: t}
	for range masters * (1 + replicasEach) {
		c.addNode(args)
	}
	for i, node := range c.Nodes[:masters] {
		node.MustAsk("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
	}
	for i, replica := range c.Nodes[masters:] {
		master := c.Nodes[i%masters]
		id := master.MustAsk("CLUSTER", "MYID")
		await(replica, failoverWithin, "know its master", func() bool {
			_, err := replica.Ask("CLUSTER", "REPLICATE", id)
			return err == nil
		})
		replica.AwaitSynced(master)
	}
	c.AwaitOK()
	return c
}

// addNode starts another node as an empty master and introduces it to the Cluster.
func (c *Cluster) addNode(args []string) *Server {
	c.t.Helper()
	_, bus, err := net.SplitHostPort(address.Free(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	node := Start(c.t, append([]string{
		"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
		"--cluster-replica-validity-factor", "0",
	}, args...)...)
	c.Nodes = append(c.Nodes, node)
	host, port, err := net.SplitHostPort(node.Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Nodes[0].MustAsk("CLUSTER", "MEET", host, port, bus)
	return node
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string { return addrs(c.Nodes) }

// AwaitOK waits until every running node knows the master of every slot and all other running nodes.
func (c *Cluster) AwaitOK() {
	c.t.Helper()
	running := 0
	for _, node := range c.Nodes {
		if node.Running() {
			running++
		}
	}
	for _, node := range c.Nodes {
		if !node.Running() {
			continue
		}
		await(node, failoverWithin, "agree with the Cluster", func() bool {
			info, _ := node.Ask("CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") {
				return false
			}
			nodes, _ := node.Ask("CLUSTER", "NODES")
			healthy := 0
			for line := range strings.Lines(nodes) {
				fields := strings.Fields(line)
				if len(fields) >= 8 && fields[7] == "connected" && !strings.Contains(fields[2], "fail") && !strings.Contains(fields[2], "handshake") {
					healthy++
				}
			}
			return healthy >= running
		})
	}
}

// MasterOf returns the running node that calls itself the master of a slot, or nil if no node does. A paused node does not
// answer, so it does not count.
func (c *Cluster) MasterOf(slot int) *Server {
	for _, node := range c.Nodes {
		if !node.Running() {
			continue
		}
		text, _ := node.Ask("CLUSTER", "NODES")
		for line := range strings.Lines(text) {
			fields := strings.Fields(line)
			if len(fields) > 8 && strings.Contains(fields[2], "myself") && strings.Contains(fields[2], "master") && hasSlot(fields[8:], slot) {
				return node
			}
		}
	}
	return nil
}

// hasSlot returns whether a slot is in the ranges of a line of CLUSTER NODES. A range "[7-<-id]" is a slot that is being moved.
func hasSlot(ranges []string, slot int) bool {
	return slices.ContainsFunc(ranges, func(text string) bool {
		first, last, isRange := strings.Cut(text, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		return err1 == nil && err2 == nil && from <= slot && slot <= to
	})
}

// AwaitNewMaster waits until a node other than the given one is the master of a slot.
func (c *Cluster) AwaitNewMaster(slot int, than *Server) *Server {
	c.t.Helper()
	var master *Server
	await(than, failoverWithin, "be replaced as a master", func() bool {
		master = c.MasterOf(slot)
		return master != nil && master != than
	})
	return master
}

// MigrateSlot moves a slot with its keys to another master, as redis-cli --cluster reshard does: clients are redirected by ASK
// during the move and by MOVED after it. each is called before each key moves, with the number of keys moved so far. It can
// be nil.
func (c *Cluster) MigrateSlot(slot int, to *Server, each func(moved int)) {
	c.t.Helper()
	from := c.MasterOf(slot)
	if from == nil || from == to {
		c.t.Fatalf("slot %d cannot move from %v to %s", slot, from, to.Addr)
	}
	text := strconv.Itoa(slot)
	fromID, toID := from.MustAsk("CLUSTER", "MYID"), to.MustAsk("CLUSTER", "MYID")
	to.MustAsk("CLUSTER", "SETSLOT", text, "IMPORTING", fromID)
	from.MustAsk("CLUSTER", "SETSLOT", text, "MIGRATING", toID)
	host, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	for moved := 0; ; moved++ {
		if each != nil {
			each(moved)
		}
		key := from.MustAsk("CLUSTER", "GETKEYSINSLOT", text, "1")
		if key == "" {
			break
		}
		from.MustAsk("MIGRATE", host, port, key, "0", "5000")
	}
	to.MustAsk("CLUSTER", "SETSLOT", text, "NODE", toID)
	from.MustAsk("CLUSTER", "SETSLOT", text, "NODE", toID)
	await(to, failoverWithin, "have slot "+text, func() bool { return c.MasterOf(slot) == to })
}
