package stripesim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// The four statuses of a VerificationSession; Stripe has no others.
const (
	statusRequiresInput = "requires_input"
	statusProcessing    = "processing"
	statusVerified      = "verified"
	statusCanceled      = "canceled"

	redactionProcessing = "processing"
	redactionDone       = "redacted"
)

// realm is one account in one mode. An API key and a Stripe-Account header give access to one realm.
type realm struct {
	account string // "" is the platform itself
	live    bool
}

type refKey struct {
	realm     realm
	reference string
}

// session is one VerificationSession. It is small, since load tests have a million of them. Links are derived and not stored, see
// link.go. Sim.mu guards all fields.
type session struct {
	sessionParams
	id        string
	realm     realm
	seq       uint64 // the order of sessions that were created in the same second
	created   int64
	status    string
	lastError *lastError
	report    string
	redaction string
	attempt   uint32   // submissions so far; an outcome belongs to one of them
	outcome   string   // of the submission being processed
	links     uint32   // links made so far
	usedLinks []uint32 // the numbers of used links, at most one for each submission
	linkless  bool     // see WithholdLinks
	verified  int64    // the second of the newest verification; 0: none
	outputs   *Outputs // see SetOutputs; nil: those of the session's own
}

// sessionParams are the parameters that the creator of a session can set.
type sessionParams struct {
	kind            string // document, id_number or verification_flow
	flow            string
	reference       string
	returnURL       string
	relatedCustomer string
	relatedAccount  string // related_customer_account
	relatedPerson   *relatedPerson
	metadata        map[string]string
	options         *sessionOptions
	details         *providedDetails
}

type lastError struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// cause is the API call that made a change. It is empty if a person or the simulator made the change.
type cause struct{ requestID, idempotencyKey string }

func (s *Sim) create(in realm, p sessionParams, by cause) (*session, *Error) {
	if len(s.order) >= s.cfg.MaxSessions {
		return nil, &Error{HTTPStatus: http.StatusTooManyRequests, Type: typeInvalidRequest, Code: "rate_limit",
			Message: fmt.Sprintf("The simulator holds %d sessions and takes no more: raise MaxSessions or start it afresh.", len(s.order))}
	}
	s.made++
	sess := &session{sessionParams: p, id: s.newID("vs_", 24), realm: in, seq: s.made, created: s.now().Unix(), status: statusRequiresInput}
	s.sessions[sess.id] = sess
	s.order = append(s.order, sess)
	for _, list := range s.listsOf(sess) {
		list.insert(sess)
	}
	s.emit(sess, eventCreated, by)
	return sess, nil
}

// find returns a session of the realm. It does not find sessions of other realms.
func (s *Sim) find(in realm, id string) (*session, *Error) {
	sess := s.sessions[id]
	if sess == nil || sess.realm != in {
		return nil, errNoSession(id)
	}
	return sess, nil
}

// sessionUpdate has the parameters of an update. A field that is nil does not change.
type sessionUpdate struct {
	kind     *string
	options  *sessionOptions
	details  *providedDetails
	metadata *metadataUpdate
}

func (s *Sim) update(sess *session, u sessionUpdate) *Error {
	if sess.redaction != "" {
		return errStatus("You cannot update this VerificationSession because it is redacted or being redacted.")
	}
	if u.options != nil && sess.flow != "" {
		return errParam("options", optionsOfFlow)
	}
	if (u.kind != nil || u.options != nil || u.details != nil) && sess.status != statusRequiresInput {
		return errStatus(fmt.Sprintf("You cannot update type, options or provided_details of this VerificationSession because it has a status of %q. "+
			"Only metadata may be updated then.", sess.status))
	}
	metadata := sess.metadata
	if u.metadata != nil {
		var err *Error
		if metadata, err = u.metadata.apply(sess.metadata); err != nil {
			return err
		}
	}
	sess.metadata = metadata
	if u.kind != nil {
		sess.kind = *u.kind
	}
	if u.options != nil {
		sess.options = u.options
	}
	if u.details != nil {
		sess.details = u.details
	}
	return nil
}

// submit does what a person does on the hosted page: it submits documents, or leaves without documents.
func (s *Sim) submit(sess *session, outcome string) *Error {
	if !sess.takesInput() {
		return errStatus(fmt.Sprintf("This VerificationSession takes no submission because it has a status of %q.", sess.status))
	}
	switch outcome {
	case OutcomeCanceled:
		return s.cancel(sess, cause{})
	case OutcomeAbandoned:
		// Nothing was submitted: no processing, no report, nothing billed.
		s.fail(sess, outcome)
		return nil
	}
	sess.status, sess.lastError, sess.outcome = statusProcessing, nil, outcome
	sess.attempt++
	attempt := sess.attempt
	s.emit(sess, eventProcessing, cause{})
	s.after(s.cfg.ProcessingDelay, func() {
		// FinishProcessing can have come first, and the person can have submitted again since.
		if sess.status == statusProcessing && sess.attempt == attempt {
			s.finish(sess)
		}
	})
	return nil
}

// finish ends the processing of a submission. Each submission makes a new report.
func (s *Sim) finish(sess *session) {
	sess.report = s.newID("vr_", 24)
	outcome := sess.outcome
	sess.outcome = ""
	if outcome == OutcomeVerified {
		s.verify(sess)
		return
	}
	s.fail(sess, outcome)
}

func (s *Sim) verify(sess *session) {
	sess.status, sess.lastError, sess.verified = statusVerified, nil, s.now().Unix()
	s.emit(sess, eventVerified, cause{})
}

// fail sets requires_input. Without a code, last_error is null, as a reviewer's override can leave it.
func (s *Sim) fail(sess *session, code string) {
	sess.status, sess.lastError = statusRequiresInput, nil
	if code != "" {
		sess.lastError = &lastError{Code: code, Reason: reasonFor(code)}
	}
	s.emit(sess, eventRequiresInput, cause{})
}

// override is the Dashboard's "Override status": both ways, with an event, without a new report.
func (s *Sim) override(sess *session, status, code string) *Error {
	if sess.redaction != "" || (sess.status != statusVerified && sess.status != statusRequiresInput) {
		return errStatus(fmt.Sprintf("The status of this VerificationSession cannot be overridden because it has a status of %q or is redacted.", sess.status))
	}
	switch {
	case status == statusVerified && code == "" && sess.status != statusVerified:
		s.verify(sess)
	case status == statusRequiresInput && (code == "" || codePattern.MatchString(code)):
		s.fail(sess, code)
	default:
		return errParam("status", "An override sets verified (without an error code, and not twice) or requires_input.")
	}
	return nil
}

// cancel erases last_error, as measured at Stripe. A second cancel succeeds and changes nothing.
func (s *Sim) cancel(sess *session, by cause) *Error {
	switch sess.status {
	case statusCanceled:
		return nil
	case statusRequiresInput:
		sess.status, sess.lastError = statusCanceled, nil
		s.emit(sess, eventCanceled, by)
		return nil
	default:
		return errStatus(fmt.Sprintf("You cannot cancel this VerificationSession because it has a status of %q. "+
			"Only a VerificationSession in %q status may be canceled.", sess.status, statusRequiresInput))
	}
}

// redact begins a redaction. A session that still waits for input is canceled by it; a verified one
// stays verified.
func (s *Sim) redact(sess *session, by cause) *Error {
	if sess.redaction != "" {
		return nil
	}
	if sess.status == statusProcessing {
		return errStatus("You cannot redact this VerificationSession while it is processing. Wait until it is verified or requires input.")
	}
	sess.redaction = redactionProcessing
	switch {
	case sess.status == statusRequiresInput:
		sess.status, sess.lastError = statusCanceled, nil
		s.emit(sess, eventCanceled, by)
	case sess.status == statusVerified && s.faults.CanceledEventOnRedact:
		s.emit(sess, eventCanceled, by)
	}
	s.after(s.cfg.RedactionDelay, func() {
		if sess.redaction == redactionProcessing {
			s.finishRedaction(sess)
		}
	})
	return nil
}

func (s *Sim) finishRedaction(sess *session) {
	sess.redaction = redactionDone
	sess.metadata, sess.options, sess.details = nil, &sessionOptions{}, nil
	s.emit(sess, eventRedacted, cause{})
}

// view returns a copy of a session for callers of the package.
func (sess *session) view() Session {
	v := Session{ID: sess.id, Account: sess.realm.account, Livemode: sess.realm.live, Created: sess.created,
		Type: sess.kind, Status: sess.status, LastVerificationReport: sess.report, Redaction: sess.redaction,
		ClientReferenceID: sess.reference, Metadata: maps.Clone(sess.metadata), Submissions: int(sess.attempt),
		Flow: sess.flow, RelatedCustomer: sess.relatedCustomer, RelatedCustomerAccount: sess.relatedAccount, ReturnURL: sess.returnURL}
	if sess.relatedPerson != nil {
		v.RelatedPerson = RelatedPerson(*sess.relatedPerson)
	}
	if sess.details != nil {
		v.ProvidedEmail, v.ProvidedPhone = orEmpty(sess.details.Email), orEmpty(sess.details.Phone)
	}
	if sess.lastError != nil {
		v.LastErrorCode, v.LastErrorReason = sess.lastError.Code, sess.lastError.Reason
	}
	return v
}

// takesInput reports whether a person can submit now.
func (sess *session) takesInput() bool {
	return sess.status == statusRequiresInput && sess.redaction == ""
}

func (sess *session) linkUsed(n uint32) bool { return slices.Contains(sess.usedLinks, n) }
