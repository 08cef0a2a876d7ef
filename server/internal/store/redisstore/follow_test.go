package redisstore

import (
	"errors"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redistest"
)

// A feed that could not be asked for is not a feed in which nothing came: memory would be trusted by it.
func TestG8_ATopologyThatCannotBeReadIsNoQuietFeed(t *testing.T) {
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
