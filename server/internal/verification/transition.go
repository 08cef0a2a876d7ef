package verification

// verdict is what the rules of order say about one input.
type verdict struct {
	applies   bool // it becomes the state
	ambiguous bool // only Stripe can tell; applies is then the rule without an answer
	agrees    bool // Stripe was asked, and says what the input says
}

// Transition applies an event to a session. Where outcome.Doubt is set, ask Stripe and call Settle;
// the session returned is the one to store if Stripe cannot be asked.
func Transition(current Session, event Event) (Session, Outcome) {
	if current.Knows(event.ID) {
		return duplicate(current, event)
	}
	return applyEvent(current, event, judge(current, event))
}

// duplicate changes nothing but a claim that is not kept yet: a replica of an older version, which does
// not know of claims, may have been the first to get the event.
func duplicate(current Session, event Event) (Session, Outcome) {
	next := current
	next.claim(event.Object)
	return next, Outcome{Duplicate: true, Write: next.Replaces != current.Replaces}
}

// judge is the order of events, rules 2 to 7: canceled is final, `created` only begins, the newer
// second wins, and of one second the higher rank, unless only Stripe can tell.
func judge(current Session, event Event) verdict {
	says := event.Object
	if current.detailsErased() {
		says = says.redacted()
	}
	wasVerified := current.Status == StatusVerified
	saysVerified := says.Status == StatusVerified
	switch {
	case !current.Exists():
		return verdict{applies: true}
	case says.Status == StatusCanceled:
		return verdict{applies: current.Status != StatusCanceled || event.Second > current.Second}
	case current.Status == StatusCanceled:
		return verdict{}
	case event.Type == EventCreated:
		return verdict{}
	case event.Second > current.Second:
		return verdict{applies: true, ambiguous: wasVerified && !saysVerified}
	case event.Second < current.Second, event.Second <= current.AsOf:
		return verdict{}
	case says.saysState(current.State):
		return verdict{}
	// Both arrive together every day; no checked session goes back to being checked.
	case wasVerified && says.Status == StatusProcessing:
		return verdict{}
	case saysVerified && current.Status == StatusProcessing:
		return verdict{applies: true}
	}
	older := rank(current.Status, !current.Error.IsZero())
	newer := rank(says.Status, !says.Error.IsZero())
	return verdict{ambiguous: true, applies: newer > older || newer == older && !wasVerified}
}

// applyEvent makes the record after an event, given the verdict. Whatever that is, redaction rises
// (rule 3), a failure not yet counted is counted (rule 8), and what was not known yet is filled in.
func applyEvent(current Session, event Event, v verdict) (Session, Outcome) {
	next := current.clone()
	object := event.Object
	next.identify(object)
	next.Redaction = max(next.Redaction, object.Redaction)
	if v.applies {
		next.show(object, event.Second)
	}
	next.describe(current, object, v.applies)
	counted := next.count(object, event.ID, event.Second, v.applies)
	if v.ambiguous {
		next.Pending = true
	}

	entry := Entry{
		EventID: event.ID, EventType: event.Type, Source: event.Source,
		EventTime: event.Second, RecordTime: event.RecordTime,
		Status: object.Status, Error: object.Error,
	}
	next.redact()
	switch {
	case v.ambiguous:
		entry.Effect = EffectPending
	case v.applies, v.agrees, !sameSeen(withCounts(next.State, current.State), current.State):
		entry.Effect = EffectApplied
	case counted:
		entry.Effect = EffectCounted
	default:
		entry.Effect = EffectStale
	}
	next.record(current, entry)
	return next, Outcome{Effect: entry.Effect, Write: true, Doubt: v.ambiguous}
}

// ApplyRead applies what Stripe's API said about a session. A read is newer than everything the
// record held when its GET began: it sets the whole state. A read that was overtaken is dropped, and
// one that shows what the record shows is no input, but ends a doubt.
func ApplyRead(current Session, read Read) (Session, Outcome) {
	return applyRead(current, read, 0)
}

// Settle decides a doubt by what Stripe said: the read first, then the event, each with a revision
// of its own where it changed something.
func Settle(current Session, event Event, read Read) (Session, Outcome) {
	if current.Knows(event.ID) {
		return duplicate(current, event)
	}
	next, outcome := applyRead(current, read, event.Second)
	if outcome.Dropped {
		return current, outcome
	}
	agrees := event.Object.saysState(objectState(read.Object))
	// Where the record came to say the same from another input meanwhile, the read was none, and the
	// position is still before the event: without it an older event would overwrite both.
	newer := event.Second > next.Second && event.Object.Status == next.Status
	return applyEvent(next, event, verdict{agrees: agrees, applies: agrees && newer})
}

// applyRead is ApplyRead; ambiguousSecond is the second of the event that was in doubt, or 0.
func applyRead(current Session, read Read, ambiguousSecond int64) (Session, Outcome) {
	if current.Applied != read.Applied {
		return current, Outcome{Dropped: true}
	}
	object := read.Object
	next := current.clone()
	next.identify(object)
	next.Pending = false
	next.Redaction = max(next.Redaction, object.Redaction)
	// Nothing leaves canceled, and what was erased here does not make Stripe's answer new.
	says := object
	if current.detailsErased() {
		says = says.redacted()
	}
	shows := !next.Exists() || current.Status != StatusCanceled && !says.saysState(current.State)
	if shows {
		next.show(object, max(read.AsOf, ambiguousSecond))
		next.AsOf = max(next.AsOf, read.AsOf)
	}
	// It is newer than the record: it corrects the reference and the type also where the state is the same.
	next.describe(current, object, shows || !current.detailsErased())
	next.count(object, "", next.Second, shows) // as_of may be before a failure that is older than this one
	next.redact()
	if !shows && (next.Reference != current.Reference || next.Type != current.Type) {
		next.Applied++ // a read that began before this one must not take it back
	}
	if !shows && sameSeen(next.State, current.State) && next.ShownFailure == current.ShownFailure {
		return next, Outcome{Write: current.Pending || next.Replaces != current.Replaces}
	}
	next.record(current, Entry{
		Source: SourceStripeAPI, Effect: EffectApplied,
		EventTime: read.AsOf, RecordTime: read.RecordTime,
		Status: object.Status, Error: object.Error,
	})
	return next, Outcome{Effect: EffectApplied, Write: true}
}

// identify takes over, from the first input, what never changes.
func (s *Session) identify(object Object) {
	if s.ID == "" {
		s.ID, s.Account, s.Livemode = object.ID, object.Account, object.Livemode
	}
}

// show makes an input the state. Status, error and report always are those of one input.
func (s *Session) show(object Object, second int64) {
	if second > s.Second || object.Status == StatusCanceled {
		s.Pending = false
	}
	s.Status, s.Error, s.Report = object.Status, object.Error, object.Report
	if object.Status == StatusCanceled {
		s.Error = Error{} // Stripe clears it too; a body may still carry it
	}
	s.ShownFailure, s.ShownGranted = 0, false
	s.Second = max(s.Second, second)
	s.UpdateTime = max(s.UpdateTime, second, object.Created) // a read may be as of before the creation
	s.Applied++
}

// describe fills in what an input tells beside the state. An input that applies may correct it; a
// late one only adds what is missing, and nothing that was erased before.
func (s *Session) describe(before Session, object Object, applies bool) {
	if !applies && before.detailsErased() {
		object = object.redacted()
	}
	if object.Type != "" && (applies || s.Type == "") {
		s.Type = object.Type
	}
	if object.Reference != "" && (applies || s.Reference == "") {
		s.Reference = object.Reference
	}
	if s.Created == 0 {
		s.Created = object.Created
	}
	s.claim(object)
}

// redact erases what a redacted session must not keep.
func (s *Session) redact() {
	if !s.Tombstone() {
		return
	}
	s.Error, s.Report, s.Reference = Error{}, "", ""
	s.LastFailure.Code = ""
	s.Replacement.ReturnURL = ""
	s.Extra = nil
}

// objectState is the part of a state that an object says.
func objectState(o Object) State { return State{Status: o.Status, Error: o.Error, Report: o.Report} }

// withCounts is a state with another's counts, to see whether anything else differs.
func withCounts(s, counts State) State {
	s.FailedAttempts, s.RetriesGranted = counts.FailedAttempts, counts.RetriesGranted
	return s
}
