package redisstore

import (
	"context"
	"fmt"
	"strconv"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// maxIndexed is how many sessions, the newest, the index of one reference holds. Only the newest is
// ever asked for; the others are for when it is redacted.
const maxIndexed = 1000

// indexed is how the index knows a session.
type indexed struct {
	reference string // empty: not at all
	created   int64
}

func indexedBy(session verification.Session) indexed {
	if session.Tombstone() {
		return indexed{}
	}
	return indexed{reference: session.Reference, created: session.Created}
}

func (i indexed) score() string { return strconv.FormatInt(i.created, 10) }

// Newest implements store.Store.
func (s *Store) Newest(ctx context.Context, reference string) (string, error) {
	ids, err := s.client.ZRevRange(ctx, s.keys.reference(reference), 0, 0).Result()
	if err != nil {
		return "", s.failed(ctx, "look up a reference", err)
	}
	if len(ids) == 0 {
		return "", fmt.Errorf("the reference: %w", store.ErrNotFound)
	}
	return ids[0], nil
}

// Unindex implements store.Store. An index entry is written with the record or after it, never before:
// one without a record is left over. The record may come to bear the reference while its entry goes,
// so it is looked at again.
func (s *Store) Unindex(ctx context.Context, reference, id string) error {
	now, err := s.read(ctx, id)
	if err != nil || indexedBy(now.session).reference == reference {
		return err
	}
	if err := s.client.ZRem(ctx, s.keys.reference(reference), id).Err(); err != nil {
		return s.failed(ctx, "remove an index entry", err)
	}
	now, err = s.read(ctx, id)
	if err != nil || indexedBy(now.session).reference != reference {
		return err
	}
	return s.ensureIndex(ctx, now.session)
}

// removeReplaced takes a session out of the index of the reference that it no longer bears.
func (s *Store) removeReplaced(ctx context.Context, id string, before, after indexed) error {
	if before.reference == "" || before.reference == after.reference {
		return nil
	}
	if err := s.client.ZRem(ctx, s.keys.reference(before.reference), id).Err(); err != nil {
		return s.failed(ctx, "remove an index entry", err)
	}
	return nil
}

// indexAfterCommit is the second script on a Cluster, where the index is in another slot. Elsewhere
// the commit has done it.
func (s *Store) indexAfterCommit(ctx context.Context, session verification.Session, before, after indexed) error {
	if !s.split {
		return nil
	}
	// Once more after the commit: another writer can have made sure of the old entry in between. Or it has
	// given the session its old reference back; so the record decides.
	if before.reference != "" && before.reference != after.reference {
		if err := s.Unindex(ctx, before.reference, session.ID); err != nil {
			return err
		}
	}
	if after.reference == "" {
		return nil
	}
	return s.index(ctx, session.ID, after, before != after)
}

// ensureIndex makes sure that a session is in the index of its reference.
func (s *Store) ensureIndex(ctx context.Context, session verification.Session) error {
	if by := indexedBy(session); by.reference != "" {
		return s.index(ctx, session.ID, by, false)
	}
	return nil
}

// index adds a session to the index of its reference, then looks whether it still belongs there: a
// redaction that came in between has removed what was not there yet. Then it tells the watchers by
// reference: if the reference leads here only now, or if changed says so; the script's own word is
// not enough, because it is lost when the script is sent again.
func (s *Store) index(ctx context.Context, id string, by indexed, changed bool) error {
	keys := []string{s.keys.reference(by.reference)}
	answer, err := indexScript.Run(ctx, s.client, keys, id, by.score(), maxIndexed).StringSlice()
	if err != nil {
		return s.failed(ctx, "index a session", err)
	}
	now, err := s.read(ctx, id)
	if err != nil {
		return err
	}
	if indexedBy(now.session).reference != by.reference {
		return s.Unindex(ctx, by.reference, id)
	}
	newest := len(answer) == 2 && answer[0] == "1"
	moved := len(answer) == 2 && answer[1] == "1"
	if moved || newest && changed {
		return s.announcePointer(ctx, id)
	}
	return nil
}

// announcePointer appends a feed entry without a revision.
func (s *Store) announcePointer(ctx context.Context, id string) error {
	nonce, err := s.random()
	if err != nil {
		return err
	}
	epoch, err := s.random()
	if err != nil {
		return err
	}
	partition := partitionOf(id)
	keys := []string{s.keys.feed(partition), s.keys.meta(partition)}
	now, oldest := s.feedTimes()
	args := []any{epoch, s.feedMaxLen, signed(nonce), id, now, oldest}
	if err := pointerScript.Run(ctx, s.client, keys, args...).Err(); err != nil {
		return s.failed(ctx, "announce a reference", err)
	}
	return nil
}
