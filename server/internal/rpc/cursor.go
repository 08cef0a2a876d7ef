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
	fingerprint, known := session.Fingerprint(revision)
	if !known {
		fingerprint, _ = session.ErasedFingerprint(revision)
	}
	return cursor{ID: session.ID, Revision: revision, Fingerprint: fingerprint}
}

// check says whether the record still is the one that the cursor came from. Where the store lost
// writes it may have fewer revisions, or others of the same number; and a bounded history may have
// let go of what follows. A redaction is no loss: what it erased collapses into what is there.
func (c cursor) check(session verification.Session) error {
	if session.ID != c.ID || session.Revision < c.Revision || c.remade(session) {
		return errTokenExpired
	}
	if !session.Tombstone() && session.Floor() > c.Revision+1 {
		return errTokenExpired
	}
	return nil
}

// remade reports whether the cursor's revision is another one than the record's with the same number, such as
// after a FLUSHALL. An erased revision keeps its fingerprint for that. Where none is kept, because the history
// was cut or an older version erased it, and where an older version gave a cursor without one, nothing can be
// told: a redaction must not refuse a token that was good.
func (c cursor) remade(session verification.Session) bool {
	if fingerprint, known := session.Fingerprint(c.Revision); known {
		return fingerprint != c.Fingerprint
	}
	fingerprint, known := session.ErasedFingerprint(c.Revision)
	return known && c.Fingerprint != 0 && fingerprint != c.Fingerprint
}

// strayed reports whether the session had another reference since the cursor: what followed it then was
// another person's. Before the snapshot it is what the session has now that counts.
func (c cursor) strayed(session verification.Session, reference string) bool {
	if c.Revision == 0 {
		return session.Reference != "" && session.Reference != reference
	}
	return session.ID == c.ID && session.Strayed(reference, c.Revision)
}

// after returns what is to be sent next: the snapshot first, then every later revision.
func (c cursor) after(session verification.Session) []verification.Change {
	if c.Revision == 0 {
		return []verification.Change{{Revision: session.Revision, State: session.State}}
	}
	return session.ChangesAfter(c.Revision)
}
