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

const (
	// relistTries is how often a repair tries a session that is written at the same time. For a session that is written
	// without a pause, about every third try succeeds.
	relistTries = 16
	// repairStep is how many entries of a list one step of a repair reads.
	repairStep = 500
)

var _ store.ListRepairs = (*Store)(nil)

// relisting holds the list changes that follow from the record with a header.
type relisting struct {
	id      string
	header  string // empty if there is no record
	changes []listChange
}

// relist repairs the list entries of sessions in one round. It skips each session whose record has changed, and returns these in
// busy.
func (s *Store) relist(ctx context.Context, all []relisting) (found store.ListRepair, busy []string, err error) {
	if len(all) == 0 {
		return found, nil, nil
	}
	answers := make([]*redis.Cmd, len(all))
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each answer has its error
		for i, r := range all {
			keys, args := []string{s.keys.record(r.id)}, []any{r.header, r.id}
			for _, change := range r.changes {
				keys = append(keys, s.keys.list(partitionOf(r.id), change.list))
				args = append(args, change.second, listCap(change.list))
			}
			answers[i] = relistScript.Eval(ctx, p, keys, args...)
		}
		return nil
	})
	for i, answer := range answers {
		texts, err := answer.StringSlice()
		if err != nil {
			return found, busy, s.failed(ctx, "repair a list", err)
		}
		if len(texts) != 2 {
			busy = append(busy, all[i].id)
			continue
		}
		added, err1 := strconv.Atoi(texts[0])
		removed, err2 := strconv.Atoi(texts[1])
		if err := errors.Join(err1, err2); err != nil {
			return found, busy, fmt.Errorf("%w: the answer of a list script is not a number", store.ErrUnavailable)
		}
		found.Added += added
		found.Removed += removed
	}
	return found, busy, nil
}

// RepairLists implements store.ListRepairs. It reads every key of the database once, as Walk does, and every entry of the lists. It
// checks a session again if the session was written meanwhile: that commit updates only the lists that the change concerns.
func (s *Store) RepairLists(ctx context.Context, step func(context.Context) error) (store.ListRepair, error) {
	var total store.ListRepair
	err := s.walk(ctx, func(ctx context.Context, ids []string) error {
		if err := step(ctx); err != nil {
			return err
		}
		return s.repairSessions(ctx, ids, &total)
	})
	if err != nil {
		return total, err
	}
	for partition := range partitions {
		for list := range verification.List(verification.ListCount) {
			if err := s.removeOrphans(ctx, partition, list, step, &total); err != nil {
				return total, err
			}
		}
	}
	return total, s.noteRepair(ctx)
}

func (s *Store) repairSessions(ctx context.Context, ids []string, total *store.ListRepair) error {
	total.Sessions += len(ids)
	for range relistTries {
		var all []relisting
		err := s.eachRecord(ctx, ids, func(id string, current stored) {
			all = append(all, relisting{id, current.header, s.listings(current.session)})
		})
		if err != nil {
			return err
		}
		found, busy, err := s.relist(ctx, all)
		total.Added += found.Added
		total.Removed += found.Removed
		if err != nil || len(busy) == 0 {
			return err
		}
		ids = busy
	}
	total.Busy += len(ids)
	s.logger.Warn("some sessions were written at every try to repair their lists; the next repair will try again", "sessions", len(ids))
	return nil
}

// removeOrphans removes the entries of a list that have no record. A walk over the records does not find them.
func (s *Store) removeOrphans(ctx context.Context, partition int, list verification.List, step func(context.Context) error, total *store.ListRepair) error {
	key := s.keys.list(partition, list)
	var cursor store.ListCursor
	for more := true; more; {
		if err := step(ctx); err != nil {
			return err
		}
		var entries []store.ListCursor
		var err error
		entries, more, err = s.entriesAfter(ctx, []string{key}, cursor, repairStep)
		if err != nil || len(entries) == 0 {
			return err
		}
		cursor = entries[len(entries)-1]
		headers := make([]*redis.StringCmd, len(entries))
		_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each answer has its error
			for i, entry := range entries {
				headers[i] = p.GetRange(ctx, s.keys.record(entry.ID), 0, headerSize-1)
			}
			return nil
		})
		var orphans []relisting
		for i, entry := range entries {
			header, err := headers[i].Result()
			if err != nil {
				return s.failed(ctx, "check whether records exist", err)
			}
			if header == "" {
				orphans = append(orphans, relisting{id: entry.ID, changes: []listChange{{list: list, second: notListed}}})
			}
		}
		found, _, err := s.relist(ctx, orphans)
		total.Removed += found.Removed
		if err != nil {
			return err
		}
	}
	return nil
}

// noteRepair stores that a repair has completed. If two repairs complete at the same time, both can count as the first one. That is
// harmless.
func (s *Store) noteRepair(ctx context.Context) error {
	_, first, err := s.ListsRepaired(ctx)
	if err != nil {
		return err
	}
	now := s.clock().Unix()
	if first == 0 {
		first = now
	}
	err = s.client.HSet(ctx, s.keys.repaired(), "fingerprint", listFingerprint(s.policy), "last", now, "first", first).Err()
	if err != nil {
		return s.failed(ctx, "store the time of the list repair", err)
	}
	return nil
}

// ListsRepaired implements store.ListRepairs.
func (s *Store) ListsRepaired(ctx context.Context) (last, first int64, err error) {
	values, err := s.client.HMGet(ctx, s.keys.repaired(), "fingerprint", "last", "first").Result()
	if err != nil {
		return 0, 0, s.failed(ctx, "read the time of the list repair", err)
	}
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i], _ = value.(string)
	}
	if texts[0] != listFingerprint(s.policy) {
		return 0, 0, nil
	}
	last, _ = strconv.ParseInt(texts[1], 10, 64) // a text that is not a number counts as never
	first, _ = strconv.ParseInt(texts[2], 10, 64)
	return last, first, nil
}
