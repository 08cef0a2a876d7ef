package verification

// Change is one revision of a session.
type Change struct {
	Revision int32
	State    State
	// Outcome is the key of the outcome that the revision shows. See Session.OutcomeKey.
	Outcome OutcomeKey
	// Replaces is the session that this one had replaced by then: whose counts it had inherited.
	Replaces string
	imported bool // an import found the outcome
}

// ChangesAfter returns the revisions after the given one, in order, as far as the history holds them. The last one is
// the current state. There is no gap between them, but they begin later than revision+1 if a redaction or the bound of
// the history removed entries. See Floor.
func (s Session) ChangesAfter(revision int32) []Change {
	var changes []Change
	s.eachChangeAfter(revision, func(change Change) bool {
		changes = append(changes, change)
		return true
	})
	return changes
}

// firstAfter returns the first of ChangesAfter. ok is false if there is none. Each stream of all sessions asks for one change of each
// entry, so the others are not made.
func (s *Session) firstAfter(revision int32) (first Change, ok bool) {
	s.eachChangeAfter(revision, func(change Change) bool {
		first, ok = change, true
		return false
	})
	return first, ok
}

// eachChangeAfter calls yield with what ChangesAfter returns, until yield returns false.
func (s *Session) eachChangeAfter(revision int32, yield func(Change) bool) {
	var last LastFailure // as far as the history shows it
	outcomes, inherited := outcomes{session: s}, s.inheritedAt()
	show := func(number int32, state *State) (more bool) {
		if number <= revision {
			return true
		}
		outcome := outcomes.outcome()
		change := Change{Revision: number, State: *state, Outcome: outcome.OutcomeKey, imported: outcome.Imported}
		if number >= inherited {
			change.Replaces = s.Predecessor
		}
		return yield(change)
	}
	for i := range s.History {
		entry := &s.History[i]
		if entry.Revision <= 0 {
			continue
		}
		state := entry.Result
		if state.ShownFailure != 0 {
			last = state.judged()
		}
		last.Granted = last.Granted || entry.Source == SourceRetry
		state.LastFailure = last
		if state.Allowance.Given && state.ShownFailure == 0 { // it was open: see record
			state.LastFailure.ID, state.LastFailure.Granted = state.Allowance.Failure, false
		}
		if entry.Revision == s.Revision {
			state = s.State
		}
		outcomes.next(entry.Revision, &state, entry)
		if !show(entry.Revision, &state) {
			return
		}
	}
	if outcomes.revision < s.Revision { // its entry was trimmed
		outcomes.next(s.Revision, &s.State, nil)
		show(s.Revision, &s.State)
	}
}

// Current returns the newest revision.
func (s Session) Current() Change {
	outcome := s.outcomeAt(s.Revision)
	return Change{Revision: s.Revision, State: s.State, Outcome: outcome.OutcomeKey, Replaces: s.Predecessor, imported: outcome.Imported}
}

// Floor returns the smallest revision that ChangesAfter can return. It returns 0 if the session does not exist.
func (s Session) Floor() int32 {
	for _, entry := range s.History {
		if entry.Revision > 0 {
			return entry.Revision
		}
	}
	return s.Revision
}
