package redisstore

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/verification"
)

const (
	// walkStep is approximately how many keys one SCAN reads.
	walkStep = 500
	// walkRound is how many records are read in one round. Each can be large.
	walkRound = 100
)

// Walk calls visit at least once for every session that exists during the whole walk, in no order. It ends with the first error of
// visit. It is for rare work on all sessions: it reads every key of the database once, in small steps that do not delay other
// calls. A record that cannot be read is logged and left out, so that it does not block the others. On a Cluster Walk can miss
// the sessions of a slot that moves at the same time.
func (s *Store) Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error {
	return s.walk(ctx, func(ctx context.Context, ids []string) error {
		var sessions []verification.Session
		err := s.eachRecord(ctx, ids, func(_ string, current stored) {
			if current.header != "" { // without a header it has expired meanwhile
				sessions = append(sessions, current.session)
			}
		})
		if err != nil {
			return err
		}
		for _, session := range sessions {
			if err := visit(ctx, session); err != nil {
				return err
			}
		}
		return nil
	})
}

// walk calls visit with the ids of all sessions, at most walkRound at a time.
func (s *Store) walk(ctx context.Context, visit func(ctx context.Context, ids []string) error) error {
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

func (s *Store) walkOne(ctx context.Context, master redis.UniversalClient, visit func(ctx context.Context, ids []string) error) error {
	pattern := globQuoted(s.keys.prefix) + "{*}:s:*"
	var cursor uint64
	for {
		found, next, err := master.Scan(ctx, cursor, pattern, walkStep).Result()
		if err != nil {
			return s.failed(ctx, "walk over the sessions", err)
		}
		for some := range slices.Chunk(found, walkRound) {
			for i, key := range some {
				_, some[i], _ = strings.Cut(key, "}:s:")
			}
			if err := visit(ctx, some); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// masters returns a client of every master.
func (s *Store) masters(ctx context.Context) ([]redis.UniversalClient, error) {
	var mu sync.Mutex // guards masters
	var masters []redis.UniversalClient
	err := eachMaster(ctx, s.client, func(_ context.Context, master redis.UniversalClient) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master)
		return nil
	})
	return masters, err
}

// globQuoted escapes a text for Redis' patterns, so that it matches only itself.
func globQuoted(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
