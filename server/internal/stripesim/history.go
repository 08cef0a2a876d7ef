package stripesim

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// History describes sessions of the past, for CreateHistory.
type History struct {
	Account  string // "acct_...", empty for the platform's own
	Livemode bool
	// Sessions is how many are created, evenly spread from From until To. To must not be after the simulator's time.
	Sessions int
	From, To time.Time
	// Reference returns the client_reference_id of the n-th session, from 0. nil: "past-0" and so on.
	Reference func(n int) string
}

// CreateHistory creates many sessions at once, each with a life behind it: verified, failed once or several times, canceled,
// abandoned, still processing, overridden, of a flow, redacted, or being redacted. Their times are those of their lives. Events
// exist for the last 30 days, and no webhook is sent for them. 100,000 sessions take a few seconds. The lives follow Config.Seed.
func (s *Sim) CreateHistory(h History) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case h.Sessions < 0 || h.To.Before(h.From) || h.To.After(s.now()):
		return errors.New("stripesim: a history needs a number of sessions, and From before To before now")
	case h.Account != "" && !accountPattern.MatchString(h.Account):
		return errors.New("stripesim: the account of a history must look like acct_123")
	case len(s.order)+h.Sessions > s.cfg.MaxSessions:
		return fmt.Errorf("stripesim: a history of %d sessions is over MaxSessions", h.Sessions)
	}
	if h.Reference == nil {
		h.Reference = func(n int) string { return fmt.Sprintf("past-%d", n) }
	}
	end := s.now()
	processing, redaction := s.cfg.ProcessingDelay, s.cfg.RedactionDelay
	s.cfg.ProcessingDelay, s.cfg.RedactionDelay = OnDemand, OnDemand
	for n := range h.Sessions {
		s.past = h.From.Add(h.To.Sub(h.From) / time.Duration(h.Sessions) * time.Duration(n))
		s.live(realm{h.Account, h.Livemode}, h.Reference(n), end)
	}
	s.past = time.Time{}
	s.cfg.ProcessingDelay, s.cfg.RedactionDelay = processing, redaction
	// Lives overlap, and the list of events is in order of time.
	slices.SortStableFunc(s.events, func(a, b Event) int { return cmp.Compare(a.Created, b.Created) })
	s.indexEvents()
	return nil
}

// pastLife is what happened to a session, in steps. The last step may lie after the end of the history. Then it does not happen.
type pastLife struct {
	share int // of 100
	steps []func(s *Sim, sess *session)
}

// The steps of a life in a history. Each of them is valid where pastLives has it, so none returns an error.
var (
	stepVerified = func(s *Sim, sess *session) { _ = s.submit(sess, OutcomeVerified) }
	stepFailed   = func(s *Sim, sess *session) {
		failures := []string{"document_expired", "document_unverified_other", "selfie_face_mismatch", "consent_declined"}
		_ = s.submit(sess, failures[s.pastRNG.IntN(len(failures))])
	}
	stepFinished   = func(s *Sim, sess *session) { s.finish(sess) }
	stepAbandoned  = func(s *Sim, sess *session) { _ = s.submit(sess, OutcomeAbandoned) }
	stepCanceled   = func(s *Sim, sess *session) { _ = s.cancel(sess, cause{}) }
	stepOverridden = func(s *Sim, sess *session) { _ = s.override(sess, statusRequiresInput, "document_unverified_other") }
	stepRedact     = func(s *Sim, sess *session) { _ = s.redact(sess, cause{}) }
	stepRedacted   = func(s *Sim, sess *session) { s.finishRedaction(sess) }
)

type steps = []func(*Sim, *session)

var pastLives = []pastLife{
	{40, steps{stepVerified, stepFinished}},
	{14, steps{stepFailed, stepFinished}},
	{8, steps{stepFailed, stepFinished, stepFailed, stepFinished, stepVerified, stepFinished}},
	{6, steps{stepFailed, stepFinished, stepFailed, stepFinished, stepFailed, stepFinished}},
	{8, nil}, // nobody came
	{4, steps{stepAbandoned}},
	{4, steps{stepFailed, stepFinished, stepCanceled}},
	{4, steps{stepCanceled}},
	{2, steps{stepVerified}}, // Stripe still works on it
	{2, steps{stepVerified, stepFinished, stepOverridden}},
	{4, steps{stepVerified, stepFinished, stepRedact, stepRedacted}},
	{2, steps{stepFailed, stepFinished, stepRedact, stepRedacted}},
	{2, steps{stepVerified, stepFinished, stepRedact}},
}

// live makes one session of a history, and lets it live until a time. The caller holds s.mu.
func (s *Sim) live(in realm, reference string, until time.Time) {
	p := sessionParams{kind: "document", reference: reference, metadata: map[string]string{"case": reference}}
	if s.pastRNG.IntN(20) == 0 {
		p.kind, p.flow = "verification_flow", "vf_past"
	}
	sess, err := s.create(in, p, cause{})
	if err != nil {
		panic("stripesim: " + err.Message) // the number of sessions was checked before
	}
	for _, step := range drawLife(s.pastRNG).steps {
		s.past = s.past.Add(time.Duration(10+s.pastRNG.IntN(300)) * time.Second)
		if s.past.After(until) {
			return
		}
		step(s, sess)
	}
}

func drawLife(rng *rand.Rand) pastLife {
	draw := rng.IntN(100)
	for _, life := range pastLives {
		if draw -= life.share; draw < 0 {
			return life
		}
	}
	panic("stripesim: the shares of pastLives do not add up to 100")
}
