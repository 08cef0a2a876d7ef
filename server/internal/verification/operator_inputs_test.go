package verification

import "pgregory.net/rapid"

// says draws what Stripe says.
func (l *operatedLife) says() Object {
	t := l.t
	status := rapid.SampledFrom([]string{StatusRequiresInput, StatusRequiresInput, StatusRequiresInput, StatusProcessing, StatusVerified, StatusCanceled}).Draw(t, "status")
	o := object(status, Error{}, rapid.SampledFrom([]string{"", "", "vr_1", "vr_2", "vr_3"}).Draw(t, "report"))
	if status == StatusRequiresInput {
		o.Error = rapid.SampledFrom([]Error{expired, expired, mismatch, mismatch, abandoned, {}}).Draw(t, "error")
	}
	return o
}

// input draws an input that is not an operator's, and returns the record after it.
func (l *operatedLife) input(s Session) Session {
	if s.Exists() && rapid.IntRange(0, 2).Draw(l.t, "own") == 0 {
		return l.own(s)
	}
	t := l.t
	l.events++
	o := l.says()
	e := event(name("evt", l.events), rapid.SampledFrom([]string{EventRequiresInput, EventProcessing}).Draw(t, "type"),
		l.now+rapid.Int64Range(-4, 0).Draw(t, "late"), o)
	got := Read{Object: o, AsOf: l.now - rapid.Int64Range(0, 2).Draw(t, "as of"), Applied: s.Applied, RecordTime: l.now * 1000}
	switch rapid.SampledFrom([]string{"event", "event", "event", "again", "resolved", "read", "read", "thin", "redact", "import", "import"}).Draw(t, "input") {
	case "again":
		e.ID = name("evt", rapid.IntRange(1, l.events).Draw(t, "again"))
	case "resolved":
		if _, outcome := Transition(s, e); outcome.Ambiguous {
			s, _ = Resolve(s, e, got)
			return s
		}
	case "read":
		s, _ = ApplyRead(s, got)
		return s
	case "thin":
		e.Type, e.Thin, e.Object = ThinPrefix+e.Type, true, Object{ID: "vs_1"}
		s, _ = ApplyThin(s, e, got)
		return s
	case "import":
		if !s.Exists() {
			s, _ = ApplyImport(s, Listed{Object: o, AsOf: got.AsOf, RecordTime: got.RecordTime})
			return s
		}
	case "redact":
		if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			e.Object.Redaction = rapid.SampledFrom([]Redaction{RedactionProcessing, RedactionRedacted}).Draw(t, "redaction")
		}
	}
	s, _ = Transition(s, e)
	return s
}

// own draws what this service does itself.
func (l *operatedLife) own(s Session) Session {
	now := at(l.now)
	switch rapid.SampledFrom([]string{"grant", "grant", "grant", "replace", "replace", "revoke", "supersede", "replaced", "inherit", "archive", "unknown", "absent"}).Draw(l.t, "act") {
	case "grant":
		s, _, _ = GrantRetry(s, l.policy, now, "SECRET-CALLER")
	case "replace":
		if s.Status == StatusCanceled && s.SupersededBy == "" {
			s, _, _ = GrantReplacement(s, l.policy, now, "SECRET-CALLER", backTo)
		}
	case "revoke":
		s, _ = RevokeReplacement(s, backTo, now)
	case "supersede":
		if s.Replacement.Granted {
			s, _ = Supersede(s, "vs_2", now)
		}
	case "replaced": // by a call whose grant another call might have revoked
		if s.Status == StatusCanceled && l.policy.Remaining(s.State) > 0 {
			s, _ = Replace(s, "vs_2", now)
		}
	case "inherit":
		before := s.Overrides
		s, _ = Inherit(s, Session{ID: "vs_0", State: State{FailedAttempts: 3, RetriesGranted: 2, Overrides: 1}}, now)
		l.inherited += s.Overrides - before
	case "archive":
		s, _ = Archive(s, 1, at(l.now+10_000))
	case "unknown":
		s, _ = NoteUnknown(s)
	case "absent":
		s, _ = NoteAbsent(s, s, l.now)
	}
	return s
}

// putOlder is put for a write of the version before. A write that erases drops what that version does not know.
func (l *operatedLife) putOlder(next Session) {
	for revision := l.record.Revision; revision <= next.Revision; revision++ {
		l.older[revision] = true
	}
	if view, told := l.live[next.Revision]; told { // that version does not see that an allowance opens or closes, and makes no revision
		view.open = next.OverrideOpen()
		l.live[next.Revision] = view
	}
	if len(next.Erased) > len(l.record.Erased) || next.Tombstone() {
		l.forgotten = true
		l.live = make(map[int32]operatedView)
		for _, change := range next.ChangesAfter(0) {
			l.live[change.Revision] = operatedOf(change)
		}
		l.record = next
	}
	l.put(next)
}

// byVersionBefore returns the record after a write of a replica that keeps the fields of operators and comparisons as unknown ones.
func byVersionBefore(known Session, write func(Session) Session) Session {
	hide := func(s *State) { s.Resolution, s.Allowance, s.Overrides = Resolution{}, Allowance{}, 0 }
	show := func(s *State, from State) {
		s.Resolution, s.Allowance, s.Overrides = from.Resolution, from.Allowance, from.Overrides
	}
	current := deepCopy(known)
	hide(&current.State)
	current.Comparisons, current.Inherited.Overrides, current.Replacement.Used = nil, 0, Allowance{}
	current.Extra = []byte("unknown fields")
	for i := range current.History {
		entry := &current.History[i]
		hide(&entry.Result)
		entry.Operation, entry.Compared, entry.Extra = 0, 0, []byte{byte(i)}
	}
	next := deepCopy(write(current))
	var newest State
	for i := range next.History {
		entry := &next.History[i]
		from := newest // an entry without the fields has those of the entry before
		if entry.Extra != nil {
			was := known.History[entry.Extra[0]]
			from, entry.Operation, entry.Compared, entry.Extra = was.Result, was.Operation, was.Compared, nil
			entry.Result.ShownFailure = from.ShownFailure // that version gives an imported failure its identity in the newest state alone
		}
		if entry.Revision > 0 {
			show(&entry.Result, from)
			newest = entry.Result
		}
	}
	show(&next.State, newest)
	if next.Extra != nil {
		show(&next.State, known.State)
		next.Comparisons, next.Inherited.Overrides, next.Replacement.Used, next.Extra = known.Comparisons, known.Inherited.Overrides, known.Replacement.Used, nil
	} else {
		next.Inherited.Overrides, next.Replacement.Used = 0, Allowance{}
	}
	if !next.Replacement.Granted { // as the codec reads it
		next = next.WithAllowanceBack()
	}
	return next
}
