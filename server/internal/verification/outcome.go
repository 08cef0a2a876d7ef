package verification

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// OutcomeID is the name of an outcome: the same outcome of the same session always has the same one, also if the store has lost
// it and it arrived again. The zero value is no name.
type OutcomeID [16]byte

// String returns the id in 22 characters of URL-safe base64 without padding. It returns "" for the zero value.
func (id OutcomeID) String() string {
	if id == (OutcomeID{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// OutcomeKey is the key under which a program acts once on an outcome. An outcome is what an input made of status, error and
// report. Grants, counts, references, redaction and the archive change no outcome.
type OutcomeKey struct {
	// Revision is the newest revision at which status, error or report came to differ from those of the revision before.
	// The first revision is one. 0 means that the session does not exist.
	Revision int32
	// ID is the name of the outcome.
	ID OutcomeID
}

// KeptOutcome is the outcome of one revision that the history alone does not tell: a redaction or the archive erased the entries
// that would tell it, or they were trimmed. It counts only for that revision. Later revisions are compared one by one with the
// revision before them, so an older replica, which keeps the field but does not know it, spoils nothing when it writes.
type KeptOutcome struct {
	OutcomeKey
	// Imported is true if an import found the outcome.
	Imported bool
	// At is the revision whose outcome this is. 0 means that nothing is kept.
	At int32
}

// OutcomeKey returns the key of the outcome that the session shows now. If the record no longer tells which revision brought it,
// Revision is the oldest revision that the record still tells.
func (s Session) OutcomeKey() OutcomeKey { return s.outcomeAt(s.Revision).OutcomeKey }

// outcomeAt returns the outcome of a revision. The record must still tell the revision.
func (s *Session) outcomeAt(revision int32) KeptOutcome {
	o := outcomes{session: s}
	for i := range s.History {
		if entry := &s.History[i]; entry.Revision > 0 && entry.Revision <= revision {
			o.next(entry.Revision, &entry.Result, entry)
		}
	}
	if o.revision < s.Revision && s.Revision == revision {
		o.next(s.Revision, &s.State, nil)
	}
	return o.outcome()
}

// outcomes follows the outcome of a session from revision to revision, the oldest first.
type outcomes struct {
	session  *Session
	revision int32 // the last revision; 0 before the first
	state    State // of the last revision
	current  KeptOutcome
	second   int64 // of the input that brought current; used if current has no ID yet
	brought  State // as the outcome came; used if current has no ID yet
}

// next takes the next revision that the record tells. entry is the one that made the revision, or nil if it is gone.
func (o *outcomes) next(revision int32, state *State, entry *Entry) {
	kept := &o.session.Kept
	follows := o.revision > 0 && o.revision == revision-1
	switch {
	case kept.At == revision:
		o.current = *kept
	case follows && !brings(o.state, *state, o.revision == o.session.ArchivedAt):
	case !follows && kept.At == revision-1 && entry != nil && !entry.canBring():
		o.current = *kept
	default:
		o.current = KeptOutcome{OutcomeKey: OutcomeKey{Revision: revision}}
		o.brought, o.second = *state, state.UpdateTime
		if entry != nil && (follows || revision == 1) {
			o.current.Imported = entry.Source == SourceImport
			o.second = entry.broughtSecond()
		}
	}
	o.revision, o.state = revision, *state
	o.current.At = revision
}

// outcome returns the outcome of the last revision.
func (o *outcomes) outcome() KeptOutcome {
	if o.revision > 0 && o.current.ID == (OutcomeID{}) {
		o.current.ID = outcomeID(o.session.ID, o.brought, o.second)
	}
	return o.current
}

// brings reports whether a state shows another outcome than the state before. What a redaction or the archive erases is no
// difference, and neither is what an input brings back of it. archived is true if the state before is that of an archived session.
func brings(before, state State, archived bool) bool {
	if state.Redaction > RedactionNone {
		before.Error, before.Report = Error{}, ""
	}
	if archived {
		state.Error, state.Report = Error{}, ""
	}
	return state.Status != before.Status || state.Error != before.Error || state.Report != before.Report
}

// canBring reports whether the entry's input can have brought an outcome.
func (e *Entry) canBring() bool {
	switch e.Source {
	case SourceRetry, SourceReplacement, SourceOperator, SourceComparison:
		return false
	default:
		return e.Effect == EffectApplied || e.Effect == EffectPending
	}
}

// broughtSecond returns Stripe's second of the input that brought the outcome of the entry's revision. If the time is erased, it is
// the time of the state.
func (e *Entry) broughtSecond() int64 {
	switch {
	case e.OutcomeTime != 0:
		return e.OutcomeTime
	case e.EventTime != 0:
		return e.EventTime
	default:
		return e.Result.UpdateTime
	}
}

// outcomeID returns the first 16 bytes of the SHA-256 hash of what makes an outcome. Each text is preceded by its length.
func outcomeID(sessionID string, state State, second int64) (id OutcomeID) {
	buf := make([]byte, 0, 192)
	for _, text := range [...]string{sessionID, state.Status, state.Error.Code, state.Report} {
		buf = binary.AppendUvarint(buf, uint64(len(text)))
		buf = append(buf, text...)
	}
	sum := sha256.Sum256(binary.AppendVarint(buf, second))
	copy(id[:], sum[:])
	return id
}

// outcomeSince returns the outcome of the newest revision, given the record before the write and the entry of the write.
func (s *Session) outcomeSince(before Session, entry *Entry) KeptOutcome {
	if before.Exists() && !brings(before.State, s.State, before.IsArchived()) {
		outcome := before.outcomeAt(before.Revision)
		outcome.At = s.Revision
		return outcome
	}
	key := OutcomeKey{Revision: s.Revision, ID: outcomeID(s.ID, s.State, entry.broughtSecond())}
	return KeptOutcome{OutcomeKey: key, Imported: entry.Source == SourceImport, At: s.Revision}
}

// keepOutcome keeps the outcome of the oldest revision that the record still tells, unless the history is whole. whole is the
// record with the entries that this write trims.
func (s *Session) keepOutcome(whole Session) {
	s.Kept = KeptOutcome{}
	if s.History[0].Revision != 1 || s.Tombstone() {
		s.Kept = whole.outcomeAt(s.Floor())
	}
}
