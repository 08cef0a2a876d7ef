package stripesim

import (
	"net/http"
	"regexp"
)

// Outcomes of a submission that are not error codes.
const (
	// OutcomeVerified ends in status verified.
	OutcomeVerified = "verified"
	// OutcomeAbandoned is the outcome of a person who begins and leaves: the session is at once in requires_input with the
	// error abandoned, without processing and without a report.
	OutcomeAbandoned = "abandoned"
	// OutcomeCanceled cancels the session as the business does.
	OutcomeCanceled = "canceled"
)

// codePattern allows codes that Stripe does not have yet, since consumers must pass them through.
var codePattern = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// Session is the true state of one session, for tests.
type Session struct {
	ID                     string
	Account                string // "acct_...", empty for the platform's own
	Livemode               bool
	Created                int64 // unix seconds
	Type                   string
	Status                 string
	LastErrorCode          string // empty: last_error is null
	LastErrorReason        string
	LastVerificationReport string // empty: none yet
	Redaction              string // "", processing or redacted
	ClientReferenceID      string
	Metadata               map[string]string
	Submissions            int
}

// NewSession has the parameters of Create. The zero value makes a session of type document in test mode.
type NewSession struct {
	Account           string
	Livemode          bool
	ClientReferenceID string
	Metadata          map[string]string
	ReturnURL         string
}

// Create creates a session without an API call, as a static link of a verification flow does: the request of its event is null. It
// returns an *Error.
func (s *Sim) Create(n NewSession) (Session, error) {
	p := sessionParams{kind: "document", reference: n.ClientReferenceID, returnURL: n.ReturnURL}
	if n.Account != "" && !accountPattern.MatchString(n.Account) {
		return Session{}, errParam("account", "An account must look like acct_123.")
	}
	if err := checkCreate(p); err != nil {
		return Session{}, err
	}
	metadata, err := (&metadataUpdate{set: n.Metadata}).apply(nil)
	if err != nil {
		return Session{}, err
	}
	p.metadata = metadata
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.create(realm{n.Account, n.Livemode}, p, cause{})
	if err != nil {
		return Session{}, err
	}
	return sess.view(), nil
}

// Submit submits an outcome like the hosted page: OutcomeVerified, OutcomeAbandoned, OutcomeCanceled or an error code, also one that
// Stripe does not document. It needs no link.
func (s *Sim) Submit(id, outcome string) error {
	if !codePattern.MatchString(outcome) {
		return errParam("outcome", "An outcome is verified, abandoned, canceled or an error code.")
	}
	return s.with(id, func(sess *session) *Error { return s.submit(sess, outcome) })
}

// FinishProcessing ends the processing of a submission now.
func (s *Sim) FinishProcessing(id string) error {
	return s.with(id, func(sess *session) *Error {
		if sess.status != statusProcessing {
			return errStatus("This VerificationSession is not processing.")
		}
		s.finish(sess)
		return nil
	})
}

// Override is a Dashboard reviewer's "Override status", between verified and requires_input in both
// directions. With an empty code requires_input has a null last_error.
func (s *Sim) Override(id, status, code string) error {
	return s.with(id, func(sess *session) *Error { return s.override(sess, status, code) })
}

// Cancel cancels a session, as POST .../cancel does.
func (s *Sim) Cancel(id string) error {
	return s.with(id, func(sess *session) *Error { return s.cancel(sess, cause{}) })
}

// Redact redacts a session, as POST .../redact does.
func (s *Sim) Redact(id string) error {
	return s.with(id, func(sess *session) *Error { return s.redact(sess, cause{}) })
}

// FinishRedaction ends a redaction in progress now.
func (s *Sim) FinishRedaction(id string) error {
	return s.with(id, func(sess *session) *Error {
		if sess.redaction != redactionProcessing {
			return errStatus("This VerificationSession is not being redacted.")
		}
		s.finishRedaction(sess)
		return nil
	})
}

// Session returns the current state of a session, and false if there is no such session.
func (s *Sim) Session(id string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[id]
	if sess == nil {
		return Session{}, false
	}
	return sess.view(), true
}

// Sessions returns all sessions of all accounts and modes, oldest first.
func (s *Sim) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Session, len(s.order))
	for i, sess := range s.order {
		out[i] = sess.view()
	}
	return out
}

// with runs fn on a session under the lock, and turns a nil *Error into a nil error.
func (s *Sim) with(id string, fn func(*session) *Error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[id]
	if sess == nil {
		return errNoSession(id)
	}
	if err := fn(sess); err != nil {
		return err
	}
	return nil
}

func errNoSession(id string) *Error {
	return &Error{HTTPStatus: http.StatusNotFound, Type: typeInvalidRequest, Code: "resource_missing",
		Param: "session", Message: "No such verification session: '" + id + "'"}
}
