package e2e

import (
	"flag"
	"net"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// restart ends a server as a roll-out does, and starts another one at its gRPC address.
func restart(t *testing.T, p *rig.Process, redis string) *rig.Process {
	t.Helper()
	return rig.Restart(p, rig.Settings(redis, "GRPC_ADDR="+p.GRPC))
}

// TestClientContinues: a program of ten lines with the Go client, and the addresses of two servers, shows
// a status live while servers are restarted, drained and killed, and one of the two goes away for good:
// no repeat, no hole, no error.
func TestClientContinues(t *testing.T) {
	t.Parallel() // it mostly waits
	if probe, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
		rig.SkipOrFail(t, "this machine has no 127.0.0.2: ip addr add 127.0.0.2/8 dev lo")
	} else {
		_ = probe.Close()
	}
	redis := redistest.Start(t)
	one := rig.Serve(t, rig.Settings(redis.Addr))
	_, port, err := net.SplitHostPort(one.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	two := rig.Serve(t, rig.Settings(redis.Addr, "GRPC_ADDR=127.0.0.2:"+port))
	// As a name of DNS does that has two addresses.
	names := manual.NewBuilderWithScheme("two")
	names.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: one.GRPC}, {Addr: two.GRPC}}})
	dialed, err := client.Dial("two:///verification-status", client.WithPlaintext(), client.WithDialOptions(grpc.WithResolvers(names)))
	if err != nil {
		t.Fatal(err)
	}
	sender := rig.NewHTTPClient(t)
	events := withReference("user-8", rig.Tries("vs_Lasting", 40))
	sent := 0
	send := func(p *rig.Process) {
		t.Helper()
		rig.Deliver(t, sender, p.Webhook, events[sent])
		sent++
	}
	send(one)
	watching := watchWith(t, dialed, "the program", "user-8")
	seen := 0
	see := func() {
		t.Helper()
		for seen < sent {
			seen++
			watching.want(t, int32(seen))
		}
	}
	see()
	for range 2 { // whichever of the two it is connected to
		one = restart(t, one, redis.Addr)
		send(one) // perhaps before it is back
		send(two)
		see()
		two.Signal(syscall.SIGTERM) // drained, and meanwhile there is news
		send(one)
		two.Exit(rig.Soon)
		send(one)
		see()
		two = rig.Serve(t, rig.Settings(redis.Addr, "GRPC_ADDR="+two.GRPC))
		one.Kill()
		send(two)
		send(two)
		see()
		one = rig.Serve(t, rig.Settings(redis.Addr, "GRPC_ADDR="+one.GRPC))
	}
	one.Kill() // for good
	send(two)
	see()
	two = restart(t, two, redis.Addr)
	for sent < len(events) {
		send(two)
	}
	see()
	if n := len(watching.revisions); n > 0 {
		t.Errorf("%d more than was sent", n)
	}
	if watching.breaks() == 0 {
		t.Error("no stream was lost: the test has shown nothing")
	}
}

var nodeFor = flag.Duration("node.for", 0, "how long Node is cut off and pings every 30 s; 0: five cuts")

// TestNodeContinues: a program with the npm package continues while its server is restarted and killed again and again. The long
// form pings for minutes: no connection must end because of the pings.
func TestNodeContinues(t *testing.T) {
	t.Parallel() // it mostly waits
	redis := redistest.Start(t)
	p, other := rig.Serve(t, rig.Settings(redis.Addr)), rig.Serve(t, rig.Settings(redis.Addr))
	sender := rig.NewHTTPClient(t)
	const most = 201
	events := withReference("user-9", rig.Tries("vs_Pinged", most))
	rig.Deliver(t, sender, p.Webhook, events[0])
	c := watchWithNode(t, "Node", p.GRPC, "user-9", "HEARTBEAT=300000")
	c.want(t, 1)
	began, cuts := time.Now(), 0
	for ; 2*cuts+3 <= most && (cuts < 5 || time.Since(began) < *nodeFor); cuts++ {
		lost := c.breaks()
		if *nodeFor > 0 {
			time.Sleep(100 * time.Second) // three pings, after which a server that minds them ends the connection
		}
		if again := c.breaks(); again != lost {
			t.Fatalf("%d streams were lost while nothing happened", again-lost)
		}
		if cuts%2 == 0 {
			p.Signal(syscall.SIGTERM)
		} else {
			p.Signal(syscall.SIGKILL)
		}
		p.Exit(rig.Soon)
		for i := range 2 { // of which a new watch would show one
			rig.Deliver(t, sender, other.Webhook, events[2*cuts+1+i])
		}
		p = rig.Serve(t, rig.Settings(redis.Addr, "GRPC_ADDR="+p.GRPC))
		c.want(t, int32(2*cuts+2))
		c.want(t, int32(2*cuts+3))
	}
	if c.breaks() < cuts {
		t.Errorf("%d streams were lost over %d stops of the server", c.breaks(), cuts)
	}
	t.Logf("%d stops of the server in %v", cuts, time.Since(began).Round(time.Second))
}
