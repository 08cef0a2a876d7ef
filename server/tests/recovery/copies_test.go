package recovery

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

// TestG11_AReplicaCopiesTheRestoredData: the order for Sentinels. The node that is restored was a replica, by its redis.conf. Each node has files of its
// own, and step 7 on each erases what step 4 erased.
func TestG11_AReplicaCopiesTheRestoredData(t *testing.T) {
	t.Parallel() // it mostly waits
	m, replica := newMachine(t), newMachine(t)
	m.ask("SET someone Person-erased")
	m.backup()
	m.loseDisk()
	m.script(`echo "replicaof 127.0.0.1 1" >>"$REDIS_CONF"`, true)
	m.run("restore")
	m.run("aof")
	host, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		t.Fatal(err)
	}
	replica.env = append(replica.env, "MASTER_HOST="+host, "MASTER_PORT="+port)
	replica.run("replica")
	if got := replica.ask("GET someone"); got != "Person-erased" {
		t.Errorf("the replica has %q, want what was restored", got)
	}

	m.ask("SET someone erased")
	rig.Await(t, "the replica follows", func() bool { return replica.ask("GET someone") == "erased" })
	held := func(of *machine) bool {
		for _, text := range of.files() {
			if strings.Contains(text, "Person-erased") {
				return true
			}
		}
		return false
	}
	for name, of := range map[string]*machine{"the master": m, "the replica": replica} {
		if !held(of) {
			t.Errorf("no file of %s has the text before step 7: this test proves nothing", name)
		}
		of.run("erase")
		if held(of) {
			t.Errorf("a file of %s has the text after step 7", name)
		}
	}
}

// TestG11_AccountsFromAfterTheBackup: Redis does not know them any more, so the catch-up reads them only by name.
func TestG11_AccountsFromAfterTheBackup(t *testing.T) {
	t.Parallel() // it mostly waits
	stripe := rig.StartFakeStripe(t, func(c *stripesim.Config) { c.Delivery.MaxAttempts = 1 })
	silence(stripe)
	i := install(t, stripe)
	i.command("catch-up")
	i.backup()
	session, err := stripe.Create(stripesim.NewSession{Account: "acct_1New"})
	if err != nil {
		t.Fatal(err)
	}
	i.loseDisk()
	i.run("restore")
	i.run("aof")
	i.command("catch-up")
	if strings.Contains(i.dump(), session.ID) {
		t.Fatal("the catch-up found the account: the page says that it does not")
	}
	setting, command, _ := strings.Cut(document.Code(t, page, "accounts"), " ")
	if name, _, _ := strings.Cut(setting, "="); name != "STRIPE_ACCOUNTS" || command != document.Code(t, page, "catch-up") {
		t.Fatalf("the block is %q", setting+" "+command)
	}
	i.env = append(i.env, "STRIPE_ACCOUNTS=acct_1New")
	i.command("catch-up")
	if !strings.Contains(i.dump(), session.ID) {
		t.Error("the session of the account is not there")
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
