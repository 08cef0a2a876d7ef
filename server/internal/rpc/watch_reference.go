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

// watchReference is watchSession over whichever session is the newest with a reference. When a newer
// one appears it goes on with that one's current status. When the session that is shown gets another
// reference, it is another person's from then on: nothing more of it is sent, and the stream goes on with
// the newest session that still has the reference, or ends as one that begins now would.
func (w *watcher) watchReference(st *stream, request *verificationv1.WatchStatusRequest, reference string) error {
	var c cursor
	encode := func(c cursor) string { return resumetoken.EncodeReference(reference, resumetoken.Session(c)) }
	look := st.untilWoken(func(ctx context.Context) (verification.Session, error) { return w.newest(ctx, reference, 0) })
	if token := request.GetResumeToken(); token != "" {
		place, err := resumetoken.DecodeReference(token, reference)
		if err != nil {
			return err
		}
		c, look = cursor(place), w.bearing(reference, cursor(place))
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
		if look = w.pointed(reference, c); st.topics != 0 && st.topics&referenceTopic == 0 {
			look = w.kept(reference, c) // where the reference leads has not changed
		}
	}
}

// referenceTopic is the one that a watch by reference begins with. It is woken whenever the reference may
// lead elsewhere, so that the index, which is in no memory, need not be asked for every change of the
// session that is shown.
const referenceTopic = 1

// showNewest is showSession for a reference. A superseded session is not the end.
func (w *watcher) showNewest(st *stream, c *cursor, look reader, reference string, encode func(cursor) string) (settled bool, err error) {
	session, err := st.look(look)
	for err == nil {
		if session.ID != c.ID {
			*c = cursor{ID: session.ID}
		}
		if !st.follow(session.ID) {
			if c.strayed(session, reference) {
				return false, errTokenExpired // it has the reference again, and had another one in between
			}
			*c, err = w.sendAfter(st, &session, *c, encode)
			return session.Settled() && session.SupersededBy == "", err
		}
		// Read again now that its wake-ups arrive, lest a change fell in between.
		session, err = st.look(w.pointed(reference, *c))
	}
	return false, err
}

// follow makes the stream be woken by this session and no other; false if it was already.
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

// kept reads the session that is shown, or where the reference leads once that session has strayed from it.
func (w *watcher) kept(reference string, shown cursor) reader {
	return func(ctx context.Context) (verification.Session, error) {
		session, err := w.held(shown.ID, shown.Revision)(ctx)
		if err == nil && shown.strayed(session, reference) {
			return w.newest(ctx, reference, 0)
		}
		return session, err
	}
}

// pointed reads the session that a reference leads to, or the shown one again while none is newer: a
// redaction takes the newest one's reference away, and must still be told.
func (w *watcher) pointed(reference string, shown cursor) reader {
	return func(ctx context.Context) (verification.Session, error) {
		current, err := w.kept(reference, shown)(ctx)
		if err != nil || current.ID != shown.ID {
			return current, err
		}
		return w.newestOr(ctx, reference, current)
	}
}

// newestOr is the newest session that has a reference, or current while none is newer.
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

// bearing reads the session of a token, if it still has the reference, or the newest one that does. Tokens
// prove nothing: without this, a forged one would show a stranger's session. The record of an archived session
// names no reference: that one's is asked for as if the watch began.
func (w *watcher) bearing(reference string, c cursor) reader {
	return func(ctx context.Context) (verification.Session, error) {
		session, err := w.held(c.ID, c.Revision)(ctx)
		switch {
		case err != nil:
			return session, err
		case session.Reference == reference:
			return w.newestOr(ctx, reference, session)
		case !session.Stub():
			return session, errTokenExpired
		}
		newest, err := w.newest(ctx, reference, 0)
		if errors.Is(err, store.ErrNotFound) || err == nil && newest.ID != session.ID && !newer(newest, session) {
			return session, errTokenExpired
		}
		return newest, err
	}
}

// newer is the order of sessions with one reference: Stripe's creation time, then the id.
func newer(a, b verification.Session) bool {
	if a.Created != b.Created {
		return a.Created > b.Created
	}
	return a.ID > b.ID
}
