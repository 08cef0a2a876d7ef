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

// watchAll follows the feed from the token's position, or from its head, which is told at once: a
// watcher that is cut off before the first change loses nothing.
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
		if err != nil && !away(err) {
			return err
		}
		look = rest
		pause := lookAgain
		if err == nil {
			st.behind = false
		} else if st.behind { // see stream.pause
			pause = lookAgainFailed
		}
		woken, err := st.wait(token, pause)
		if err != nil {
			return err
		}
		look |= woken
		st.behind = st.behind || woken != 0
		if !time.Now().Before(st.lookAt) {
			look = every
		}
	}
}

// startOfFeed is where a watch begins. A token's positions are checked before anything is sent.
func (w *watcher) startOfFeed(st *stream, token string) ([]store.Position, error) {
	ctx, cancel := context.WithTimeout(st.ctx, lookTimeout)
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
	places, err := resumetoken.DecodeFeed(token, len(positions))
	if err != nil {
		return nil, err
	}
	for partition, place := range places {
		positions[partition] = store.Position(place)
		if _, err := w.sessions.ReadFeed(ctx, partition, positions[partition], 1); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// sendFeed sends what the named partitions hold after the positions, and moves these. It returns the
// partitions not yet read to their end.
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

// sendPage sends one page of one partition; full says that there may be more.
func (w *watcher) sendPage(st *stream, positions []store.Position, partition int) (full bool, err error) {
	ctx, cancel := st.lookContext()
	entries, err := w.sessions.ReadFeed(ctx, partition, positions[partition], feedPage)
	cancel() // no bound of a look spans the sends: a caller may read slowly
	if err != nil {
		return false, st.orDraining(err)
	}
	records := make(map[string]verification.Session)
	for _, entry := range entries {
		if err := st.ended(); err != nil {
			return false, err
		}
		change, session, err := w.derive(st, records, entry)
		if err != nil {
			return false, err
		}
		positions[partition] = entry.Position
		if change.Revision == 0 {
			continue
		}
		if err := st.respond(w.config.asOf(session, change), feedToken(positions)); err != nil {
			return false, err
		}
	}
	return len(entries) == feedPage, nil
}

// derive makes a change from the record as it is now. The zero change is one that a redaction or a
// cut took away: a newer entry follows.
func (w *watcher) derive(st *stream, records map[string]verification.Session, entry store.Entry) (verification.Change, verification.Session, error) {
	if entry.Revision == 0 {
		return verification.Change{}, verification.Session{}, nil
	}
	session, known := records[entry.SessionID]
	if !known {
		var err error
		session, err = st.look(func(ctx context.Context) (verification.Session, error) {
			return w.sessions.Get(ctx, entry.SessionID) // not from memory, which may be of before a loss
		})
		switch {
		case errors.Is(err, store.ErrCorrupt):
			// One unreadable record must not stop the watchers of all others, now and at each resume.
			w.config.Logger.Error("a change cannot be told to watchers of all sessions", "session_id", entry.SessionID, "error", err)
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return verification.Change{}, session, err
		}
		records[entry.SessionID] = session
	}
	changes := session.ChangesAfter(entry.Revision - 1)
	if len(changes) == 0 || changes[0].Revision != entry.Revision {
		return verification.Change{}, session, nil
	}
	return changes[0], session, nil
}

func feedToken(positions []store.Position) string {
	places := make([]resumetoken.Position, len(positions))
	for i, position := range positions {
		places[i] = resumetoken.Position(position)
	}
	return resumetoken.EncodeFeed(places)
}
