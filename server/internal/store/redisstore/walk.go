package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// walkStep is about how many keys one SCAN looks at.
const walkStep = 500

// Walk calls visit for every session that is there from the beginning to the end of the walk, at least
// once, in no order, and ends with visit's first error. It is for rare work on all sessions: it reads
// every key of the database once, in small steps that hold nobody up. A record that cannot be read is
// logged and left out, so that one such does not stop what must be done for the others. On a Cluster
// the sessions of a slot that moves meanwhile may be missed.
func (s *Store) Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error {
	masters, err := s.masters(ctx)
	if err != nil {
		return s.failed(ctx, "list the masters", err)
	}
	for _, master := range masters {
		if err := s.walkOne(ctx, master, visit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) walkOne(ctx context.Context, master redis.UniversalClient, visit func(context.Context, verification.Session) error) error {
	pattern := globQuoted(s.keys.prefix) + "{*}:s:*"
	var cursor uint64
	for {
		found, next, err := master.Scan(ctx, cursor, pattern, walkStep).Result()
		if err != nil {
			return s.failed(ctx, "walk over the sessions", err)
		}
		for _, key := range found {
			_, id, _ := strings.Cut(key, "}:s:")
			current, err := s.read(ctx, id)
			if errors.Is(err, store.ErrCorrupt) {
				s.logger.Warn("a record cannot be read; the walk goes on without it", "session", id, "error", err)
				continue
			}
			if err != nil {
				return err
			}
			if current.header == "" { // it has expired meanwhile
				continue
			}
			if err := visit(ctx, current.session); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// masters are the clients of every master.
func (s *Store) masters(ctx context.Context) ([]redis.UniversalClient, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []redis.UniversalClient{s.client}, nil
	}
	var mu sync.Mutex // guards masters: the driver calls back concurrently
	var masters []redis.UniversalClient
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, node)
		return nil
	})
	return masters, err
}

// globQuoted is a text that matches itself only in Redis' patterns.
func globQuoted(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
