package rpc

import (
	"context"
	"errors"
	"math/bits"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// feedPage is how many entries are read at a time.
const feedPage = 100

func (w *watcher) partitionTopics() []hub.Topic {
	topics := make([]hub.Topic, w.sessions.Partitions())
	for partition := range topics {
		topics[partition] = hub.Partition(partition)
	}
	return topics
}

// watchAll follows the feed from the token's positions, or from its heads. It sends the positions at once: a watcher
// whose stream breaks before the first change loses nothing.
func (w *watcher) watchAll(st *stream, request *verificationv1.WatchStatusRequest) error {
	var positions []store.Position
	token := func() string { return feedToken(positions) }
	begin := func() (err error) {
		if positions, err = w.startOfFeed(st, request.GetResumeToken()); err != nil {
			return err
		}
		return st.respond(nil, token())
	}
	if err := st.do(begin); err != nil {
		return err
	}
	every := uint64(1)<<len(positions) - 1
	look := every
	for {
		var rest uint64
		err := st.do(func() (err error) {
			rest, err = w.sendFeed(st, positions, look)
			return err
		})
		if err != nil && !isUnavailable(err) {
			return err
		}
		look = rest
		pause := pollAfter
		if err == nil {
			st.behind = false
		} else if st.behind { // see stream.pause
			pause = pollAfterFailure
		}
		woken, err := st.wait(token, pause)
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

// startOfFeed returns the positions at which a watch begins. A token's positions are checked before anything is sent.
func (w *watcher) startOfFeed(st *stream, token string) ([]store.Position, error) {
	ctx, cancel := context.WithTimeout(st.ctx, readTimeout)
	defer cancel()
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
	for partition, position := range decoded {
		positions[partition] = store.Position(position)
		if _, err := w.sessions.ReadFeed(ctx, partition, positions[partition], 1); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// sendFeed sends the changes after the positions in the given partitions (a bit for each), and moves the positions. It
// returns the partitions that are not yet read to their end.
func (w *watcher) sendFeed(st *stream, positions []store.Position, partitions uint64) (rest uint64, err error) {
	for rest = partitions & (1<<len(positions) - 1); rest != 0; {
		partition := bits.TrailingZeros64(rest)
		full, err := w.sendPage(st, positions, partition)
		if err != nil {
			return rest, err
		}
		if !full {
			rest &^= 1 << partition
		}
	}
	return 0, nil
}

// sendPage sends one page of one partition. full reports that there can be more.
func (w *watcher) sendPage(st *stream, positions []store.Position, partition int) (full bool, err error) {
	entries, err := w.readPage(st, partition, positions[partition])
	if err != nil {
		return false, err
	}
	records := make(map[string]*verification.Session)
	for n, entry := range entries {
		if err := st.ended(); err != nil {
			return false, err
		}
		change, session, err := w.derive(st, records, entries[n:])
		if err != nil {
			return false, err
		}
		positions[partition] = entry.Position
		if change.Revision == 0 {
			continue
		}
		if err := st.respond(w.config.asOf(*session, change), feedToken(positions)); err != nil {
			return false, err
		}
	}
	return len(entries) == feedPage, nil
}

// readPage returns the entries after a position, from the tail of the feed if the position is there. Most watches of all sessions
// are near the head, and read the same entries.
func (w *watcher) readPage(st *stream, partition int, after store.Position) ([]store.Entry, error) {
	if entries, ok := w.sessions.Tail(partition, after, feedPage); ok {
		return entries, nil
	}
	ctx, cancel := st.lookContext()
	defer cancel()
	entries, err := w.sessions.ReadFeed(ctx, partition, after, feedPage)
	return entries, st.orDraining(err)
}

// derive returns the change of the first entry, from the record as it is now. It returns the zero Change if a redaction or a cut
// of the history removed the change: a newer entry follows.
func (w *watcher) derive(st *stream, records map[string]*verification.Session, entries []store.Entry) (verification.Change, *verification.Session, error) {
	entry := entries[0]
	if entry.Revision == 0 {
		return verification.Change{}, nil, nil
	}
	session, known := records[entry.SessionID]
	if !known {
		var err error
		if session, err = w.recordAt(st, newestOf(entries)); err != nil {
			return verification.Change{}, nil, err
		}
		records[entry.SessionID] = session
	}
	changes := session.ChangesAfter(entry.Revision - 1)
	if len(changes) == 0 || changes[0].Revision != entry.Revision {
		return verification.Change{}, session, nil
	}
	return changes[0], session, nil
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
func (w *watcher) recordAt(st *stream, entry store.Entry) (*verification.Session, error) {
	if session := w.sessions.PeekAt(entry); session != nil {
		return session, nil
	}
	session, err := st.look(func(ctx context.Context) (verification.Session, error) {
		return w.sessions.SessionAt(ctx, entry) // a copy that another read left can be from before a loss
	})
	switch {
	case errors.Is(err, store.ErrCorrupt):
		w.config.Logger.Error("skipping a change for watches of all sessions: its record cannot be read", "session_id", entry.SessionID, "error", err)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	return &session, nil
}

func feedToken(positions []store.Position) string {
	encoded := make([]resumetoken.Position, len(positions))
	for i, position := range positions {
		encoded[i] = resumetoken.Position(position)
	}
	return resumetoken.EncodeFeed(encoded)
}
