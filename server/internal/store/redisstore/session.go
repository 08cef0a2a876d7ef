package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// immediateTries is how many times a commit is tried again at once, with the record that the conflict returned. Later tries wait first
// and read again, because a record from before the wait would surely conflict.
const immediateTries = 3

// maxBackoff bounds the wait between two tries.
const maxBackoff = 64 * time.Millisecond

// stored is a record as it was read. The zero value means that there is no record.
type stored struct {
	header  string // empty if there is no record
	session verification.Session
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, id string) (verification.Session, error) {
	current, err := s.read(ctx, id)
	if err != nil {
		return verification.Session{}, err
	}
	if current.header == "" {
		return verification.Session{}, fmt.Errorf("session %s: %w", id, store.ErrNotFound)
	}
	return current.session, nil
}

func (s *Store) read(ctx context.Context, id string) (stored, error) {
	return s.recordOf(ctx, id, s.client.Get(ctx, s.keys.record(id)))
}

// recordOf returns the record in the answer to a GET.
func (s *Store) recordOf(ctx context.Context, id string, answer *redis.StringCmd) (stored, error) {
	value, err := answer.Result()
	if errors.Is(err, redis.Nil) {
		return stored{}, nil
	}
	if err != nil {
		return stored{}, s.failed(ctx, "read a session", err)
	}
	return parseRecord(id, value)
}

func parseRecord(id, value string) (stored, error) {
	if len(value) < headerSize {
		return stored{}, fmt.Errorf("session %s: %w", id, corrupt("the header"))
	}
	session, err := decode(id, []byte(value[headerSize:]))
	if err != nil {
		return stored{}, fmt.Errorf("session %s: %w", id, err)
	}
	return stored{header: value[:headerSize], session: session}, nil
}

// Update implements store.Store. It begins with the cached record, so that a commit mostly costs one round trip. The cached record only
// decides what is tried first.
func (s *Store) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	current, cached, err := s.cache.get(id), true, error(nil)
	for try := range store.MaxTries {
		if try > immediateTries {
			if err := backoff(ctx, try-immediateTries); err != nil {
				return verification.Session{}, err
			}
			current, err = s.read(ctx, id)
		}
		if err != nil {
			return verification.Session{}, err
		}
		next, write, err := fn(current.session)
		if cached && (err != nil || !write) {
			// A cached record alone decides nothing: read it again.
			current, err = s.read(ctx, id)
			if err != nil {
				return verification.Session{}, err
			}
			next, write, err = fn(current.session)
		}
		cached = false
		if err != nil {
			return current.session, err
		}
		if !write {
			same, err := s.confirm(ctx, current)
			if err != nil {
				return current.session, err
			}
			if same {
				return current.session, s.ensureRegistered(ctx, current.session)
			}
			current, err = s.read(ctx, id)
			if err != nil {
				return verification.Session{}, err
			}
			continue
		}
		if next.ID != id {
			return current.session, fmt.Errorf("the record of session %s was given the id %q", id, next.ID)
		}
		kept := next
		if s.format < formatChain {
			kept = asBefore(current.session, next)
		}
		won, now, err := s.commit(ctx, current, kept)
		if err != nil {
			s.cache.put(id, stored{})
			return verification.Session{}, err
		}
		s.cache.put(id, now)
		if won {
			return next, nil
		}
		current = now
	}
	return verification.Session{}, fmt.Errorf("session %s: %w", id, store.ErrConflict)
}

// backoff waits a random time. The average doubles with each try.
func backoff(ctx context.Context, try int) error {
	limit := min(time.Millisecond<<try, maxBackoff)
	timer := time.NewTimer(rand.N(limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
