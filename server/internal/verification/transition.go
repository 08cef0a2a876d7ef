package verification

// verdict is the decision of the rules of order about one input.
type verdict struct {
	applies   bool // the input becomes the state
	ambiguous bool // only Stripe can tell the order; applies then holds if Stripe gives no answer
	agrees    bool // Stripe was read, and says what the input says
}

// Transition applies an event to a session. If outcome.Ambiguous is true, read the session at Stripe and call Resolve; store
// the returned session only if Stripe cannot be read. An event that the session has had before changes nothing.
func Transition(current Session, event Event) (Session, Outcome) {
	if current.knows(event) {
		return duplicate(current, event)
	}
	return applyEvent(current, event, judge(current, event))
}

// duplicate handles an event that the session has had before. It only adds a missing claim and account: the first replica
// that got the event might be of an older version, which does not know claims, and no account that only the context names.
func duplicate(current Session, event Event) (Session, Outcome) {
	next := current
	next.identify(event.Object)
	next.claim(event.Object)
	return next, Outcome{Duplicate: true, Write: next.Replaces != current.Replaces || next.Account != current.Account}
}

// judge applies the rules of order 2 to 7. Of an event that is ahead of this machine's clock only Stripe can tell the order,
// unless the order does not matter.
func judge(current Session, event Event) verdict {
	final := current.Status == StatusCanceled || event.Object.Status == StatusCanceled || current.Exists() && event.Type == EventCreated
	if event.isAhead() && !final {
		return verdict{applies: true, ambiguous: true}
	}
	return judgeSecond(current, event)
}

// judgeSecond applies the rules of order to the event's position. Canceled is final. A `created` event only begins a session.
// The later second wins. Within one second the higher rank wins, unless only Stripe can tell the order.
func judgeSecond(current Session, event Event) verdict {
	says, second := event.Object, event.position()
	if current.detailsErased() {
		says = says.redacted()
	}
	wasVerified := current.Status == StatusVerified
	saysVerified := says.Status == StatusVerified
	switch {
	case !current.Exists():
		return verdict{applies: true}
	case says.Status == StatusCanceled:
		return verdict{applies: current.Status != StatusCanceled || second > current.Second}
	case current.Status == StatusCanceled:
		return verdict{}
	case event.Type == EventCreated:
		return verdict{}
	case second > current.Second:
		return verdict{applies: true, ambiguous: wasVerified && !saysVerified}
	case second < current.Second, second <= current.AsOf:
		return verdict{}
	case says.saysState(current.State):
		return verdict{}
	// These two arrive together every day. A session that was checked never returns to processing.
	case wasVerified && says.Status == StatusProcessing:
		return verdict{}
	case saysVerified && current.Status == StatusProcessing:
		return verdict{applies: true}
	}
	older := rank(current.Status, !current.Error.IsZero())
	newer := rank(says.Status, !says.Error.IsZero())
	return verdict{ambiguous: true, applies: newer > older || newer == older && !wasVerified}
}

// applyEvent returns the record after an event, given the verdict. With every verdict it raises the redaction (rule 3),
// counts a failure that is not yet counted (rule 8), and fills in what was missing.
func applyEvent(current Session, event Event, v verdict) (Session, Outcome) {
	next := current.clone()
	next.Absence = Absence{}
	object := event.Object
	next.identify(object)
	next.Redaction = max(next.Redaction, object.Redaction)
	if v.applies {
		next.show(object, event.position())
	}
	next.describe(current, object, v.applies)
	counted := next.count(object, event.identity(), event.position(), v.applies)
	next.identifyUncounted(current, event.position())
	if v.ambiguous {
		next.Unresolved = true
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
	case v.applies, v.agrees, !sameSeen(withCounts(next.State, current.State), withCounts(current.State, current.State)):
		entry.Effect = EffectApplied
	case counted:
		entry.Effect = EffectCounted
	default:
		entry.Effect = EffectStale
	}
	next.record(current, entry)
	return next, Outcome{Effect: entry.Effect, Write: true, Ambiguous: v.ambiguous, Announced: current.wasAnnounced(event)}
}

// ApplyRead applies an answer of Stripe's API to a session. The read is newer than everything that the record held at the
// start of the GET, so it sets the whole state. outcome.Dropped is true if another input overtook the read. A read that
// equals the state makes no entry and no revision, but it resolves the session.
func ApplyRead(current Session, read Read) (Session, Outcome) {
	return applyRead(current, read, 0, current.confirmedBy(read.Object))
}

// Resolve resolves an ambiguous event by a read of Stripe. It applies the read first and the event second. Each makes a
// revision of its own if it changes something.
func Resolve(current Session, event Event, read Read) (Session, Outcome) {
	if current.knows(event) {
		return duplicate(current, event)
	}
	agrees := event.Object.saysState(objectState(read.Object))
	confirms := event.confirms(read.Object)
	if confirms == 0 {
		confirms = current.confirmedBy(read.Object)
	}
	next, outcome := applyRead(current, read, event.position(), confirms)
	if outcome.Dropped {
		return current, outcome
	}
	// If another input has brought the same state meanwhile, the read changed nothing and the position is still before
	// the event. Without newer, an older event would overwrite both.
	newer := event.position() > next.Second && event.Object.Status == next.Status
	return applyEvent(next, event, verdict{agrees: agrees, applies: agrees && newer})
}

// applyRead is ApplyRead. ambiguousSecond is the second of the ambiguous event that the read resolves, or 0. confirms is Stripe's
// second of the event whose state the read confirms, or 0.
func applyRead(current Session, read Read, ambiguousSecond, confirms int64) (Session, Outcome) {
	if current.Applied != read.Applied {
		return current, Outcome{Dropped: true}
	}
	object := read.Object
	next, shows := current.withRead(read, ambiguousSecond)
	if !shows && (next.Reference != current.Reference || next.Type != current.Type) {
		next.Applied++ // so that a read that began earlier cannot undo the correction
	}
	if !shows && sameSeen(next.State, current.State) && next.ShownFailure == current.ShownFailure {
		return next, Outcome{Write: current.Unresolved || next.Replaces != current.Replaces || next.Account != current.Account ||
			next.Absence != current.Absence || next.LastFailure != current.LastFailure}
	}
	next.record(current, Entry{
		Source: SourceStripeAPI, Effect: EffectApplied,
		EventTime: read.AsOf, RecordTime: read.RecordTime, OutcomeTime: confirms,
		Status: object.Status, Error: object.Error,
	})
	return next, Outcome{Effect: EffectApplied, Write: true}
}

// confirms returns Stripe's second of the first of the events, from this one to the newest that is known, since which the session has
// been as a read shows it. It returns 0 if the newest one says something else.
func (e Event) confirms(read Object) (second int64) {
	for event := &e; event != nil; event = event.Later {
		switch says := event.Object.saysState(objectState(read)); {
		case !says:
			second = 0
		case second == 0:
			second = event.Second
		}
	}
	return second
}

// confirmedBy returns Stripe's second of the newest unresolved event that carried what a read shows. It returns 0 if there is none,
// or if another outcome came since: then the read shows a third one, which must have a name of its own. An event that brought an
// outcome confirms nothing: the read shows that outcome, or another one.
func (s Session) confirmedBy(read Object) (second int64) {
	var before State
	for i := range s.History {
		entry := &s.History[i]
		switch {
		case entry.Revision > 0 && brings(before, entry.Result, false):
			second = 0
		case s.Unresolved && entry.Effect == EffectPending && entry.Status == read.Status && entry.Error == read.Error:
			second = entry.EventTime
		}
		if entry.Revision > 0 {
			before = entry.Result
		}
	}
	return second
}

// withRead returns the session after a read whose second is at least the given one, without an entry. shows is true if the
// read became the state.
func (s Session) withRead(read Read, second int64) (next Session, shows bool) {
	object := read.Object
	next = s.clone()
	next.identify(object)
	next.Unresolved, next.Absence = false, Absence{}
	next.Redaction = max(next.Redaction, object.Redaction)
	// Canceled is final. Stripe's answer is not new only because this service erased the details.
	says := object
	if s.detailsErased() {
		says = says.redacted()
	}
	shows = !next.Exists() || s.Status != StatusCanceled && !says.saysState(s.State)
	if shows {
		next.show(object, max(read.AsOf, second))
		next.AsOf = max(next.AsOf, read.AsOf)
	}
	// The read is newer than the record: it corrects the reference and the type even if the state is the same.
	next.describe(s, object, shows || !s.detailsErased())
	next.count(object, "", next.Second, shows) // next.Second and not AsOf, which can be before an older failure
	next.identifyUncounted(s, 0)
	next.redact()
	return next, shows
}

// identify copies from the first input what never changes. A later input adds the account if it is missing: an older
// version does not know accounts that only the context of an event names.
func (s *Session) identify(object Object) {
	if s.ID == "" {
		s.ID, s.Livemode = object.ID, object.Livemode
	}
	if s.Account == "" {
		s.Account = object.Account
	}
}

// show makes an input the state. Status, error and report always come from the same input.
func (s *Session) show(object Object, second int64) {
	if second > s.Second || object.Status == StatusCanceled {
		s.Unresolved = false
	}
	s.Status, s.Error, s.Report = object.Status, object.Error, object.Report
	if object.Status == StatusCanceled {
		s.Error = Error{} // Stripe clears it too, but a body can still carry it
	}
	s.ShownFailure, s.ShownGranted = 0, false
	s.Second = max(s.Second, second)
	s.UpdateTime = max(s.UpdateTime, second, object.Created) // AsOf of a read can be before the creation
	s.Applied++
}

// describe fills in what an input says besides the state. An input that applies corrects the values. A late input only
// adds missing values, and none that was erased before.
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

// redact erases what a tombstone must not keep. It changes no other session.
func (s *Session) redact() {
	if !s.Tombstone() {
		return
	}
	s.Error, s.Report, s.Reference = Error{}, "", ""
	s.Resolution.Principal, s.Allowance = "", Allowance{}
	s.eraseUsed()
	s.LastFailure.Code = ""
	s.Replacement.ReturnURL = ""
	s.Extra = nil
}

// objectState returns the part of a state that an object determines.
func objectState(o Object) State { return State{Status: o.Status, Error: o.Error, Report: o.Report} }

// withCounts returns s with the counts of another state, to compare everything else. Whether an allowance is open follows from the
// counts.
func withCounts(s, counts State) State {
	s.FailedAttempts, s.RetriesGranted = counts.FailedAttempts, counts.RetriesGranted
	s.Allowance = Allowance{}
	return s
}
