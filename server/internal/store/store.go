// Package store is the port to where sessions are kept: one record per session, committed as one,
// and a durable feed of every change. It says what an adapter must do, and knows no database.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Errors of a Store. Adapters wrap them; compare with errors.Is.
var (
	// ErrNotFound: no such session or reference is kept.
	ErrNotFound = errors.New("not found in the store")
	// ErrConflict: other writers were faster, MaxTries times in a row. Nothing was written; try later.
	ErrConflict = errors.New("too many writers at once")
	// ErrUnavailable: the store cannot be asked, or did not answer in time. A write may or may not
	// have been made; the same Update again is safe.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrCorrupt: a record cannot be read by this version. Nothing was written.
	ErrCorrupt = errors.New("a stored record cannot be read")
	// ErrTrimmed: the feed no longer holds what followed a position.
	ErrTrimmed = errors.New("the feed no longer goes back that far")
	// ErrRewound: the feed has no such position: the store lost its newest writes, or all of them.
	ErrRewound = errors.New("the feed was rewound: the store has lost writes")
)

// MaxTries is how often Update tries against other writers before it gives up with ErrConflict.
const MaxTries = 16

// UpdateFunc makes the next record from the current one (the zero Session where none is kept). It
// is pure: it may be called several times, and what counts is its last call. With write false or an
// error nothing is stored; the error comes back from Update as it is.
type UpdateFunc func(current verification.Session) (next verification.Session, write bool, err error)

// Store keeps sessions. It is safe for concurrent use. Every call ends with its context, and with an
// error that wraps one of this package's, or the context's.
type Store interface {
	// Get returns the record of a session as it is now, never from a replica or a cache.
	Get(ctx context.Context, id string) (verification.Session, error)

	// Update reads a record, calls fn and commits what it returns, if nobody else has written in
	// between; else it starts again, MaxTries times with jitter. One commit stores the record, one
	// feed entry for each new revision, in order, and the index of its reference, or nothing of all
	// that. A commit whose answer was lost is recognised and not made twice. It returns the record
	// as it is stored after the call. Where fn wants no write, the index is still made sure of.
	Update(ctx context.Context, id string, fn UpdateFunc) (verification.Session, error)

	// Newest returns the id of the newest session that bears a reference: the greatest creation time
	// at Stripe, then the greatest id. Redacted sessions bear none. It is what an index says, which a
	// crash or a failover may have left wrong: the record is the truth.
	Newest(ctx context.Context, reference string) (id string, err error)
	// Unindex makes Newest forget that a session bears a reference, unless its record says that it
	// does. Without a record it bears none.
	Unindex(ctx context.Context, reference, id string) error

	Feed
	Lists
}

// Feed is the log of all changes, in partitions. The changes of one session are all in one partition,
// in the order of their revisions. It is safe for concurrent use.
type Feed interface {
	// Partitions is the number of partitions, fixed for the life of the data.
	Partitions() int
	// Partition is where a session's changes are: 0 to Partitions()-1.
	Partition(sessionID string) int
	// Head is the position after the newest entry of a partition.
	Head(ctx context.Context, partition int) (Position, error)
	// ReadFeed returns up to limit entries after a position, oldest first; none if there are none
	// yet. It never skips an entry silently. It returns ErrTrimmed if an entry after the position is
	// missing, and ErrRewound if the position's own entry is not, or never was, part of the feed. A
	// position stays good after its own entry was trimmed, as long as the oldest entry names it.
	ReadFeed(ctx context.Context, partition int, after Position, limit int) ([]Entry, error)
	// Check judges a position of each partition as ReadFeed does: nil, ErrTrimmed or ErrRewound for
	// each. It costs one round trip, and a further one for a partition that looks trimmed.
	Check(ctx context.Context, positions []Position) (each []error, err error)
	// Follow waits up to block, or less, for entries after the positions (one for each partition) and
	// returns what there is, oldest first within a partition; the entries of a partition are of one
	// moment. It does not judge the positions: compare each entry with the position before it (see
	// Entry.Follows), and call Check now and then. One caller at a time; Close of the store ends it.
	Follow(ctx context.Context, after []Position, block time.Duration) ([]Entry, error)
	// Followed says up to when the calls of Follow have returned all that came to a partition after the
	// positions of the last one; the zero time where none has. For the caller of Follow.
	Followed(partition int) time.Time
}

// Position is a place in a partition of the feed: behind one entry. The zero Seq is the beginning; the
// zero Position is the beginning of whatever data set there is.
type Position struct {
	// Epoch tells one data set from another, such as the one after a FLUSHALL.
	Epoch uint64
	// Seq numbers the partition's entries from 1, without gaps.
	Seq uint64
	// Nonce is the entry's random number: after a failover that lost entries the same Seq comes
	// again, with another one.
	Nonce uint64
}

// Entry is one entry of the feed. It never holds personal data.
type Entry struct {
	Partition int
	// Position is behind this entry.
	Position  Position
	SessionID string
	// Revision is the one that was made; 0 for an entry that only wakes.
	Revision int32
	// Pointer says that a reference may now lead to this session.
	Pointer bool
	// Trace is the trace in which the revision was made: its id and that of a span, 24 bytes; empty
	// where none was kept.
	Trace string
	// Before is the nonce of the entry before this one; 0 for the first entry of a partition. It means
	// something only if Chained is set: entries that an older version wrote do not hold it.
	Before  uint64
	Chained bool
}

// Follows returns nil if the entry is the next one after a position, as far as the entry can tell.
// It returns ErrTrimmed if entries are missing in between, and ErrRewound if the entry before it is
// another one than the position's. An entry that is not Chained tells its number only. The epochs are
// not compared: an entry does not hold one.
func (e Entry) Follows(position Position) error {
	switch {
	case e.Position.Seq != position.Seq+1:
		return fmt.Errorf("%w: entry %d does not follow %d", ErrTrimmed, e.Position.Seq, position.Seq)
	case e.Chained && e.Before != position.Nonce:
		return fmt.Errorf("%w: entry %d follows another entry %d", ErrRewound, e.Position.Seq, position.Seq)
	}
	return nil
}
