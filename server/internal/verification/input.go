package verification

// The six event types of Stripe Identity sessions.
const (
	EventCreated       = "identity.verification_session.created"
	EventProcessing    = "identity.verification_session.processing"
	EventRequiresInput = "identity.verification_session.requires_input"
	EventVerified      = "identity.verification_session.verified"
	EventCanceled      = "identity.verification_session.canceled"
	EventRedacted      = "identity.verification_session.redacted"
)

// ThinPrefix begins the type of a thin event. The rest is the type of the snapshot event of the same change.
const ThinPrefix = "v1."

// Source is the origin of an input. The API contract has the same numbers.
type Source uint8

// The sources.
const (
	SourceWebhook   Source = 1
	SourceStripeAPI Source = 2
	SourceRetry     Source = 3
	// SourceReplacement is a change that the replacement of a closed session made.
	SourceReplacement Source = 4
	// SourceOperator is an operator: see AllowRetry and ResolveVerification.
	SourceOperator Source = 5
	// SourceImport is Stripe's list of sessions, read by an import.
	SourceImport Source = 6
	// SourceComparison is a comparison of verified outputs: see Compare.
	SourceComparison Source = 7
)

// Effect is the effect of an input on the record. The API contract has the same numbers.
type Effect uint8

// The effects.
const (
	// EffectApplied: the input became the state, or added to the visible state.
	EffectApplied Effect = 1
	// EffectStale: the input changed nothing.
	EffectStale Effect = 2
	// EffectCounted: the input was too late for the state, but its failure was not yet counted.
	EffectCounted Effect = 3
	// EffectPending: the order is ambiguous and Stripe could not be read. The rules decided.
	EffectPending Effect = 4
)

// String returns the effect as one word, for logs and traces.
func (e Effect) String() string {
	switch e {
	case EffectApplied:
		return "applied"
	case EffectStale:
		return "stale"
	case EffectCounted:
		return "counted"
	case EffectPending:
		return "pending"
	default:
		return "none"
	}
}

// Object is a verification session as Stripe described it at one moment. It holds no secret.
type Object struct {
	ID      string
	Account string
	// ByContext is true if the event names the account in `context` only, as those of an organization do. Requests for such an
	// account need another header. The record does not keep it.
	ByContext bool
	Livemode  bool
	Type      string
	Status    string
	Error     Error
	Report    string
	Created   int64
	Reference string
	// ReferenceTooLong is true if Reference is empty only because the reference at Stripe is too long for this service.
	ReferenceTooLong bool
	// Replaces is the session id under ReplacesKey in the metadata. It is empty if there is none.
	Replaces  string
	Redaction Redaction
}

// Event is one of Stripe's events about one session.
type Event struct {
	// ID is Stripe's event id, "evt_...".
	ID string
	// Type is Stripe's event type, verbatim. The status comes from Object and never from Type.
	Type string
	// Source is how the event came here: by webhook, or from Stripe's list of events.
	Source Source
	// Second is Stripe's `created`, in Unix seconds.
	Second int64
	// RecordTime is when this service received the event, in Unix milliseconds. 0 means that it is not known.
	RecordTime int64
	// Object is the session at the time of the event. Of a thin event it says only which session it is.
	Object Object
	// Thin is true if the event holds no state: the session must be read. See ApplyThin.
	Thin bool
	// Snapshot is the id of the snapshot event of the same change, if a thin event names it.
	Snapshot string
	// Later is the next newer event of the session, if the caller knows it. The later events say when the state came that a read
	// shows. See Resolve.
	Later *Event
	// ModeUnknown is true if a thin event does not say its mode. Object.Livemode is then false, and only the read knows the mode.
	ModeUnknown bool
}

// maxAhead is how far, in seconds, an event's time can be ahead of this machine's clock. The webhook takes signatures of the same
// range.
const maxAhead = 5 * 60

// isAhead reports whether the event claims a time so far in the future that a clock must be wrong.
func (e Event) isAhead() bool {
	return e.RecordTime > 0 && e.Second > e.RecordTime/1000+maxAhead
}

// position returns the second at which the event stands in the order: Stripe's or, if that is ahead, the second of its arrival.
// Otherwise the event would make all later events stale until that time.
func (e Event) position() int64 {
	if e.isAhead() {
		return e.RecordTime / 1000
	}
	return e.Second
}

// Read is the answer to a GET of one session at Stripe.
type Read struct {
	// Object is the session at the time of the answer.
	Object Object
	// AsOf is a Unix second: Object includes all that happened at Stripe before it. It is the answer's Date less the
	// call's duration, less one second. It never depends on this machine's clock.
	AsOf int64
	// Applied is Session.Applied at the start of the GET.
	Applied uint32
	// RecordTime is when this service recorded the answer, in Unix milliseconds.
	RecordTime int64
}

// Outcome is the result of applying an input to a record.
type Outcome struct {
	// Effect is the effect in the history entry. It is 0 if the input made no entry.
	Effect Effect
	// Write is true if the record changed, even if only its history did, and must be stored.
	Write bool
	// Duplicate is true if the session has had the event before.
	Duplicate bool
	// Ambiguous is true if the order is ambiguous: only Stripe can tell it. Store the returned record only if Stripe
	// cannot be read.
	Ambiguous bool
	// Dropped is true if another input overtook the read. Read the session again.
	Dropped bool
	// Announced is true if a thin event has announced the change of this new snapshot event before. No delivery was missed.
	Announced bool
}

// isFailure reports whether the object shows a failed submission: requires_input with an error. The error `abandoned`
// does not count, because nothing was submitted.
func (o Object) isFailure() bool {
	return o.Status == StatusRequiresInput && !o.Error.IsZero() && o.Error.Code != CodeAbandoned
}

// redacted returns the object without what a redaction erases.
func (o Object) redacted() Object {
	o.Error, o.Report, o.Reference = Error{}, "", ""
	return o
}

// saysState reports whether the object equals the state in status, error and report.
func (o Object) saysState(s State) bool {
	return o.Status == s.Status && o.Error == s.Error && o.Report == s.Report
}

// rank orders the statuses of events of the same second: nothing submitted, in check, decided. Canceled is the highest,
// because it is final.
func rank(status string, failed bool) int {
	switch {
	case status == StatusCanceled:
		return 3
	case status == StatusVerified, status == StatusRequiresInput && failed:
		return 2
	case status == StatusRequiresInput:
		return 0
	default:
		return 1
	}
}
