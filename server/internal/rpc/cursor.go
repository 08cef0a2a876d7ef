package rpc

import (
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/verification"
)

// cursor is how far a watch has come in one session's revisions. The zero value is before the
// snapshot.
type cursor resumetoken.Session

// at is the cursor behind a revision of a session.
func at(session verification.Session, revision int32) cursor {
	fingerprint, _ := session.Fingerprint(revision)
	return cursor{ID: session.ID, Revision: revision, Fingerprint: fingerprint}
}

// check says whether the record still is the one that the cursor came from. Where the store lost
// writes it may have fewer revisions, or others of the same number; and a bounded history may have
// let go of what follows. A redaction is no loss: what it erased collapses into what is there.
func (c cursor) check(session verification.Session) error {
	if session.ID != c.ID || session.Revision < c.Revision {
		return errTokenExpired
	}
	fingerprint, known := session.Fingerprint(c.Revision)
	switch {
	case known && fingerprint != c.Fingerprint:
		return errTokenExpired
	case !known && !session.Tombstone() && session.Floor() > c.Revision+1:
		return errTokenExpired
	}
	return nil
}

// after returns what is to be sent next: the snapshot first, then every later revision.
func (c cursor) after(session verification.Session) []verification.Change {
	if c.Revision == 0 {
		return []verification.Change{{Revision: session.Revision, State: session.State}}
	}
	return session.ChangesAfter(c.Revision)
}
