package recovery

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestAReplicaCopiesTheRestoredData: the order for Sentinels.
func TestAReplicaCopiesTheRestoredData(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	m.backup()
	m.loseDisk()
	m.run("restore")
	m.run("aof")
	replica := redistest.Start(t)
	host, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		t.Fatal(err)
	}
	master := m.env
	m.env = append(slices.Clone(m.env), "REDIS_CLI=redis-cli -u redis://"+replica.Addr, "MASTER_HOST="+host, "MASTER_PORT="+port)
	m.run("replica")
	m.env = master
	if got := replica.MustAsk("GET", "someone"); got != "here" {
		t.Errorf("the replica has %q, want what was restored", got)
	}
}

// TestG11_FilesThatAreNotOfOneInstant: on a Cluster, the file with the position of the catch-up can be younger than a file with records. A
// full catch-up does not believe the position.
func TestG11_FilesThatAreNotOfOneInstant(t *testing.T) {
	t.Parallel() // it mostly waits
	stripe := rig.StartFakeStripe(t, func(c *stripesim.Config) { c.Delivery.MaxAttempts = 1 })
	silence(stripe)
	i := install(t, stripe)
	erased := i.come("erased")
	i.submit(erased, "verified")
	i.command("catch-up")
	i.backup()
	i.redact(erased)
	i.loseDisk()
	i.run("restore")
	i.run("aof")
	i.ask(fmt.Sprintf(`HSET vs:cursors "" %d`, time.Now().Add(time.Hour).Unix()))
	i.command("catch-up")
	if holds("Redis", i.dump(), []*person{erased}) == "" {
		t.Fatal("the catch-up found the redaction from a position that is too young: this test proves nothing")
	}
	i.command("full")
	if where := holds("Redis", i.dump(), []*person{erased}); where != "" {
		t.Error(where)
	}
}
