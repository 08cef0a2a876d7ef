package verification

import (
	"slices"
	"time"
)

// Stripe's statuses of a session. A record keeps any status that Stripe sends, also one that is not here.
const (
	StatusRequiresInput = "requires_input"
	StatusProcessing    = "processing"
	StatusVerified      = "verified"
	StatusCanceled      = "canceled"
)

// Bounds of a record. A session beyond them loses its oldest entries, never its counts.
const (
	// MaxHistory is how many history entries a record keeps.
	MaxHistory = 256
	// MaxKnownIDs is how many event ids beyond the history, and how many failures, a record recognizes. Stripe
	// redelivers for days, but never thousands of events of one session.
	MaxKnownIDs = 1024
	// EventIDLife is how long, in seconds, the record knows the event id of a trimmed entry. 35 days are longer than
	// the 30 days for which Stripe can resend an event.
	EventIDLife = 35 * 24 * 60 * 60
)

// Session is the whole record of one verification session. The zero value is a session that this service does not know.
// Session is a value: the functions of this package never change their arguments.
type Session struct {
	// ID is Stripe's id, "vs_...".
	ID string
	// Account is the connected account, "acct_...". It is empty for the platform's own sessions.
	Account string
	// Livemode is false in Stripe's test mode.
	Livemode bool

	// State is what callers see now.
	State
	// Revision counts the changes of the visible state, from 1, without gaps. 0 means that the session is not known.
	Revision int32

	// Second is the Unix second of the input that was applied last. It never decreases. Together with the rank of the
	// status it is the record's position in Stripe's order.
	Second int64
	// AsOf is the Unix second up to which a read of Stripe has shown everything. It is 0 if no read was applied.
	AsOf int64
	// Applied counts the inputs that became the state, and the reads that corrected the reference or the type. A read
	// that began at another count has been overtaken and is dropped.
	Applied uint32
	// Unresolved is true if the session is unresolved: the order of two inputs is ambiguous and Stripe was not yet read.
	Unresolved bool

	// Failures holds the counted failures of this session, in the order of counting.
	Failures []Failure
	// Replacement is the grant to replace this closed session.
	Replacement Replacement
	// Replaces is the session that this one replaces according to its metadata at Stripe. It is empty if there is
	// none. The metadata proves nothing: see Accepts.
	Replaces string
	// Predecessor is the session that this one replaced and whose counts it inherited.
	Predecessor string
	// Inherited holds the counts that it inherited from Predecessor.
	Inherited Inheritance

	// History holds the inputs of the session in the order of their arrival.
	History []Entry
	// TrimmedEvents holds the event ids of the entries that were trimmed from the history.
	TrimmedEvents []TrimmedEvent
	// Erased holds the revisions whose entries a redaction or the archive emptied, oldest first.
	Erased []ErasedRevision
	// ArchivedAt is the revision at which Archive archived the session. 0 means never. The mark counts only while it
	// equals Revision: an older replica, which keeps the field but does not know it, can change the session and leaves no
	// false mark.
	ArchivedAt int32
	// ReferenceMoved is the newest revision at which the session changed from one reference to another. 0 means never. It
	// stays if the references themselves are erased.
	ReferenceMoved int32

	// Comparisons holds the Unix seconds of the comparisons of the last day, oldest first. See Compare.
	Comparisons []int64

	// Kept is the outcome of the oldest revision that the record tells, if the history alone does not tell it.
	Kept KeptOutcome

	// Absence says at how many catch-ups in a row Stripe did not know the session.
	Absence Absence

	// Extra holds the fields that a newer version of this service wrote and this version does not know. Keeping them
	// makes a rolling upgrade lose nothing.
	Extra []byte
}

// State is the part of a session that callers see and that inputs can change. It is comparable.
type State struct {
	// Status is Stripe's status, verbatim.
	Status string
	// Type is Stripe's type, verbatim.
	Type string
	// Error is why the last submission failed. It is zero unless that failure is the current state.
	Error Error
	// Report is Stripe's id of the newest report, "vr_...".
	Report string
	// Created is when Stripe created the session, in Unix seconds. 0 means that no input has said it yet.
	Created int64
	// UpdateTime is Stripe's time, in Unix seconds, of the input that set the status. It never decreases.
	UpdateTime int64
	// Reference is the caller's own id for the person or case.
	Reference string
	// Redaction never decreases.
	Redaction Redaction
	// FailedAttempts counts the failed submissions, including those of replaced sessions.
	FailedAttempts int32
	// RetriesGranted counts the granted retries, including those of replaced sessions.
	RetriesGranted int32
	// SupersededBy is the session that replaced this one. It is empty if there is none.
	SupersededBy string
	// Resolution is how an operator dealt with the person elsewhere. It is zero if nobody did.
	Resolution Resolution
	// Allowance is the newest permission of an operator for one more try. A grant uses it. See State.OverrideOpen. In Entry.Result
	// it is zero unless it was open.
	Allowance Allowance
	// Overrides counts the granted retries that used an allowance, including those of replaced sessions. They do not count
	// against RetryPolicy.MaxRetries. Callers do not see it.
	Overrides int32

	// ShownFailure is the FailureID of the failure that the state shows. It is 0 if the state shows none, or one that is
	// not counted. Callers do not see it. It says to which failure a grant belongs.
	ShownFailure uint64
	// ShownGranted is true if a retry was granted for the failure that the state shows.
	ShownGranted bool
	// LastFailure is the newest counted failure by Stripe's time. It is zero if none is counted. Callers do not see it.
	// It decides about a retry if the state shows no counted failure. It is zero in Entry.Result: ChangesAfter derives
	// it.
	LastFailure LastFailure
}

// Error is Stripe's last_error. The zero value is no error.
type Error struct {
	// Code is Stripe's code, verbatim. It can be empty.
	Code string
	// Reason is Stripe's sentence for the person. It can be empty.
	Reason string
}

// IsZero reports whether there is no error. Stripe can send a last_error in which both fields are null.
func (e Error) IsZero() bool { return e == Error{} }

// Redaction is how far Stripe's erasure of personal data has come. A greater value is further.
type Redaction uint8

// The states of a redaction. A value of Stripe that this version does not know counts as processing.
const (
	RedactionNone Redaction = iota
	RedactionProcessing
	RedactionRedacted
)

// Failure is one counted failure.
type Failure struct {
	// ID is the FailureID of the failure.
	ID uint64
	// Granted is true if a retry was granted for the failure.
	Granted bool
}

// LastFailure is what the retry policy needs of a counted failure that the state does not show, because a cancel, an
// abandoned attempt or a reviewer has cleared it.
type LastFailure struct {
	// ID is the FailureID of the failure. 0 means that there is no failure.
	ID     uint64
	Second int64
	Code   string
	// Granted is true if a retry was granted for the failure.
	Granted bool
}

// Replacement is the grant to replace a closed session.
type Replacement struct {
	// Granted is true if the replacement was granted.
	Granted bool
	// Used is the allowance that the grant used. It is zero if the grant used none.
	Used Allowance
	// ReturnURL is the return URL of the first call. Every repetition of the request to Stripe must be the same, or
	// Stripe refuses the idempotency key. It is empty once the successor is known.
	ReturnURL string
}

// Inheritance holds the counts that a replacement inherited. State includes them. The zero value means that nothing was
// inherited yet, or that an older version added the counts, which notes no amounts.
type Inheritance struct {
	FailedAttempts int32
	RetriesGranted int32
	Overrides      int32
}

// TrimmedEvent is the event id of an entry that was trimmed from the history.
type TrimmedEvent struct {
	// ID is the hash of the event id. See FailureID.
	ID uint64
	// Until is the Unix second after which the id is dropped.
	Until int64
}

// ErasedRevision is what a record keeps of a revision whose content is erased. It distinguishes the revision from another
// one with the same number.
type ErasedRevision struct {
	Revision    int32
	Fingerprint uint32 // see Session.Fingerprint; the revision that archived the session has one too
}

// Exists reports whether this service knows the session.
func (s Session) Exists() bool { return s.Revision > 0 }

// Tombstone reports whether the record was redacted.
func (s Session) Tombstone() bool { return s.Redaction > RedactionNone }

// Settled reports whether no more input is expected from the person: Stripe's state says so, or an operator has resolved the
// session. A reviewer at Stripe can still override the status.
func (s State) Settled() bool {
	return s.settledAtStripe() || s.Resolution.Kind != ResolutionNone
}

// settledAtStripe is Settled by Stripe's state alone. Due reads and the archive go by it: a resolution can be taken back.
func (s State) settledAtStripe() bool {
	return s.Status == StatusVerified || s.Status == StatusCanceled || s.Redaction == RedactionRedacted
}

// clone returns a copy that shares no slice with s. Its history has room for one more entry: nearly every clone gets one, and entries
// are large.
func (s Session) clone() Session {
	s.Failures = slices.Clone(s.Failures)
	s.History = append(make([]Entry, 0, len(s.History)+1), s.History...)
	s.TrimmedEvents = slices.Clone(s.TrimmedEvents)
	s.Erased = slices.Clone(s.Erased)
	s.Comparisons = slices.Clone(s.Comparisons)
	return s
}

// sameSeen reports whether two states look the same to callers. Callers do not see to which failure a grant or an allowance belongs,
// nor how many grants used an allowance: retry.allowed and retries_remaining are computed for each answer and make no revision.
func sameSeen(a, b State) bool {
	if a.OverrideOpen() != b.OverrideOpen() {
		return false
	}
	a.Allowance, a.Overrides = b.Allowance, b.Overrides
	a.ShownFailure, a.ShownGranted, a.LastFailure = b.ShownFailure, b.ShownGranted, b.LastFailure
	return a == b
}

// StateReceivedAt returns the time, by this service's clock, at which the newest input in the history that became the
// state arrived. It returns the zero time if the history holds no such input.
func (s Session) StateReceivedAt() time.Time {
	for _, entry := range slices.Backward(s.History) {
		if entry.Effect == EffectApplied && (entry.Source == SourceWebhook || entry.Source == SourceStripeAPI) {
			return time.UnixMilli(entry.RecordTime)
		}
	}
	return time.Time{}
}
