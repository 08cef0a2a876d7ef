package stripesim

import (
	"net/http"
	"regexp"
	"slices"
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

	Flow                   string // "vf_...", empty without a flow
	RelatedCustomer        string
	RelatedCustomerAccount string
	RelatedPerson          RelatedPerson
	ProvidedEmail          string
	ProvidedPhone          string
	ReturnURL              string
}

// RelatedPerson names a person of a connected account. The zero value names none.
type RelatedPerson struct{ Account, Person string }

// NewSession has the parameters of Create. The zero value makes a session of type document in test mode.
type NewSession struct {
	Account           string
	Livemode          bool
	ClientReferenceID string
	Metadata          map[string]string
	ReturnURL         string
	// Flow makes a session of a verification flow.
	Flow                   string
	RelatedCustomer        string
	RelatedCustomerAccount string
	RelatedPerson          RelatedPerson
	ProvidedEmail          string
	ProvidedPhone          string
}

func (n NewSession) params() (p sessionParams, err *Error) {
	p = sessionParams{kind: "document", flow: n.Flow, reference: n.ClientReferenceID, returnURL: n.ReturnURL,
		relatedCustomer: n.RelatedCustomer, relatedAccount: n.RelatedCustomerAccount}
	if n.Flow != "" {
		p.kind = "verification_flow"
	}
	if n.RelatedPerson != (RelatedPerson{}) {
		person := relatedPerson(n.RelatedPerson)
		p.relatedPerson = &person
	}
	if n.ProvidedEmail != "" || n.ProvidedPhone != "" {
		p.details = &providedDetails{Email: orNull(n.ProvidedEmail), Phone: orNull(n.ProvidedPhone)}
	}
	if n.Account != "" && !accountPattern.MatchString(n.Account) {
		return p, errParam("account", "An account must look like acct_123.")
	}
	if p.metadata, err = (&metadataUpdate{set: n.Metadata}).apply(nil); err != nil {
		return p, err
	}
	return p, checkCreate(p)
}

// Create creates a session without an API call, as a static link of a verification flow does: the request of its event is null. It
// returns an *Error.
func (s *Sim) Create(n NewSession) (Session, error) {
	p, err := n.params()
	if err != nil {
		return Session{}, err
	}
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

// ShownOptions are options that a session of the Dashboard can have. A GET shows them. A creation does not take them.
type ShownOptions struct {
	Email, Phone bool // the check is required
	IDNumber     bool
	// MatchingDOB and MatchingName are "none" or "similar". Empty means absent.
	MatchingDOB, MatchingName string
}

// ShowOptions adds options to those that a session shows.
func (s *Sim) ShowOptions(id string, o ShownOptions) error {
	return s.with(id, func(sess *session) *Error {
		shown := sessionOptions{}
		switch {
		case sess.options != nil:
			shown = *sess.options
		case sess.kind == "document":
			shown.Document = &documentOptions{}
		case sess.kind == "id_number":
			shown.IDNumber = &struct{}{}
		}
		required := true
		if o.Email {
			shown.Email = &contactOptions{RequireVerification: &required}
		}
		if o.Phone {
			shown.Phone = &contactOptions{RequireVerification: &required}
		}
		if o.IDNumber {
			shown.IDNumber = &struct{}{}
		}
		if o.MatchingDOB != "" || o.MatchingName != "" {
			shown.Matching = &matchingOptions{DOB: o.MatchingDOB, Name: o.MatchingName}
		}
		sess.options = &shown
		return nil
	})
}

// WithholdLinks makes a session that waits for input show no url and no client_secret, until it is called with false.
func (s *Sim) WithholdLinks(id string, withhold bool) error {
	return s.with(id, func(sess *session) *Error {
		sess.linkless = withhold
		return nil
	})
}

// Delete removes a session, as the deletion of a sandbox's test data does: it is not found and not listed any more. Its events stay.
func (s *Sim) Delete(id string) error {
	return s.with(id, func(sess *session) *Error {
		delete(s.sessions, id)
		for _, list := range s.listsOf(sess) {
			list.remove(sess)
		}
		s.order = slices.DeleteFunc(s.order, func(other *session) bool { return other == sess })
		// Delays that have begun must change nothing more: they compare these.
		sess.attempt, sess.redaction = sess.attempt+1, ""
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
