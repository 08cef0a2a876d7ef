package redistest

import (
	"fmt"
	"testing"
)

func TestReplicaFollows(t *testing.T) {
	master := Start(t)
	master.MustAsk("SET", "k", "v")
	replica := StartReplica(t, master)
	if got := replica.MustAsk("GET", "k"); got != "v" || replica.Info("role") != "slave" {
		t.Errorf("the replica (%s) has %q; want v", replica.Info("role"), got)
	}
	replica.Pause()
	master.MustAsk("SET", "k", "w")
	replica.Resume()
	replica.AwaitSynced(master)
	if got := replica.MustAsk("GET", "k"); got != "w" {
		t.Errorf("the replica has %q; want w", got)
	}
	if _, err := replica.Ask("SET", "k", "x"); err == nil {
		t.Error("the replica takes writes")
	}
}

func TestSentinelsReplaceAKilledMaster(t *testing.T) {
	set := StartSentinel(t, 2, 3)
	first := set.Servers[0]
	if set.Master() != first || len(set.Addrs()) != 3 {
		t.Fatalf("the master is not the first server")
	}
	first.MustAsk("SET", "k", "v")
	set.Servers[1].AwaitSynced(first)
	set.Servers[2].AwaitSynced(first)
	first.Stop()
	second := set.AwaitNewMaster(first)
	if got := second.MustAsk("GET", "k"); got != "v" {
		t.Errorf("the new master has %q; want v", got)
	}
	set.Restart(first)
	if got := first.MustAsk("GET", "k"); got != "v" || first.Info("role") != "slave" {
		t.Errorf("the old master (%s) has %q; want v", first.Info("role"), got)
	}
	set.Sentinels[0].Stop()
	set.Sentinels[0].Start() // with what it has learned
	if set.Master() != second {
		t.Error("a restarted Sentinel names another master")
	}
}

func TestClusterReplacesAKilledMasterAndMovesSlots(t *testing.T) {
	c := StartCluster(t, 3, 1)
	if len(c.Addrs()) != 6 {
		t.Fatalf("nodes: %v", c.Addrs())
	}
	// {a} is slot 15495, {b} 3300 (CRC16).
	first := c.MasterOf(15495)
	first.MustAsk("SET", "{a}1", "v")
	for i := range 5 {
		c.MasterOf(3300).MustAsk("SET", fmt.Sprint("{b}", i), "v")
	}
	for _, node := range c.Nodes[3:] {
		if node.Info("master_port") == portOf(first) {
			node.AwaitSynced(first)
		}
	}
	first.Stop()
	second := c.AwaitNewMaster(15495, first)
	if got := second.MustAsk("GET", "{a}1"); got != "v" {
		t.Errorf("the new master has %q; want v", got)
	}
	c.AwaitOK()
	first.Start()
	c.AwaitOK()

	moved := 0
	from := c.MasterOf(3300)
	c.MigrateSlot(3300, second, func(n int) { moved = n })
	if moved != 5 || second.MustAsk("GET", "{b}4") != "v" {
		t.Errorf("%d keys moved; want 5", moved)
	}
	if _, err := from.Ask("GET", "{b}4"); err == nil || c.MasterOf(3300) != second {
		t.Errorf("the slot is still at its old master: %v", err)
	}
}
