package rpc

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// feedPage is how many entries are read at a time.
const feedPage = 100

// afterFailure bounds the reads of pages that follow a failed one in the same round: other partitions of a Cluster node that is
// away can hang too. A partition that is only slow fails then, and has readTimeout when its turn comes again.
const afterFailure = 500 * time.Millisecond

func (w *watcher) partitionTopics() []hub.Topic {
	topics := make([]hub.Topic, w.sessions.Partitions())
	for partition := range topics {
		topics[partition] = hub.Partition(partition)
	}
	return topics
}

// feedWatch is an open watch of all sessions.
type feedWatch struct {
	*watcher
	st     *stream
	filter verification.Filter
	// positions are the positions after the entries that were sent or passed over: one for each partition.
	positions []store.Position
	next      int       // the partition that is read next, see sendFeed
	full      uint64    // the partitions whose last page was full and not from the tail: a bit for each
	away      uint64    // the partitions whose last read failed: a bit for each
	hurried   bool      // a read of this call of sendFeed has failed: the next ones end after afterFailure
	consumer  *consumer // nil: the watch has none
}

// watchAll follows the feed from the positions of the token or of the consumer, else from the heads. It sends the positions
// at once: a watcher whose stream breaks before the first change loses nothing.
func (w *watcher) watchAll(st *stream, request *verificationv1.WatchStatusRequest) (err error) {
	f := &feedWatch{watcher: w, st: st, filter: filterOf(request.GetAllSessions())}
	defer func() { f.close(err) }()
	if err := st.do(func() error { return f.begin(request) }); err != nil {
		return err
	}
	every := uint64(1)<<len(f.positions) - 1
	look := every
	for {
		var rest uint64
		err := st.do(func() (err error) {
			rest, err = f.sendFeed(look)
			return err
		})
		if err != nil && !isUnavailable(err) {
			return err
		}
		look = rest
		pause := pollAfter
		if err == nil {
			st.behind = false
			w.pace(st)
		} else if st.behind { // see stream.pause
			pause = pollAfterFailure
		}
		woken, err := st.wait(f.token, pause)
		if err != nil {
			return err
		}
		look |= woken
		st.behind = st.behind || woken != 0
		if !time.Now().Before(st.pollAt) {
			look = every
		}
	}
}

// begin finds the positions at which the watch begins, and sends them.
func (f *feedWatch) begin(request *verificationv1.WatchStatusRequest) error {
	ctx, cancel := context.WithTimeout(f.st.ctx, readTimeout)
	defer cancel()
	name := request.GetAllSessions().GetConsumer()
	var err error
	if name == "" {
		f.positions, err = f.startOfFeed(ctx, request.GetResumeToken())
	} else {
		err = f.openConsumer(ctx, request)
	}
	if err != nil {
		return f.st.orDraining(err)
	}
	f.next = rand.IntN(len(f.positions))
	return f.st.sendResponse(&verificationv1.WatchStatusResponse{ResumeToken: f.token(), Consumer: name})
}

// startOfFeed returns the positions of a token, or the heads without a token.
func (w *watcher) startOfFeed(ctx context.Context, token string) ([]store.Position, error) {
	positions := make([]store.Position, w.sessions.Partitions())
	if token == "" {
		for partition := range positions {
			head, err := w.sessions.Head(ctx, partition)
			if err != nil {
				return nil, err
			}
			positions[partition] = head
		}
		return positions, nil
	}
	decoded, err := resumetoken.DecodeFeed(token, len(positions))
	if err != nil {
		return nil, err
	}
	return storePositions(decoded), w.check(ctx, storePositions(decoded))
}

// check returns an error if the feed does not hold all entries after the positions. The positions at which a watch begins
// are checked before anything is sent.
func (w *watcher) check(ctx context.Context, positions []store.Position) error {
	for partition, position := range positions {
		if _, err := w.sessions.ReadFeed(ctx, partition, position, 1); err != nil {
			return err
		}
	}
	return nil
}

// sendFeed sends the changes after the positions in the given partitions (a bit for each), and moves the positions. It
// returns the partitions that are not yet read to their end.
//
// It sends one page of each partition in turn, and each stream begins at a random one. With a fixed order, a consumer that is
// restarted again and again before it has handled its backlog never comes to the last partitions. Partitions that cannot be
// read, such as those of one Cluster node, do not hold up the others: see firstOf.
func (f *feedWatch) sendFeed(partitions uint64) (rest uint64, err error) {
	var failed uint64
	defer func() { f.hurried = false }()
	for rest = partitions & (1<<len(f.positions) - 1); ; {
		partition, found := f.firstOf(rest &^ failed)
		if !found {
			return rest, err
		}
		f.next = partition + 1
		bit := uint64(1) << partition
		full, failure := f.sendPage(partition)
		switch {
		case failure == nil:
			f.away &^= bit
		case !isUnavailable(failure) || f.st.ended() != nil:
			return rest, failure
		default:
			failed, f.away, f.hurried = failed|bit, f.away|bit, true
			if err == nil {
				err = failure
			}
			continue
		}
		if !full {
			rest &^= bit
		}
		if failure := f.afterPage(); failure != nil {
			return rest, failure
		}
	}
}

// firstOf returns the partition of several (a bit for each) that is read next. found is false if none is. Partitions whose last read
// failed come after all others, and only while no read of this call has failed: each can take readTimeout.
func (f *feedWatch) firstOf(partitions uint64) (partition int, found bool) {
	switch {
	case partitions&^f.away != 0:
		partitions &^= f.away
	case partitions == 0 || f.hurried:
		return 0, false
	}
	return firstFrom(partitions, f.next), true
}

// firstFrom returns the lowest of the partitions (a bit for each) that is not below from, or the lowest of all if there is none.
func firstFrom(partitions uint64, from int) int {
	if above := partitions >> from << from; above != 0 {
		partitions = above
	}
	return bits.TrailingZeros64(partitions)
}

// sendPage sends one page of one partition. full reports that there can be more.
func (f *feedWatch) sendPage(partition int) (full bool, err error) {
	entries, err := f.readPage(partition)
	if err != nil {
		return false, err
	}
	records := make(map[string]*verification.Session)
	for n, entry := range entries {
		if err := f.st.ended(); err != nil {
			return false, err
		}
		change, session, err := f.derive(records, entries[n:])
		if err != nil {
			return false, err
		}
		f.positions[partition] = entry.Position
		if change.Revision == 0 {
			continue
		}
		if f.consumer != nil {
			f.consumer.sent[partition] = entry.Position // also if the send fails: the caller can have received it
		}
		if err := f.st.respond(f.config.asOf(f.st.ctx, *session, change), f.token()); err != nil {
			return false, err
		}
	}
	return len(entries) == feedPage, nil
}

// afterPage does what wait does between reads: a watch that passes over all entries of a busy feed sends nothing and never
// waits, but needs its heartbeats.
func (f *feedWatch) afterPage() error {
	if err := f.st.ended(); err != nil {
		return err
	}
	if f.st.heartbeat > 0 && !time.Now().Before(f.st.sent.Add(f.st.heartbeat)) && f.st.inTouch() {
		if err := f.st.respond(nil, f.token()); err != nil {
			return err
		}
	}
	f.passOver(time.Now())
	return nil
}

// readPage returns the entries of a partition that follow, from the tail of the feed if the position is there. Most watches of
// all sessions are near the head, and read the same entries. A watch that is more than a page behind reads on in the background: its
// filter can pass over everything, so that no send slows the watch down, and it would take the slots of watches that a change has
// woken.
func (f *feedWatch) readPage(partition int) ([]store.Entry, error) {
	after, bit := f.positions[partition], uint64(1)<<partition
	if entries, ok := f.sessions.Tail(partition, after, feedPage); ok {
		f.full, f.st.catchingUp = f.full&^bit, false
		return entries, nil
	}
	f.st.catchingUp = f.full&bit != 0
	ctx, cancel := f.st.lookContext()
	defer cancel()
	if f.hurried {
		ctx, cancel = context.WithTimeout(ctx, afterFailure)
		defer cancel()
	}
	entries, err := f.sessions.ReadFeed(ctx, partition, after, feedPage)
	if err != nil {
		return nil, f.st.orDraining(err)
	}
	if f.st.catchingUp = len(entries) == feedPage; f.st.catchingUp {
		f.full |= bit
	} else {
		f.full &^= bit
	}
	return entries, nil
}

// derive returns the change of the first entry that the filter selects, from the record as it is now. It returns the zero Change
// if the filter passes the entry over, or if a redaction or a cut of the history removed the change: a newer entry follows.
func (f *feedWatch) derive(records map[string]*verification.Session, entries []store.Entry) (verification.Change, *verification.Session, error) {
	entry := entries[0]
	if entry.Revision == 0 {
		return verification.Change{}, nil, nil
	}
	session, known := records[entry.SessionID]
	if !known {
		var err error
		if session, err = f.recordAt(newestOf(entries)); err != nil {
			return verification.Change{}, nil, err
		}
		records[entry.SessionID] = session
	}
	change, selected := f.filter.Select(*session, entry.Revision)
	if !selected {
		return verification.Change{}, nil, nil
	}
	return change, session, nil
}

// newestOf returns the last entry of the first one's session: a record read for it serves the earlier ones too.
func newestOf(entries []store.Entry) store.Entry {
	for n := len(entries) - 1; n > 0; n-- {
		if entries[n].SessionID == entries[0].SessionID {
			return entries[n]
		}
	}
	return entries[0]
}

// recordAt returns the record of an entry's session. It returns the zero Session if there is none, or if it cannot be read: one
// unreadable record must not stop the watchers of all others, now and at each resume.
func (f *feedWatch) recordAt(entry store.Entry) (*verification.Session, error) {
	if session := f.sessions.PeekAt(entry); session != nil {
		return session, nil
	}
	session, err := f.st.look(func(ctx context.Context) (verification.Session, error) {
		return f.sessions.SessionAt(ctx, entry) // a copy that another read left can be from before a loss
	})
	switch {
	case errors.Is(err, store.ErrCorrupt):
		f.config.Logger.Error("skipping a change for watches of all sessions: its record cannot be read", "session_id", entry.SessionID, "error", err)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	return &session, nil
}

// token returns the token for the next response.
func (f *feedWatch) token() string {
	if c := f.consumer; c != nil {
		return resumetoken.EncodeConsumer(c.name, c.stream.Incarnation(), f.positions)
	}
	return feedToken(f.positions)
}

func feedToken(positions []store.Position) string {
	return resumetoken.EncodeFeed(positions)
}

func storePositions(decoded []resumetoken.Position) []store.Position {
	positions := make([]store.Position, len(decoded))
	for i, position := range decoded {
		positions[i] = store.Position(position)
	}
	return positions
}
