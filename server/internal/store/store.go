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
	// ErrNotFound: the session or reference is not stored.
	ErrNotFound = errors.New("not found in the store")
	// ErrConflict: other writers were faster MaxTries times in a row. Nothing was written. Try again later.
	ErrConflict = errors.New("too many writers at once")
	// ErrUnavailable: the store cannot be reached or did not answer in time. A write might or might not have been made.
	// It is safe to call the same Update again.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrCorrupt: this version cannot read a record. Nothing was written.
	ErrCorrupt = errors.New("a stored record cannot be read")
	// ErrTrimmed: the feed no longer holds all entries after a position.
	ErrTrimmed = errors.New("the feed no longer goes back that far")
	// ErrRewound: the feed does not contain a position. The store has lost its newest writes, or all of them.
	ErrRewound = errors.New("the feed was rewound: the store has lost writes")
)

// MaxTries is how often Update tries to commit before it returns ErrConflict.
const MaxTries = 16

// UpdateFunc returns the next record for the current one, which is the zero Session if none is stored. It must be pure: Update
// can call it several times, and only the last call counts. If write is false or err is not nil, nothing is stored.
// Update returns err unchanged.
type UpdateFunc func(current verification.Session) (next verification.Session, write bool, err error)

// Store stores sessions. It is safe for concurrent use. Every call ends when its context ends. Every error wraps one of this
// package's errors or the error of the context.
type Store interface {
	// Get returns the current record of a session. It never reads a replica or a cache. It returns ErrNotFound if there is
	// no record.
	Get(ctx context.Context, id string) (verification.Session, error)

	// Update reads a record, calls fn, and commits the record that fn returns. If another writer has committed in between,
	// it starts again, up to MaxTries times and with jitter. A commit stores the record, one feed entry for each new
	// revision in order, and the index entry of the reference, or nothing. A commit whose answer was lost is recognized
	// and not made twice. Update returns the record that is stored after the call. If fn writes nothing, Update still
	// makes sure that the index entry exists.
	Update(ctx context.Context, id string, fn UpdateFunc) (verification.Session, error)

	// Newest returns the id of the newest session with a reference: the one with the latest creation time at Stripe, then
	// with the greatest id. A redacted session has no reference. The answer comes from an index, which can be wrong after
	// a crash or a failover; the record decides. It returns ErrNotFound if there is no such session.
	Newest(ctx context.Context, reference string) (id string, err error)
	// Unindex removes a session from the index of a reference, unless its record has this reference. Use it if the answer
	// of Newest contradicts the record, or if there is no record.
	Unindex(ctx context.Context, reference, id string) error

	Feed
	Lists
}

// Feed is the log of all changes. It has partitions. All changes of a session are in one partition, in the order of their
// revisions. It is safe for concurrent use, except Follow.
type Feed interface {
	// Partitions returns the number of partitions. It never changes for existing data.
	Partitions() int
	// Partition returns the partition of a session: 0 to Partitions()-1.
	Partition(sessionID string) int
	// Head returns the position after the newest entry of a partition.
	Head(ctx context.Context, partition int) (Position, error)
	// ReadFeed returns up to limit entries after a position, the oldest first. It returns no entries if there are none yet.
	// It never skips an entry silently: it returns ErrTrimmed if an entry after the position is missing, and ErrRewound if
	// the position's own entry is not in the feed or never was. If that entry was trimmed, the position stays valid as
	// long as the oldest entry refers to it.
	ReadFeed(ctx context.Context, partition int, after Position, limit int) ([]Entry, error)
	// Check checks one position of each partition as ReadFeed does. Each result is nil, ErrTrimmed or ErrRewound. Check
	// costs one round trip, and one more for each partition that looks trimmed.
	Check(ctx context.Context, positions []Position) (each []error, err error)
	// Follow waits at most block for entries after the positions, one position for each partition, and returns them. The
	// entries of a partition are in order and were read at one moment. Follow does not check the positions: compare each
	// entry with the position before it (see Entry.Follows), and call Check from time to time. Only one goroutine may call
	// Follow at a time. Follow returns when the store is closed.
	Follow(ctx context.Context, after []Position, block time.Duration) ([]Entry, error)
	// Followed returns the time up to which Follow has returned every entry of a partition after the positions of its last
	// call. It returns the zero time if there is no such time. Only the caller of Follow may call it.
	Followed(partition int) time.Time
}

// Position is the position after one entry in a partition of the feed. A zero Seq is the beginning. The zero Position is the
// beginning of any data set.
type Position struct {
	// Epoch identifies the data set. After a FLUSHALL there is another one.
	Epoch uint64
	// Seq is the number of the entry. Entries are numbered from 1 without gaps.
	Seq uint64
	// Nonce is the random number of the entry. After a failover that lost entries, the same Seq comes again with another
	// Nonce.
	Nonce uint64
}

// Entry is one entry of the feed. It never contains personal data.
type Entry struct {
	Partition int
	// Position is the position after this entry.
	Position  Position
	SessionID string
	// Revision is the revision that was made. It is 0 for an entry that only wakes watchers.
	Revision int32
	// Pointer is true if this session can now be the newest one of a reference.
	Pointer bool
	// Trace is the trace in which the revision was made: a trace id and a span id, 24 bytes together. It is empty if none
	// was recorded.
	Trace string
	// Before is the nonce of the entry before this one. It is 0 for the first entry of a partition. It is valid only if
	// Chained is true: an older version wrote entries without it.
	Before  uint64
	Chained bool
	// Committed is the Unix second of the commit, by the clock of the server that made it. It is 0 if an older version wrote
	// the entry without it.
	Committed int64
}

// Follows returns nil if the entry is the next one after a position. It returns ErrTrimmed if entries are missing in between,
// and ErrRewound if the entry before this one is another one than the position's. If the entry is not Chained, only its
// number is compared. The epochs are not compared, because an entry does not contain one.
func (e Entry) Follows(position Position) error {
	switch {
	case e.Position.Seq != position.Seq+1:
		return fmt.Errorf("%w: entry %d does not follow %d", ErrTrimmed, e.Position.Seq, position.Seq)
	case e.Chained && e.Before != position.Nonce:
		return fmt.Errorf("%w: entry %d follows another entry %d", ErrRewound, e.Position.Seq, position.Seq)
	}
	return nil
}
