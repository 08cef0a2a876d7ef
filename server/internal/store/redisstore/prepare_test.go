package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

func TestPrepare(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		var log safeBuffer
		s := openStore(t, Options{Addrs: []string{addr}, Logger: debugLogger(&log)})
		for range 2 {
			if err := s.Prepare(testContext(t)); err != nil {
				t.Fatalf("Prepare: %v", err)
			}
		}
		if text := log.String(); !strings.Contains(text, "appendonly is off") && !strings.Contains(text, "does not tell its maxmemory-policy") {
			t.Errorf("one server keeps nothing, the other tells nothing, and the log says neither:\n%s", text)
		}
		raw, ctx := rawClient(t, addr), testContext(t)
		for partition := range partitions {
			m := raw.HGetAll(ctx, s.keys.meta(partition)).Val()
			if m["epoch"] == "" || m["partitions"] != "16" || m["format"] != "3" {
				t.Errorf("partition %d has the meta %v", partition, m)
			}
		}

		raw.HSet(ctx, s.keys.meta(3), "partitions", "32")
		if err := s.Prepare(ctx); !errors.Is(err, ErrMisconfigured) || !strings.Contains(err.Error(), "32") {
			t.Errorf("with data of 32 partitions: %v; want ErrMisconfigured", err)
		}
		raw.HSet(ctx, s.keys.meta(3), "partitions", "16", "format", format+1)
		if err := s.Prepare(ctx); err != nil {
			t.Errorf("with data of the next format: %v", err)
		}
		raw.HSet(ctx, s.keys.meta(3), "format", format+2)
		if err := s.Prepare(ctx); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("with data of a much newer format: %v; want ErrMisconfigured", err)
		}
	})
}

func TestPrepareRefusesEviction(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("Prepare: %v; want ErrMisconfigured and what to set", err)
	}
}

func TestPrepareIsQuietWithPersistence(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	var log safeBuffer
	s := openStore(t, Options{Addrs: []string{server.Addr}, Logger: debugLogger(&log)})
	if err := s.Prepare(testContext(t)); err != nil || strings.Contains(log.String(), "WARN") {
		t.Errorf("Prepare: %v, log: %s", err, log.String())
	}
}

// TestPrepareOnAReplica: a replica can become the master, so the error is not a refusal.
func TestPrepareOnAReplica(t *testing.T) {
	server := redistest.Start(t, "--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes")
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	if err := s.Prepare(testContext(t)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Prepare: %v; want ErrUnavailable", err)
	}
}

func TestPrepareWithoutPermission(t *testing.T) {
	server := redistest.Start(t, "--user", "someone", "on", ">swordfish", "~*", "-@all", "+ping", "+hello", "+client")
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("someone", "swordfish")})
	if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("Prepare: %v; want ErrMisconfigured", err)
	}
}

func TestVersionAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"6.2": true, "6.2.0": true, "6.10": true, "7.0.15": true, "10.1": true, "255.255.255": true, "unstable": true, "7": true,
		"6.0.16": false, "5.9": false, "4.0": false,
	} {
		if got := versionAtLeast(version, minMajor, minMinor); got != want {
			t.Errorf("versionAtLeast(%s) = %v; want %v", version, got, want)
		}
	}
}

// TestPrepareTakesFewRoundTrips: on a busy machine each further round trip can delay Prepare beyond the limit of the
// readiness check.
func TestPrepareTakesFewRoundTrips(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0)
	var sent atomic.Int64
	s := openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		return countingConn{conn, &sent}, err
	}})
	for range 2 { // the first brings the scripts
		sent.Store(0)
		if err := s.Prepare(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	// 22 as a rule, to three masters and with three or four handshakes. One for each partition would be 13 more.
	if n := sent.Load(); n > 30 {
		t.Errorf("%d times something was sent; want 30 at the most", n)
	}
}

// countingConn counts what is sent.
type countingConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(b)
}
