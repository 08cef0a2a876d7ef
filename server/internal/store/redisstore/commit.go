package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// maxRevisions bounds the revisions of one update. Package verification makes at most two: a read, then an event.
const maxRevisions = 16

// commitHead is how many arguments of lua/commit.lua come before the changes of sets.
const commitHead = 7

// commit replaces current by next and returns the record that is stored now. won is false if another writer was faster; then
// now is that writer's record.
func (s *Store) commit(ctx context.Context, current stored, next verification.Session) (won bool, now stored, err error) {
	before, after := indexedBy(current.session), indexedBy(next)
	if s.split {
		// Before the commit, so that a crash after the commit leaves no index entry of a redacted session.
		if err := s.removeReplaced(ctx, next.ID, before, after); err != nil {
			return false, stored{}, err
		}
	}
	keys, args, header, err := s.commitArguments(s.traceOf(ctx), current, next, before, after)
	if err != nil {
		return false, stored{}, err
	}
	answer, err := s.runCommit(ctx, next.ID, keys, args)
	if err != nil {
		return false, stored{}, s.failed(ctx, "commit a session", err)
	}
	switch {
	case len(answer) == 1 && answer[0] == "ok":
		return true, stored{header: header, session: next}, s.indexAndRegister(ctx, current.session, next, before, after)
	case len(answer) == 1 && answer[0] == "conflict":
		return false, stored{}, nil
	case len(answer) == 2 && answer[0] == "conflict":
		now, err = parseRecord(next.ID, answer[1])
		return false, now, err
	}
	return false, stored{}, fmt.Errorf("%w: the commit script's answer has %d parts", store.ErrUnavailable, len(answer))
}

// indexAndRegister writes what the commit script cannot write, because it is in other slots: the account and the index entry.
func (s *Store) indexAndRegister(ctx context.Context, current, next verification.Session, before, after indexed) error {
	if next.Account != current.Account {
		if err := s.ensureAccount(ctx, next); err != nil {
			return err
		}
	}
	return s.indexAfterCommit(ctx, next, before, after)
}

// ensureRegistered does what a crash between a commit and indexAndRegister has left undone. The next delivery of the same event
// calls it, because that update writes nothing.
func (s *Store) ensureRegistered(ctx context.Context, session verification.Session) error {
	if !session.Exists() {
		return nil
	}
	if err := s.ensureAccount(ctx, session); err != nil {
		return err
	}
	return s.ensureIndex(ctx, session)
}

// traceOf returns the trace of a commit as its feed entries contain it: a colon and traceSize bytes, or nothing.
func (s *Store) traceOf(ctx context.Context) string {
	if trace := s.trace(ctx); len(trace) == traceSize {
		return ":" + trace
	}
	return ""
}

// commitArguments returns the KEYS and ARGV of lua/commit.lua, and the header of the new record.
func (s *Store) commitArguments(trace string, current stored, next verification.Session, before, after indexed) (keys []string, args []any, header string, err error) {
	made := int64(next.Revision) - int64(current.session.Revision)
	if made < 0 || made > maxRevisions {
		return nil, nil, "", fmt.Errorf("session %s: an update makes 0 to %d revisions, not %d", next.ID, maxRevisions, made)
	}
	nonce, err := s.random()
	if err != nil {
		return nil, nil, "", err
	}
	record, err := appendBody(newHeader(current.header, nonce), next, s.format)
	if err != nil {
		return nil, nil, "", fmt.Errorf("session %s: %w", next.ID, err)
	}
	names := &s.keys.partitions[partitionOf(next.ID)]
	leaves := !s.split && before.reference != "" && before.reference != after.reference
	joins := !s.split && after.reference != "" && before != after
	sets := s.setChanges(names, current.session, next)

	keys = make([]string, 0, 5+len(sets))
	keys = append(keys, names.records+next.ID, names.feed, names.meta)
	options := ""
	if leaves {
		keys = append(keys, s.keys.reference(before.reference))
		options = "l"
	}
	if joins {
		keys = append(keys, s.keys.reference(after.reference))
		options += "j" + after.score()
	}
	if life := lifeOf(current.session, next); life != 0 {
		options += "p" + strconv.FormatInt(life, 10)
	}
	entries := int(made)
	if made == 0 && joins {
		entries = 1
	}
	args = make([]any, 0, commitHead+len(sets)+2*entries)
	args = append(args, len(keys)+len(sets), cap(args), current.header, record, next.ID, s.clock().Unix(), options)
	for _, set := range sets {
		keys = append(keys, set.key)
		args = append(args, set.argument())
	}
	if made == 0 && joins {
		args = append(args, 0, signed(nonce))
	}
	// Each entry has its own nonce. A commit that is sent again after a loss can give its entries numbers that are greater
	// by one, and a position at its second entry must not be taken for a position at its first.
	for revision := current.session.Revision + 1; revision <= next.Revision; revision++ {
		args = append(args, strconv.FormatInt(int64(revision), 10)+trace, signed(nonce))
		nonce++
	}
	return keys, args, string(record[:headerSize]), nil
}

// setChange is a change of one sorted set: a list, or the due sessions.
type setChange struct {
	key            string
	second, former string // scores; notListed if the session is not in the set
	kept           int    // the number of members to keep; 0 keeps all
}

// argument returns the change as lua/commit.lua has it.
func (c setChange) argument() string {
	former := c.former
	if former == notListed {
		former = ""
	}
	switch {
	case c.second == notListed:
		return "r" + former
	case c.kept > 0:
		return "a" + c.second + ":" + former
	case former != "":
		return "m" + c.second + ":" + former
	}
	return c.second
}

// beginsWithRemoval reports whether a commit with these arguments of lua/commit.lua first removes its session from a set, if no
// other writer was faster.
func beginsWithRemoval(args []any) bool {
	if len(args) <= commitHead {
		return false
	}
	change, _ := args[commitHead].(string) // or the first revision, which begins with a digit
	return strings.HasPrefix(change, "r")
}

// setChanges returns the sets that a commit changes.
func (s *Store) setChanges(names *partitionKeys, before, after verification.Session) []setChange {
	lists := s.listChanges(before, after)
	sets := make([]setChange, 0, 1+len(lists))
	if second, former := dueSecond(after), dueSecond(before); second != former {
		sets = append(sets, setChange{key: names.due, second: second, former: former})
	}
	for _, change := range lists {
		sets = append(sets, setChange{names.lists[change.list], change.second, change.former, listCap(change.list)})
	}
	return sets
}

// keepLife is the life of a record that lives as long as the record before it.
const keepLife = -1

// lifeOf returns how long Redis keeps the record next, in milliseconds. 0 means forever. What operators and comparisons do to an
// archived session does not prolong its life.
func lifeOf(before, next verification.Session) int64 {
	if !next.IsArchived() {
		return 0
	}
	newest := next.History[max(0, len(next.History)-1):]
	if before.IsArchived() && len(newest) == 1 && (newest[0].Source == verification.SourceOperator || newest[0].Source == verification.SourceComparison) {
		return keepLife
	}
	return verification.ArchiveLife * 1000
}

// signed converts a nonce to the form that a stream stores in 9 bytes.
func signed(nonce uint64) int64 { return int64(nonce) }

// feedTimes returns the current Unix second and the oldest one that the feed keeps. oldest is 0 if the feed keeps all.
func (s *Store) feedTimes() (now, oldest int64) {
	now = s.clock().Unix()
	if s.feedMaxAge > 0 {
		oldest = now - int64(s.feedMaxAge/time.Second)
	}
	return now, oldest
}
