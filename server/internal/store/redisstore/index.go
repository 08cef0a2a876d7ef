package redisstore

import (
	"context"
	"fmt"
	"strconv"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// maxIndexed is how many of the newest sessions the index of one reference holds. Newest returns only the newest one. The others
// follow it if it is redacted.
const maxIndexed = 1000

// indexed is the entry of a session in the index of a reference.
type indexed struct {
	reference string // empty if the session is in no index
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

// Unindex implements store.Store. An index entry is written together with the record or after it, so an entry without a record is
// obsolete. The record can get the reference while its entry is removed, so Unindex reads it again at the end.
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

// removeReplaced removes a session from the index of the reference that it no longer has.
func (s *Store) removeReplaced(ctx context.Context, id string, before, after indexed) error {
	if before.reference == "" || before.reference == after.reference {
		return nil
	}
	if err := s.client.ZRem(ctx, s.keys.reference(before.reference), id).Err(); err != nil {
		return s.failed(ctx, "remove an index entry", err)
	}
	return nil
}

// indexAfterCommit updates the index on a Cluster, where the index is in another slot. In the other modes the commit has done it.
func (s *Store) indexAfterCommit(ctx context.Context, session verification.Session, before, after indexed) error {
	if !s.split {
		return nil
	}
	// Remove the old entry again after the commit, because another writer can have restored it in between. That writer can
	// also have restored the old reference, so the record decides.
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

// ensureIndex adds a session to the index of its reference if it is missing there.
func (s *Store) ensureIndex(ctx context.Context, session verification.Session) error {
	if by := indexedBy(session); by.reference != "" {
		return s.index(ctx, session.ID, by, false)
	}
	return nil
}

// index adds a session to the index of its reference. Then it reads the record again, because a redaction in between could not
// remove the entry. At last it wakes the watchers of the reference if the session has become the newest one, or if it is the
// newest one and changed is true. The script's own answer is not enough: it is lost when the driver sends the script again.
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
