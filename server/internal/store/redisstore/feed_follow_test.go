package redisstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
)

// TestG8_ATopologyThatCannotBeReadIsNoQuietFeed: a feed that could not be read is not a feed without new entries.
// Caches would count as fresh.
func TestG8_ATopologyThatCannotBeReadIsNoQuietFeed(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) *Store{
		"a Cluster that does not name its nodes": func(t *testing.T) *Store {
			cluster := redistest.StartCluster(t, 1, 0, "--cluster-preferred-endpoint-type", "unknown-endpoint")
			return openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster})
		},
		"a Sentinel that knows no such master": func(t *testing.T) *Store {
			set := redistest.StartSentinel(t, 0, 1)
			return openStore(t, Options{Addrs: set.Addrs(), Mode: Sentinel, SentinelMaster: "another"})
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			positions := make([]store.Position, partitions)
			for deadline := time.Now().Add(20 * time.Second); ; {
				_, err := s.Follow(testContext(t), positions, 100*time.Millisecond)
				if until := s.Followed(0); !until.IsZero() {
					t.Fatalf("followed until %v, although nobody could be asked", until)
				}
				if errors.Is(err, store.ErrUnavailable) {
					return
				}
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("Follow: %v; want ErrUnavailable", err)
				}
			}
		})
	}
}

// TestG8_AReadThatEndedEarlyVouchesForNoTimeToCome: a block can end early if somebody unblocks the client, or if the
// clock of the server is set.
func TestG8_AReadThatEndedEarlyVouchesForNoTimeToCome(t *testing.T) {
	server := redistest.Start(t)
	s, ctx := openStore(t, Options{Addrs: []string{server.Addr}}), testContext(t)
	positions := make([]store.Position, partitions)
	for partition := range positions {
		head, err := s.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		positions[partition] = head
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Follow(ctx, positions, maxBlock)
		ended <- err
	}()
	unblock(t, server)
	if err := await.One(t, ended); err != nil {
		t.Fatal(err)
	}
	if now, until := time.Now(), s.Followed(0); until.IsZero() || until.After(now) {
		t.Errorf("followed until %v, %v ahead", until, until.Sub(now))
	}
}

// unblock ends the blocked read at a server, as its timeout would.
func unblock(t *testing.T, server *redistest.Server) {
	t.Helper()
	raw := rawClient(t, server.Addr)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		for line := range strings.Lines(raw.ClientList(testContext(t)).Val()) {
			if id, _, found := strings.Cut(strings.TrimPrefix(line, "id="), " "); found && strings.Contains(line, "cmd=xread") {
				if server.MustAsk("CLIENT", "UNBLOCK", id) == "1" {
					return
				}
			}
		}
	}
	t.Fatal("no read waits")
}
