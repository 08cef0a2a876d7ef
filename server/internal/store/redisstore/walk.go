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
	// walkStep is about how many keys one SCAN looks at.
	walkStep = 500
	// walkRound is how many records are read in one round: each may be large.
	walkRound = 100
)

// Walk calls visit for every session that is there from the beginning to the end of the walk, at least
// once, in no order, and ends with visit's first error. It is for rare work on all sessions: it reads
// every key of the database once, in small steps that hold nobody up. A record that cannot be read is
// logged and left out, so that one such does not stop what must be done for the others. On a Cluster
// the sessions of a slot that moves meanwhile may be missed.
func (s *Store) Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error {
	return s.walk(ctx, func(ctx context.Context, ids []string) error {
		var sessions []verification.Session
		err := s.eachRecord(ctx, ids, func(_ string, current stored) {
			if current.header != "" { // else it has expired meanwhile
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

// walk calls visit with the ids of all sessions, some at a time.
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

// masters are the clients of every master.
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

// globQuoted is a text that matches itself only in Redis' patterns.
func globQuoted(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
