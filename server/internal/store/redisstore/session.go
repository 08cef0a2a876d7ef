package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// immediateTries are made with the record that a conflict returned, without waiting. Later ones wait
// and read again: what was read before the wait would conflict with certainty.
const immediateTries = 3

// maxBackoff bounds the wait between two tries.
const maxBackoff = 64 * time.Millisecond

// maxRevisions bounds the revisions of one update. The core makes two at most: a read, then an event.
const maxRevisions = 16

// stored is a record as it was read. The zero value is no record.
type stored struct {
	header  string // empty: no record
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

// recordOf is the record that GET has answered.
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

// Update implements store.Store. It begins with what this process remembers, so that a commit mostly
// costs one round trip; what is remembered decides nothing but what is tried first.
func (s *Store) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	current, remembered, err := s.hints.get(id), true, error(nil)
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
		if remembered && (err != nil || !write) {
			// Nothing is decided by memory alone.
			current, err = s.read(ctx, id)
			if err != nil {
				return verification.Session{}, err
			}
			next, write, err = fn(current.session)
		}
		remembered = false
		if err != nil {
			return current.session, err
		}
		if !write {
			same, err := s.confirm(ctx, current)
			if err != nil {
				return current.session, err
			}
			if same {
				return current.session, s.ensureFound(ctx, current.session)
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
		won, now, err := s.commit(ctx, current, next)
		if err != nil {
			s.hints.put(id, stored{})
			return verification.Session{}, err
		}
		s.hints.put(id, now)
		if won {
			return next, nil
		}
		current = now
	}
	return verification.Session{}, fmt.Errorf("session %s: %w", id, store.ErrConflict)
}

// backoff waits a random time, on average twice as long for each try.
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

// commit stores next in place of current, and returns what is stored now: where somebody else was faster,
// their record.
func (s *Store) commit(ctx context.Context, current stored, next verification.Session) (won bool, now stored, err error) {
	before, after := indexedBy(current.session), indexedBy(next)
	if s.split {
		// Before the commit, so that a crash after it leaves no index entry of a redacted session.
		if err := s.removeReplaced(ctx, next.ID, before, after); err != nil {
			return false, stored{}, err
		}
	}
	keys, args, err := s.commitArguments(s.traceOf(ctx), current, next, before, after)
	if err != nil {
		return false, stored{}, err
	}
	answer, err := s.runCommit(ctx, next.ID, keys, args)
	if err != nil {
		return false, stored{}, s.failed(ctx, "commit a session", err)
	}
	switch {
	case len(answer) == 1 && answer[0] == "ok":
		record, _ := args[1].(string)
		return true, stored{header: record[:headerSize], session: next}, s.found(ctx, current.session, next, before, after)
	case len(answer) == 1 && answer[0] == "conflict":
		return false, stored{}, nil
	case len(answer) == 2 && answer[0] == "conflict":
		now, err = parseRecord(next.ID, answer[1])
		return false, now, err
	}
	return false, stored{}, fmt.Errorf("%w: the commit script's answer has %d parts", store.ErrUnavailable, len(answer))
}

// found makes what was committed findable where the commit itself could not, in other slots.
func (s *Store) found(ctx context.Context, current, next verification.Session, before, after indexed) error {
	if !current.Exists() {
		if err := s.ensureAccount(ctx, next); err != nil {
			return err
		}
	}
	return s.indexAfterCommit(ctx, next, before, after)
}

// ensureFound repairs what a crash between a commit and found left undone. The next delivery of the
// same event comes here, because it writes nothing.
func (s *Store) ensureFound(ctx context.Context, session verification.Session) error {
	if !session.Exists() {
		return nil
	}
	if err := s.ensureAccount(ctx, session); err != nil {
		return err
	}
	return s.ensureIndex(ctx, session)
}

// traceOf is the trace of a commit as its feed entries hold it: a colon and traceSize bytes, or nothing.
func (s *Store) traceOf(ctx context.Context) string {
	if trace := s.trace(ctx); len(trace) == traceSize {
		return ":" + trace
	}
	return ""
}

// commitArguments are the KEYS and ARGV of lua/commit.lua.
func (s *Store) commitArguments(trace string, current stored, next verification.Session, before, after indexed) (keys []string, args []any, err error) {
	if made := int64(next.Revision) - int64(current.session.Revision); made < 0 || made > maxRevisions {
		return nil, nil, fmt.Errorf("session %s: an update makes 0 to %d revisions, not %d", next.ID, maxRevisions, made)
	}
	body, err := encode(next)
	if err != nil {
		return nil, nil, fmt.Errorf("session %s: %w", next.ID, err)
	}
	nonce, err := s.random()
	if err != nil {
		return nil, nil, err
	}
	epoch, err := s.random()
	if err != nil {
		return nil, nil, err
	}
	var counter uint32
	if current.header != "" {
		counter = binary.BigEndian.Uint32([]byte(current.header))
	}
	partition := partitionOf(next.ID)
	keys = []string{s.keys.record(next.ID), s.keys.feed(partition), s.keys.meta(partition)}
	leaves := !s.split && before.reference != "" && before.reference != after.reference
	if leaves {
		keys = append(keys, s.keys.reference(before.reference))
	}
	bears := !s.split && after.reference != ""
	if bears {
		keys = append(keys, s.keys.reference(after.reference))
	}
	due := dueChange(current.session, next)
	if due != "" {
		keys = append(keys, s.keys.due(partition))
	}
	changes := s.listChanges(current.session, next)
	listKeys, listArgs := s.listArguments(partition, changes)
	keys = append(keys, listKeys...)
	now, oldest := s.feedTimes()
	args = []any{
		current.header, header(counter+1, nonce) + string(body), formatUint(epoch),
		s.feedMaxLen, formatNonce(nonce), next.ID, leaves, bears, after.score(), maxIndexed,
		due, now, oldest, lifeOf(next).Milliseconds(), len(changes),
	}
	args = append(args, listArgs...)
	for revision := current.session.Revision + 1; revision <= next.Revision; revision++ {
		args = append(args, formatUint(uint64(revision))+trace)
	}
	return keys, args, nil
}

// lifeOf is how long Redis keeps a record; 0 for ever.
func lifeOf(session verification.Session) time.Duration {
	if session.Stub() {
		return verification.StubLife * time.Second
	}
	return 0
}

// formatNonce writes a nonce as a signed number: streams keep those in 9 bytes.
func formatNonce(nonce uint64) string { return strconv.FormatInt(int64(nonce), 10) }

// feedTimes are now and the oldest second that the feed keeps, 0 for any.
func (s *Store) feedTimes() (now, oldest int64) {
	now = s.clock().Unix()
	if s.feedMaxAge > 0 {
		oldest = now - int64(s.feedMaxAge/time.Second)
	}
	return now, oldest
}

func formatUint(v uint64) string { return strconv.FormatUint(v, 10) }
