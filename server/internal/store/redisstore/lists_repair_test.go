package redisstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/verification"
)

// TestARepairIsNotedFirstAndLast: the store keeps the time of the first repair with the same settings besides that of
// the last one.
func TestARepairIsNotedFirstAndLast(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		ctx, now := testContext(t), time.Unix(1_790_000_000, 0)
		s := openStore(t, Options{Addrs: []string{addr}, Clock: func() time.Time { return now }})
		for _, later := range []int64{0, 3600, 90_000} {
			now = time.Unix(1_790_000_000+later, 0)
			if _, err := s.RepairLists(ctx, func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if last, first, err := s.ListsRepaired(ctx); err != nil || last != now.Unix() || first != 1_790_000_000 {
				t.Errorf("%d s later: last %d, first %d, %v", later, last, first, err)
			}
		}
	})
}

// TestARepairRemovesEveryOrphan: there are more orphans than one step reads.
func TestARepairRemovesEveryOrphan(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		ctx, raw := testContext(t), rawClient(t, addr)
		s := openStore(t, Options{Addrs: []string{addr}})
		const orphans = 2*repairStep + 1
		members := make([]redis.Z, 0, orphans)
		for n := 0; len(members) < orphans; n++ {
			if id := fmt.Sprintf("vs_%d", n); partitionOf(id) == 0 {
				members = append(members, redis.Z{Score: float64(n % 7), Member: id})
			}
		}
		key := s.keys.list(0, verification.ListProcessing)
		if err := raw.ZAdd(ctx, key, members...).Err(); err != nil {
			t.Fatal(err)
		}
		found, err := s.RepairLists(ctx, func(context.Context) error { return nil })
		if left := raw.ZCard(ctx, key).Val(); err != nil || found.Removed != orphans || left != 0 {
			t.Errorf("%+v, %v; %d are left", found, err, left)
		}
	})
}
