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

// EventTypes are all of them, for lists. It must not be changed.
var EventTypes = []string{EventCreated, EventProcessing, EventRequiresInput, EventVerified, EventCanceled, EventRedacted}

// Source says where an input came from. The numbers are the contract's.
type Source uint8

// The sources.
const (
	SourceWebhook   Source = 1
	SourceStripeAPI Source = 2
	SourceRetry     Source = 3
	// SourceReplacement is what followed from replacing a closed session.
	SourceReplacement Source = 4
)

// Effect says what an input did. The numbers are the contract's.
type Effect uint8

// The effects.
const (
	// EffectApplied: it became the state, or added to what is seen.
	EffectApplied Effect = 1
	// EffectStale: nothing changed.
	EffectStale Effect = 2
	// EffectCounted: it was too late for the state, but its failure was not yet counted.
	EffectCounted Effect = 3
	// EffectPending: the order is in doubt and Stripe could not be asked; the rule decided.
	EffectPending Effect = 4
)

// String returns the effect in one word, for logs and traces.
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

// Object is a verification session as Stripe described it at some moment. It holds no secret.
type Object struct {
	ID        string
	Account   string
	Livemode  bool
	Type      string
	Status    string
	Error     Error
	Report    string
	Created   int64
	Reference string
	// Replaces is the session id under ReplacesKey in its metadata; empty: none.
	Replaces  string
	Redaction Redaction
}

// Event is one event of Stripe about one session.
type Event struct {
	// ID is Stripe's event id, "evt_...".
	ID string
	// Type is Stripe's event type, verbatim. It never decides the status: the object does.
	Type string
	// Source is how the event came here: the webhook, or Stripe's event list.
	Source Source
	// Second is Stripe's `created`, in Unix seconds.
	Second int64
	// RecordTime is when this service got it, in Unix milliseconds.
	RecordTime int64
	// Object is the session as of the event.
	Object Object
}

// Read is the answer to a GET of one session at Stripe.
type Read struct {
	// Object is the session as of the answer.
	Object Object
	// AsOf is the second before which nothing that Stripe knows is missing from Object: the answer's
	// Date, less the call's duration, less one second. Never this machine's clock.
	AsOf int64
	// Applied is the record's Applied when the GET began.
	Applied uint32
	// RecordTime is when the answer was recorded, in Unix milliseconds.
	RecordTime int64
}

// Outcome says what an input did to the record.
type Outcome struct {
	// Effect is what became of the input; 0 where it left no entry.
	Effect Effect
	// Write says that the record differs from the one given, be it only in its history, and must be
	// stored.
	Write bool
	// Duplicate says that the event was known already.
	Duplicate bool
	// Doubt says that only Stripe can tell the order. The record returned is the one to store if
	// Stripe cannot be asked.
	Doubt bool
	// Dropped says that a read was overtaken by another input and must be made again.
	Dropped bool
}

// isFailure reports whether a submission failed: requires_input with an error. `abandoned` is none,
// since nothing was submitted.
func (o Object) isFailure() bool {
	return o.Status == StatusRequiresInput && !o.Error.IsZero() && o.Error.Code != CodeAbandoned
}

// scrubbed is the object without what a redaction erases.
func (o Object) scrubbed() Object {
	o.Error, o.Report, o.Reference = Error{}, "", ""
	return o
}

// saysState reports whether the object says what the state shows.
func (o Object) saysState(s State) bool {
	return o.Status == s.Status && o.Error == s.Error && o.Report == s.Report
}

// Rank orders the statuses of one second: nothing submitted, being checked, decided. Canceled is
// above all: nothing leaves it.
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
