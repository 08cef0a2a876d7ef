package rpc

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// watchReference is watchSession for the newest session that has a reference. When a newer session gets the reference,
// the watch continues with that session's current status. When the shown session gets another reference, it is another
// person's from then on: nothing more of it is sent, and the watch continues with the newest session that still has
// the reference, or ends as a watch that begins now would.
func (w *watcher) watchReference(st *stream, request *verificationv1.WatchStatusRequest, reference string) error {
	var c cursor
	encode := func(c cursor) string { return resumetoken.EncodeReference(reference, resumetoken.Session(c)) }
	look := st.untilWoken(func(ctx context.Context) (verification.Session, error) { return w.newest(ctx, reference, 0) })
	if token := request.GetResumeToken(); token != "" {
		resumed, err := resumetoken.DecodeReference(token, reference)
		if err != nil {
			return err
		}
		c, look = cursor(resumed), w.resumeByReference(reference, cursor(resumed))
	}
	until, token := request.GetUntilSettled(), func() string { return tokenOf(c, encode) }
	for begun := false; ; {
		var settled bool
		err := st.do(func() (err error) {
			settled, err = w.showNewest(st, &c, look, reference, encode)
			return err
		})
		if err == nil && settled && until {
			return nil
		}
		begun = begun || err == nil
		if err := st.pause(token, begun, err); err != nil {
			return err
		}
		if !begun {
			continue
		}
		if look = w.readNewest(reference, c); st.topics != 0 && st.topics&referenceTopic == 0 {
			look = w.readShown(reference, c) // the reference still leads to the same session
		}
	}
}

// referenceTopic is the bit of the first topic of a watch by reference. It is woken whenever the reference can lead to
// another session. So the index, which is not cached, need not be read for each change of the shown session.
const referenceTopic = 1

// showNewest is showSession for a reference. A superseded session does not settle it.
func (w *watcher) showNewest(st *stream, c *cursor, look reader, reference string, encode func(cursor) string) (settled bool, err error) {
	session, err := st.look(look)
	for err == nil {
		if session.ID != c.ID {
			*c = cursor{ID: session.ID}
		}
		if !st.follow(session.ID) {
			if c.hadOtherReference(session, reference) {
				return false, errTokenExpired // it has the reference again, and had another one in between
			}
			*c, err = w.sendAfter(st, &session, *c, encode)
			return session.Settled() && session.SupersededBy == "", err
		}
		// Read again now that its wake-ups arrive: a change can have come in between.
		session, err = st.look(w.readNewest(reference, *c))
	}
	return false, err
}

// follow subscribes to this session and to no other. It returns false if the stream followed the session already.
func (st *stream) follow(id string) bool {
	if st.following == id {
		return false
	}
	if st.following != "" {
		st.woken.Remove(hub.Session(st.following))
	}
	st.woken.Add(hub.Session(id))
	st.following = id
	return true
}

// readShown returns a reader of the shown session, or of the newest session with the reference if the shown one has
// had another reference since.
func (w *watcher) readShown(reference string, shown cursor) reader {
	return func(ctx context.Context) (verification.Session, error) {
		session, err := w.readKnown(shown.ID, shown.Revision)(ctx)
		if err == nil && shown.hadOtherReference(session, reference) {
			return w.newest(ctx, reference, 0)
		}
		return session, err
	}
}

// readNewest returns a reader of the newest session with a reference, or of the shown session while no other is newer:
// a redaction removes the reference of the newest session, and must still be sent.
func (w *watcher) readNewest(reference string, shown cursor) reader {
	return func(ctx context.Context) (verification.Session, error) {
		current, err := w.readShown(reference, shown)(ctx)
		if err != nil || current.ID != shown.ID {
			return current, err
		}
		return w.newestOr(ctx, reference, current)
	}
}

// newestOr returns the newest session that has a reference, or current while no other is newer.
func (w *watcher) newestOr(ctx context.Context, reference string, current verification.Session) (verification.Session, error) {
	newest, err := w.newestKnown(ctx, reference, func(ctx context.Context, id string) (verification.Session, error) {
		if id == current.ID {
			return current, nil
		}
		return w.known(ctx, id, 0)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return current, nil
	case err == nil && newest.ID != current.ID && !newer(newest, current):
		return current, nil
	}
	return newest, err
}

// resumeByReference returns a reader of a token's session if that still has the reference, or else of the newest session
// that has it. Tokens prove nothing: without this check a forged token would show another person's session. The record
// of an archived session names no reference; its reference is looked up as for a new watch.
func (w *watcher) resumeByReference(reference string, c cursor) reader {
	return func(ctx context.Context) (verification.Session, error) {
		session, err := w.readKnown(c.ID, c.Revision)(ctx)
		switch {
		case err != nil:
			return session, err
		case session.Reference == reference:
			return w.newestOr(ctx, reference, session)
		case !session.IsArchived():
			return session, errTokenExpired
		}
		newest, err := w.newest(ctx, reference, 0)
		if errors.Is(err, store.ErrNotFound) || err == nil && newest.ID != session.ID && !newer(newest, session) {
			return session, errTokenExpired
		}
		return newest, err
	}
}

// newer reports whether a is newer than b, of sessions with one reference: by Stripe's creation time, then by id.
func newer(a, b verification.Session) bool {
	if a.Created != b.Created {
		return a.Created > b.Created
	}
	return a.ID > b.ID
}
