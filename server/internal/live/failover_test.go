package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
)

// address is one that leads to another server some day, while the connections to it stay, as behind a proxy
// that speaks Redis' protocol or a virtual address that hides a failover.
type address struct {
	mu   sync.Mutex
	to   string
	move string // where the next read of the feed leads, and all that comes behind it; empty: nowhere else
}

// of returns where a request leads.
func (a *address) of(request []byte) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.move != "" && bytes.Contains(bytes.ToLower(request), []byte("xread\r\n")) {
		a.to, a.move = a.move, ""
	}
	return a.to
}

func (a *address) moveTo(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.move = addr
}

// dial makes a connection that stays while the address moves.
func (a *address) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	to := a.of(nil)
	conn, err := new(net.Dialer).DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	return &movingConn{Conn: conn, address: a, to: to}, nil
}

// movingConn is a client's connection that can move to another server. The driver sends a request only after the
// answers to all earlier ones, so that the connection can move between two requests: the other server then gets the
// first request of the connection again.
type movingConn struct {
	net.Conn
	address *address
	to      string
	hello   []byte // the first request
}

func (c *movingConn) Write(request []byte) (int, error) {
	if to := c.address.of(request); to != c.to {
		conn, err := net.DialTimeout("tcp", to, time.Second)
		if err != nil {
			return 0, err
		}
		if len(c.hello) > 0 {
			if _, err := conn.Write(c.hello); err != nil {
				return 0, err
			}
			// Servers answer a hello at once, and in one piece.
			if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
				return 0, err
			}
		}
		_ = c.Close()
		c.Conn, c.to = conn, to
	}
	if c.hello == nil {
		c.hello = slices.Clone(request)
		if !bytes.Contains(bytes.ToLower(request), []byte("hello")) {
			c.hello = []byte{}
		}
	}
	return c.Conn.Write(request)
}

// A planned failover: Sentinels make a replica the master that had not got the newest write. Another process
// of this service goes there at once and writes; this one's connections stay, and lead to the new master from
// some read of the feed on, just after a check of its positions that met the old one.
func TestG7_AFailoverThatNoConnectionShowsIsNoticed(t *testing.T) {
	set := redistest.StartSentinel(t, 1, 1)
	master, replica := set.Servers[0], set.Servers[1]
	way := &address{to: master.Addr}
	opened, err := redisstore.Open(redisstore.Options{Addrs: []string{"service:6379"}, Dial: way.dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	other, err := redisstore.Open(redisstore.Options{Addrs: set.Addrs(), Mode: redisstore.Sentinel, SentinelMaster: redistest.MasterName})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	var l losses
	var checks atomic.Int64
	v := New(Config{Store: counting{opened, &checks}, CacheSessions: 1000, Lost: l.rewound, Logger: slog.New(slog.DiscardHandler)})
	watcher := watch(t, v.Hub(), hub.Session("vs_a"))
	runFollower(t, v.follower)
	watcher.wokenWithin(10 * time.Second) // it has begun; a follower that begins later knows no session that was lost before
	beside := make([]string, 0, 2)        // further sessions of the same partition
	for n := 0; len(beside) < 2; n++ {
		if id := fmt.Sprintf("vs_%d", n); other.Partition(id) == other.Partition("vs_a") {
			beside = append(beside, id)
		}
	}
	commitEvent(t, other, "vs_a", "evt_1", 1)
	replica.AwaitSynced(master)
	// The replica stays reachable, and gets nothing any more.
	replica.MustAsk("CONFIG", "SET", "masteruser", "nobody")
	replica.MustAsk("CONFIG", "SET", "masterauth", "wrong")
	master.MustAsk("CLIENT", "KILL", "TYPE", "replica")
	commitEvent(t, other, "vs_a", "evt_2", 2)
	answered := func() int32 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		session, err := v.Session(ctx, "vs_a", 0)
		if err != nil {
			t.Fatal(err)
		}
		return session.Revision
	}
	eventually(t, "revision 2 is cached", func() bool {
		answered()
		return v.Peek("vs_a", 2) != nil
	})

	// A Sentinel that has not asked the replica for a while promotes none (NOGOODSLAVE): it asks each ten seconds.
	eventually(t, "the Sentinel begins a failover", func() bool {
		answer, err := set.Sentinels[0].Ask("SENTINEL", "FAILOVER", redistest.MasterName)
		if err != nil && !strings.Contains(err.Error(), "NOGOODSLAVE") {
			t.Fatalf("%s, %v", answer, err)
		}
		return err == nil
	})
	if promoted := set.AwaitNewMaster(master); promoted != replica {
		t.Fatalf("%s was promoted", promoted.Addr)
	}
	if got := answered(); got != 2 {
		t.Fatalf("revision %d; want 2 of the old master, where this process still is", got)
	}
	eventually(t, "the other process has gone to the new master, which has lost revision 2", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		session, err := other.Get(ctx, "vs_a")
		return err == nil && session.Revision == 1
	})
	for n, id := range beside {
		commitEvent(t, other, id, fmt.Sprintf("evt_beside%d", n), 3)
	}
	seen := checks.Load()
	eventually(t, "a check meets the old master", func() bool { return checks.Load() > seen })
	for drained := false; !drained; {
		select {
		case <-watcher.C():
		default:
			drained = true
		}
	}
	moved := time.Now()
	way.moveTo(replica.Addr)
	const most = FreshnessBound + followBlock + checkEvery
	watcher.wokenWithin(most)
	eventually(t, "what is left is answered", func() bool { return answered() == 1 })
	t.Logf("revision 1 is answered after %v", time.Since(moved).Round(time.Millisecond))
	if took := time.Since(moved); took > most {
		t.Errorf("a lost revision was answered for %v; want %v at the most", took, most)
	}
	eventually(t, "the loss is reported", func() bool {
		lost, _, _ := l.noted()
		return slices.Contains(lost, "vs_a")
	})
}

// counting counts the checks that found nothing.
type counting struct {
	store.Store
	checks *atomic.Int64
}

func (c counting) Check(ctx context.Context, positions []store.Position) ([]error, error) {
	each, err := c.Store.Check(ctx, positions)
	if err == nil && errors.Join(each...) == nil {
		c.checks.Add(1)
	}
	return each, err
}

// eventually polls until a condition is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
