package verification

// AbsentAfter is at how many catch-ups in a row Stripe must not know a session until the session is absent.
const AbsentAfter = 3

// AbsentApart is the least number of seconds between two counts. Replicas that start together catch up within minutes of each
// other, and an answer of Stripe that is wrong for a short time must not count three times.
const AbsentApart = 10 * 60

// AbsentSecond is what DueAt returns for an absent session: a second that no clock reaches. So the index of due sessions
// also holds the absent ones, after all others.
const AbsentSecond = 1 << 40

// Absence says at how many catch-ups in a row Stripe did not know a session that is known here. The zero value means none.
type Absence struct {
	// Times is the number of the catch-ups, at most AbsentAfter. It is 0 after NoteUnknown.
	Times int32
	// Revision is Session.Revision at these catch-ups. If it differs, an input has come since and the absence does not count:
	// an older replica keeps the field, but does not end an absence.
	Revision int32
	// Second is the Unix second of the last count, by the clock of the replica that counted. 0 means that an older replica counted.
	Second int64
}

// IsAbsent reports whether Stripe does not know the session, so that it is in no list and is not read again.
func (s Session) IsAbsent() bool {
	return s.Exists() && s.Absence.Revision == s.Revision && s.Absence.Times >= AbsentAfter
}

// NoteUnknown notes that a read outside a catch-up found that Stripe does not know the session. It counts nothing. It makes a
// session that requires input due, so that catch-ups ask for it until Stripe knows it or the session is absent. Other open
// sessions are due anyway.
func NoteUnknown(current Session) (next Session, changed bool) {
	if !current.Exists() || current.Status != StatusRequiresInput || current.Absence.Revision == current.Revision {
		return current, false
	}
	next = current
	next.Absence = Absence{Revision: next.Revision}
	return next, true
}

// NoteAbsent counts a catch-up at which Stripe did not know the session. read is the record from before Stripe was asked, and
// now the Unix second. NoteAbsent changes nothing if an input has come since, or if the last count is less than AbsentApart away.
func NoteAbsent(current, read Session, now int64) (next Session, changed bool) {
	if !current.Exists() || current.IsAbsent() || current.Revision != read.Revision || current.Applied != read.Applied {
		return current, false
	}
	next = current
	if next.Absence.Revision != next.Revision {
		next.Absence = Absence{Revision: next.Revision}
	} else if apart := now - next.Absence.Second; -AbsentApart < apart && apart < AbsentApart {
		return current, false
	}
	next.Absence.Times++
	next.Absence.Second = now
	return next, true
}

// EndAbsence makes the session due again, as if Stripe had been asked for the first time.
func EndAbsence(current Session) (next Session, changed bool) {
	next = current
	next.Absence = Absence{}
	return next, current.Absence != next.Absence
}
