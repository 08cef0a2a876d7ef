package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// maxDue bounds the session ids that one call of Due returns.
const maxDue = 1000

var _ store.CatchUp = (*Store)(nil)

// dueSecond returns the score of a session in the index of due sessions. It returns notListed if the session is never due.
func dueSecond(session verification.Session) string {
	if second, due := session.DueAt(); due {
		return formatSecond(second)
	}
	return notListed
}

// Due implements store.CatchUp. It returns at most 1,000 session ids. The commit script writes the index together with the
// record, so the index always agrees with the records.
func (s *Store) Due(ctx context.Context, partition int, by int64, skip, limit int) ([]string, error) {
	return s.dueBetween(ctx, partition, "-inf", formatSecond(by), skip, limit)
}

// Absent implements store.CatchUp. It returns at most 1,000 session ids, from the index of due sessions.
func (s *Store) Absent(ctx context.Context, partition, skip, limit int) ([]string, error) {
	return s.dueBetween(ctx, partition, formatSecond(verification.AbsentSecond), "+inf", skip, limit)
}

func (s *Store) dueBetween(ctx context.Context, partition int, from, to string, skip, limit int) ([]string, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	if limit < 1 || skip < 0 {
		return nil, fmt.Errorf("invalid limit %d or skip %d: the limit must be at least 1, and skip must not be negative", limit, skip)
	}
	ids, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: s.keys.due(partition), ByScore: true, Start: from, Stop: to, Offset: int64(skip), Count: int64(min(limit, maxDue)),
	}).Result()
	if err != nil {
		return nil, s.failed(ctx, "list the due sessions", err)
	}
	return ids, nil
}

// Accounts implements store.CatchUp.
func (s *Store) Accounts(ctx context.Context) ([]string, error) {
	accounts, err := s.client.SMembers(ctx, s.keys.accounts()).Result()
	if err != nil {
		return nil, s.failed(ctx, "list the accounts", err)
	}
	return accounts, nil
}

// ensureAccount adds the account of a session to the set of accounts. On a Cluster the set is in another slot than the record,
// so this is a separate write after the commit. After a crash in between, the redelivery of the event does it: every
// update that writes nothing calls ensureAccount too.
func (s *Store) ensureAccount(ctx context.Context, session verification.Session) error {
	if session.Account == "" {
		return nil
	}
	if err := s.client.SAdd(ctx, s.keys.accounts(), session.Account).Err(); err != nil {
		return s.failed(ctx, "store an account", err)
	}
	return nil
}

// Cursor implements store.CatchUp.
func (s *Store) Cursor(ctx context.Context, account string) (int64, error) {
	second, err := s.client.HGet(ctx, s.keys.cursors(), account).Int64()
	switch {
	case errors.Is(err, redis.Nil):
		return 0, nil
	case errors.Is(err, strconv.ErrSyntax), errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%w: a cursor of the catch-up is not a number", store.ErrCorrupt)
	case err != nil:
		return 0, s.failed(ctx, "read a cursor", err)
	}
	return second, nil
}

// SetCursor implements store.CatchUp.
func (s *Store) SetCursor(ctx context.Context, account string, second int64) error {
	if err := cursorScript.Run(ctx, s.client, []string{s.keys.cursors()}, account, second).Err(); err != nil {
		return s.failed(ctx, "store a cursor", err)
	}
	return nil
}
