package rpc

import (
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/verification"
)

// cursor is the last revision of a session that a watch has sent. The zero value is before the snapshot.
type cursor resumetoken.Session

// cursorAt returns the cursor after a revision of a session.
func cursorAt(session verification.Session, revision int32) cursor {
	fingerprint, known := session.Fingerprint(revision)
	if !known {
		fingerprint, _ = session.ErasedFingerprint(revision)
	}
	return cursor{ID: session.ID, Revision: revision, Fingerprint: fingerprint}
}

// check returns errTokenExpired if the record no longer continues from the cursor. If the store lost writes, the record
// can have fewer revisions, or other revisions of the same number; and a bounded history can have dropped the next
// revision. A redaction is not a loss: the revisions that it erased collapse into the tombstone.
func (c cursor) check(session verification.Session) error {
	if session.ID != c.ID || session.Revision < c.Revision || c.isRewritten(session) {
		return errTokenExpired
	}
	if !session.Tombstone() && session.Floor() > c.Revision+1 {
		return errTokenExpired
	}
	return nil
}

// isRewritten reports whether the record has another version of the cursor's revision, such as after a FLUSHALL. An
// erased revision keeps its fingerprint for this check. If no fingerprint is kept, because the history was cut or an
// older version erased the revision, or if an older version made a cursor without one, isRewritten returns false: a
// redaction must not refuse a token that was good.
func (c cursor) isRewritten(session verification.Session) bool {
	if fingerprint, known := session.Fingerprint(c.Revision); known {
		return fingerprint != c.Fingerprint
	}
	fingerprint, known := session.ErasedFingerprint(c.Revision)
	return known && c.Fingerprint != 0 && fingerprint != c.Fingerprint
}

// hadOtherReference reports whether the session had another reference since the cursor. Revisions under another reference
// are of another person.
// Before the snapshot only the session's present reference counts.
func (c cursor) hadOtherReference(session verification.Session, reference string) bool {
	if c.Revision == 0 {
		return session.Reference != "" && session.Reference != reference
	}
	return session.ID == c.ID && session.HadOtherReference(reference, c.Revision)
}

// after returns the changes to send next: the snapshot first, then every later revision.
func (c cursor) after(session verification.Session) []verification.Change {
	if c.Revision == 0 {
		return []verification.Change{session.Current()}
	}
	return session.ChangesAfter(c.Revision)
}
