// Package verification is the pure core: what one verification session is, how Stripe's events and
// the answers of Stripe's API change it, and when a person may try again.
//
// It decides and does nothing else. It knows no Redis, no gRPC, no Stripe library, no clock and no
// randomness: times are arguments, and every function returns a new value and leaves its argument
// as it was. So the rules can be shuffled, repeated and cut by tests as often as they like.
package verification

import (
	"slices"
	"time"
)

// Stripe's statuses of a session. The record keeps whatever Stripe sent, also what is not here.
const (
	StatusRequiresInput = "requires_input"
	StatusProcessing    = "processing"
	StatusVerified      = "verified"
	StatusCanceled      = "canceled"
)

// Bounds of a record. A session beyond them forgets its oldest entries, never its counts.
const (
	// MaxHistory is how many entries a record keeps.
	MaxHistory = 256
	// MaxRemembered is how many event ids beyond the history, and how many failures, a record
	// knows again. Stripe redelivers for days, never thousands of events for one session.
	MaxRemembered = 1024
	// RememberFor is how long, in seconds, the id of an entry that went stays known: 35 days,
	// longer than the 30 days for which Stripe can still resend an event.
	RememberFor = 35 * 24 * 60 * 60
)

// Session is the whole record of one verification session. The zero value is a session that is not
// known. It is a value: the functions of this package never change the one they are given.
type Session struct {
	// ID is Stripe's id, "vs_...".
	ID string
	// Account is the connected account, "acct_..."; empty for the platform's own.
	Account string
	// Livemode is false in Stripe's test mode.
	Livemode bool

	// State is what the world sees now.
	State
	// Revision counts the changes of what is seen, from 1, without gaps; 0: not known.
	Revision int32

	// Second is the time part of the record's position in Stripe's order (the rank of the shown
	// status is the other): Unix seconds of the input applied last. It never falls.
	Second int64
	// AsOf is the moment, in Unix seconds, up to which a read from Stripe has told everything; 0: no
	// read was applied.
	AsOf int64
	// Applied counts the inputs that became the state, and the reads that corrected the reference or the
	// type. A read from Stripe that was begun at another count than the record's has been overtaken, and
	// is dropped.
	Applied uint32
	// Pending says that the order of two inputs is in doubt and Stripe could not be asked.
	Pending bool

	// Failures holds every counted failure of this session, oldest count first.
	Failures []Failure
	// Replacement says whether the grant to replace this closed session was given.
	Replacement Replacement
	// Replaces is the session that this one claims to replace, by its metadata at Stripe; empty: none.
	// The claim proves nothing: see Accepts.
	Replaces string
	// Predecessor is the session that this one replaced, whose counts it inherited.
	Predecessor string
	// Inherited is what it inherited from Predecessor.
	Inherited Inheritance

	// History is what reached the session, oldest arrival first.
	History []Entry
	// Forgotten are the event ids whose entries left the history.
	Forgotten []Forgotten
	// Erased are the revisions whose entries a redaction or the archive emptied, oldest first.
	Erased []ErasedRevision
	// Archived is the revision at which Shrink archived the session; 0: never. It counts only while it is
	// the session's revision, so that an older replica, which keeps the field and does not know it, can
	// change the session without leaving a false mark.
	Archived int32
	// Moved is the newest revision at which the session changed from one reference to another; 0: never.
	// It stays where the references themselves are erased.
	Moved int32

	// Extra is what a newer version of this service wrote and this one does not understand. It is
	// kept, so that a rolling upgrade loses nothing.
	Extra []byte
}

// State is what Verification shows and inputs can change. It is comparable.
type State struct {
	// Status is Stripe's status, verbatim.
	Status string
	// Type is Stripe's type, verbatim.
	Type string
	// Error says why the last submission failed; zero unless that is the current state.
	Error Error
	// Report is Stripe's id of the newest report, "vr_...".
	Report string
	// Created is when Stripe created the session, in Unix seconds; 0: not told.
	Created int64
	// UpdateTime is Stripe's time, in Unix seconds, of the input that set the status. Never falls.
	UpdateTime int64
	// Reference is the caller's own id for the person or case.
	Reference string
	// Redaction only rises.
	Redaction Redaction
	// FailedAttempts counts the failed submissions, replaced sessions' included.
	FailedAttempts int32
	// RetriesGranted counts the granted retries, replaced sessions' included.
	RetriesGranted int32
	// SupersededBy is the session that replaced this one.
	SupersededBy string

	// ShownFailure is the identity of the failure that is shown; 0 where none is, or an uncounted
	// one. Not visible itself: a grant belongs to it.
	ShownFailure uint64
	// ShownGranted says that the failure shown has its grant.
	ShownGranted bool
	// LastFailure is the newest counted failure by Stripe's time; zero where none is counted. Not
	// visible itself: a retry is judged by it where no counted failure is shown. In an Entry's Result
	// it is zero: ChangesAfter derives it.
	LastFailure LastFailure
}

// Error is Stripe's last_error. The zero value is no error.
type Error struct {
	// Code is Stripe's code, verbatim; may be empty.
	Code string
	// Reason is Stripe's sentence for the person; may be empty.
	Reason string
}

// IsZero reports whether there is no error: Stripe may send last_error with both parts null.
func (e Error) IsZero() bool { return e == Error{} }

// Redaction is how far the erasure of personal data has come. Greater is further.
type Redaction uint8

// The states of a redaction. Stripe's values that are not known here count as processing.
const (
	RedactionNone Redaction = iota
	RedactionProcessing
	RedactionRedacted
)

// Failure is one counted failure.
type Failure struct {
	// ID is its identity; see FailureID.
	ID uint64
	// Granted says that a retry was granted for it.
	Granted bool
}

// LastFailure is what the retry policy must know of a counted failure that the state does not show: a
// cancel, an abandoned attempt or a reviewer has cleared it.
type LastFailure struct {
	// ID is its identity; 0: no failure.
	ID     uint64
	Second int64
	Code   string
	// Granted says that a retry was granted for it.
	Granted bool
}

// Replacement is the grant to replace a closed session.
type Replacement struct {
	// Granted says that it was given.
	Granted bool
	// ReturnURL is what the first caller asked for. The request to Stripe must be the same however
	// often it is repeated, or Stripe refuses the idempotency key. Empty once the successor is known.
	ReturnURL string
}

// Inheritance is what a replacement inherited: its share of the counts that State shows. The zero value:
// nothing yet, or an older version brought the counts, which notes no amounts.
type Inheritance struct {
	FailedAttempts int32
	RetriesGranted int32
}

// Forgotten is an event id whose entry is gone.
type Forgotten struct {
	// ID is the event id's hash; see FailureID.
	ID uint64
	// Until is when it may be forgotten altogether, in Unix seconds.
	Until int64
}

// ErasedRevision is what is kept of a revision whose content is erased: enough to tell it from another one
// with the same number.
type ErasedRevision struct {
	Revision    int32
	Fingerprint uint32 // see Session.Fingerprint; the archive's own revision has one too
}

// Exists reports whether the session is known.
func (s Session) Exists() bool { return s.Revision > 0 }

// Tombstone reports whether the record was shrunk by a redaction.
func (s Session) Tombstone() bool { return s.Redaction > RedactionNone }

// Settled reports whether nothing more is expected of the person. A reviewer at Stripe can still
// override it.
func (s State) Settled() bool {
	return s.Status == StatusVerified || s.Status == StatusCanceled || s.Redaction == RedactionRedacted
}

// clone copies what the copy of a struct would share.
func (s Session) clone() Session {
	s.Failures = slices.Clone(s.Failures)
	s.History = slices.Clone(s.History)
	s.Forgotten = slices.Clone(s.Forgotten)
	s.Erased = slices.Clone(s.Erased)
	return s
}

// sameSeen reports whether two states look the same from outside. What a grant belongs to is not
// seen: retry.allowed is computed when sent and makes no revision.
func sameSeen(a, b State) bool {
	a.ShownFailure, a.ShownGranted, a.LastFailure = b.ShownFailure, b.ShownGranted, b.LastFailure
	return a == b
}

// ToldAt is when Stripe last told what the record shows, by this service's clock: the arrival of the newest
// input of the history that became the state. It is zero if the history does not say.
func (s Session) ToldAt() time.Time {
	for _, entry := range slices.Backward(s.History) {
		if entry.Effect == EffectApplied && (entry.Source == SourceWebhook || entry.Source == SourceStripeAPI) {
			return time.UnixMilli(entry.RecordTime)
		}
	}
	return time.Time{}
}
