package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// maxListed bounds the sessions of one page.
	maxListed = 1000
	// listRounds is how often List reads more entries if some were wrong. After that the page stays short.
	listRounds = 4
	// spareEntries is how many more entries than its share of a page are read from each partition, because shares differ.
	spareEntries = 8
)

// lastID sorts after every session id.
const lastID = "\xff"

// List implements store.Lists. It returns at most 1,000 sessions. It reads about twice as many entries as the limit in one round
// over the partitions, and the records of the page in a second round.
func (s *Store) List(ctx context.Context, query store.ListQuery) (store.ListPage, error) {
	if query.Limit < 1 || int(query.List) >= verification.ListCount {
		return store.ListPage{}, fmt.Errorf("invalid limit %d or list %d: the limit must be at least 1, and the list must exist", query.Limit, query.List)
	}
	limit := min(query.Limit, maxListed)
	keys := []string{s.keys.reference(query.Reference)}
	if query.Reference == "" {
		keys = s.listKeys(query.List)
	}
	cursor := query.After
	if query.NotAfter != nil {
		if bound := (store.ListCursor{Second: *query.NotAfter, ID: lastID}); cursor.ID == "" || newestFirst(cursor, bound) < 0 {
			cursor = bound
		}
	}
	var page store.ListPage
	for range listRounds {
		entries, more, err := s.entriesAfter(ctx, keys, cursor, limit-len(page.Sessions))
		if err != nil {
			return store.ListPage{}, err
		}
		for len(entries) > 0 && len(page.Sessions) < limit {
			now := min(len(entries), limit-len(page.Sessions))
			sessions, err := s.listed(ctx, query, entries[:now])
			if err != nil {
				return store.ListPage{}, err
			}
			page.Sessions = append(page.Sessions, sessions...)
			cursor, entries = entries[now-1], entries[now:]
		}
		if len(entries) == 0 && !more {
			return inOrder(query, page), nil
		}
		if len(page.Sessions) == limit {
			break
		}
	}
	page.Next = cursor
	return inOrder(query, page), nil
}

func (s *Store) listKeys(list verification.List) []string {
	keys := make([]string, partitions)
	for partition := range keys {
		keys[partition] = s.keys.list(partition, list)
	}
	return keys
}

// newestFirst is the order of every list.
func newestFirst(a, b store.ListCursor) int {
	return cmp.Or(cmp.Compare(b.Second, a.Second), cmp.Compare(b.ID, a.ID))
}

// cursorOf returns the cursor at which a session belongs in a list.
func cursorOf(query store.ListQuery, session verification.Session) store.ListCursor {
	if query.Reference != "" {
		return store.ListCursor{Second: session.Created, ID: session.ID}
	}
	return store.ListCursor{Second: session.UpdateTime, ID: session.ID}
}

// inOrder sorts a page by its records, because a record can change after its entry was read.
func inOrder(query store.ListQuery, page store.ListPage) store.ListPage {
	slices.SortFunc(page.Sessions, func(a, b verification.Session) int {
		return newestFirst(cursorOf(query, a), cursorOf(query, b))
	})
	return page
}

// entriesAfter merges the entries after a cursor in several sorted sets. It returns at least one entry if there is any. more is
// true if further entries follow the last one.
func (s *Store) entriesAfter(ctx context.Context, keys []string, after store.ListCursor, want int) (entries []store.ListCursor, more bool, err error) {
	score := "+inf"
	if after.ID != "" {
		score = formatSecond(after.Second)
	}
	count := want + 1 // one more, to set the result more
	if len(keys) > 1 {
		count = 2*want/len(keys) + spareEntries
	}
	answers := make([]*redis.Cmd, len(keys))
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each answer has its error
		for i, key := range keys {
			answers[i] = afterScript.Eval(ctx, p, []string{key}, score, after.ID, count)
		}
		return nil
	})
	var horizon store.ListCursor
	for _, answer := range answers {
		texts, err := answer.StringSlice()
		if err != nil {
			return nil, false, s.failed(ctx, "read a list", err)
		}
		found, err := parseCursors(texts)
		if err != nil {
			return nil, false, err
		}
		entries = append(entries, found...)
		// If a set has more entries, the entries of the others after its last one must wait for the next page.
		if len(found) == count && (!more || newestFirst(found[count-1], horizon) < 0) {
			horizon, more = found[count-1], true
		}
	}
	slices.SortFunc(entries, newestFirst)
	if more {
		entries = entries[:slices.Index(entries, horizon)+1]
	}
	return entries, more, nil
}

// parseCursors reads alternating members and scores.
func parseCursors(texts []string) ([]store.ListCursor, error) {
	cursors := make([]store.ListCursor, 0, len(texts)/2)
	for pair := range slices.Chunk(texts, 2) {
		score, err := strconv.ParseFloat(pair[len(pair)-1], 64)
		if len(pair) != 2 || err != nil || math.IsNaN(score) {
			return nil, fmt.Errorf("%w: a list has an entry whose score is not a number", store.ErrCorrupt)
		}
		second := int64(math.MaxInt64) // the conversion of a greater score is undefined
		if score < math.MaxInt64 {
			second = int64(max(score, math.MinInt64))
		}
		cursors = append(cursors, store.ListCursor{Second: second, ID: pair[0]})
	}
	return cursors, nil
}

// listed reads the records of entries and returns the sessions that belong in the list. It repairs wrong entries, unless their
// record has changed since then: the commit of that change has repaired them.
func (s *Store) listed(ctx context.Context, query store.ListQuery, entries []store.ListCursor) ([]verification.Session, error) {
	var sessions []verification.Session
	var wrong []relisting
	at := 0
	err := s.eachRecord(ctx, idsOf(entries), func(id string, current stored) {
		for entries[at].ID != id {
			at++
		}
		session := current.session
		if query.Reference != "" {
			if indexedBy(session).reference == query.Reference {
				sessions = append(sessions, session)
			}
			return
		}
		change := listChange{list: query.List, second: notListed}
		belongs := s.policy.Lists(session).Has(query.List)
		if belongs {
			change.second = formatSecond(session.UpdateTime)
		}
		if !belongs || session.UpdateTime != entries[at].Second {
			wrong = append(wrong, relisting{id, current.header, []listChange{change}})
		}
		if belongs && (query.NotAfter == nil || session.UpdateTime <= *query.NotAfter) {
			sessions = append(sessions, session)
		}
	})
	if err != nil {
		return nil, err
	}
	if _, _, err := s.relist(ctx, wrong); err != nil {
		s.logger.Debug("wrong list entries could not be repaired; the page leaves them out", "error", err)
	}
	return sessions, nil
}

func idsOf(entries []store.ListCursor) []string {
	ids := make([]string, len(entries))
	for i, entry := range entries {
		ids[i] = entry.ID
	}
	return ids
}

// eachRecord reads records in one round and calls show for each, in the order of the ids. The record has no header if it does not
// exist. A record that cannot be read is logged and left out, so that it does not block the others.
func (s *Store) eachRecord(ctx context.Context, ids []string, show func(id string, current stored)) error {
	answers := make([]*redis.StringCmd, len(ids))
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each answer has its error
		for i, id := range ids {
			answers[i] = p.Get(ctx, s.keys.record(id))
		}
		return nil
	})
	for i, id := range ids {
		current, err := s.recordOf(ctx, id, answers[i])
		switch {
		case errors.Is(err, store.ErrCorrupt):
			s.logger.Warn("a record cannot be read; skipping it", "session", id, "error", err)
		case err != nil:
			return err
		default:
			show(id, current)
		}
	}
	return nil
}
