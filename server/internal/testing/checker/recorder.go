package checker

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// The gRPC codes that rules use, by their names in google.golang.org/grpc/codes.
const (
	codeOK              = "OK"
	codeCanceled        = "Canceled"
	codeInvalidArgument = "InvalidArgument"
	codeNotFound        = "NotFound"
	codeOutOfRange      = "OutOfRange"
)

// Recorder records what clients saw: each distinct content of a revision once, and some 50 bytes for each response. It is safe
// for concurrent use.
type Recorder struct {
	clock func() time.Time
	code  func(error) string
	hash  maphash.Seed

	mu       sync.Mutex
	seq      uint64
	strings  map[string]string
	sessions map[string]*session
	watches  []*Watch
	gets     []get
	retries  []retry
	eras     []*era
	turned   uint64 // when the newest loss began or ended
}

// session is the record of one session.
type session struct {
	id       string
	facts    []*fact
	failures map[string]bool      // identities of the emitted failures
	truth    *verification.Object // the final state at Stripe
	last     *get                 // the newest GetStatus by id
}

// get is one answered GetStatus.
type get struct {
	moment
	asked   moment
	session *session // nil if asked by reference
	server  string   // that answered; empty if unknown
	least   int32    // min_revision
	fact    *fact    // nil for an error
	code    string
}

// retry is one answered RetryVerification. A hash of 0 means that there is no link.
type retry struct {
	moment
	session *session
	fact    *fact
	secret  uint64
	url     uint64
}

// Loss is a fault by which the store can have lost writes that clients saw.
type Loss struct {
	// Reason is a text for the report.
	Reason string
	// Everything says that no earlier record, feed or token is left (FLUSHALL, a crash without persistence). Without it the
	// newest writes can be lost (a failover).
	Everything bool
	// Affects returns whether the loss affects a session. nil: it affects all. It must be pure.
	Affects func(sessionID string) bool
	// Kept returns the revision up to which the store has kept a session: every later revision that was seen before the loss is
	// lost. nil: unknown. It must be pure once the loss is over.
	Kept func(sessionID string) int32
}

// era is a loss and its time: it did not begin before begin, and was over by end.
type era struct {
	Loss
	begin, end moment // end is zero during the loss
}

// Seen counts what was recorded, so that a test can demand that there was something to check.
type Seen struct {
	Sessions, Facts, Watches, Responses, Resumes, Restarts, Gets, Retries, Failures, Losses int
}

// NewRecorder returns a recorder. Its clock must be the clock of the simulated Stripe, because Stripe's times are compared with
// the times of responses. code returns the name of an error's gRPC code, such as status.Code(err).String(). It is not called
// with nil or io.EOF: the end of a stream is OK.
func NewRecorder(clock func() time.Time, code func(error) string) *Recorder {
	return &Recorder{
		clock: clock, code: code, hash: maphash.MakeSeed(),
		strings: make(map[string]string), sessions: make(map[string]*session),
	}
}

// Get records an answer to GetStatus, by id or by reference, that came at once. Record the answers to one client in the order
// in which it got them.
func (r *Recorder) Get(request *verificationv1.GetStatusRequest, response *verificationv1.GetStatusResponse, err error) {
	r.Asks(request)(response, err)
}

// Asks records a call of GetStatus and returns the function that records its answer. The answer need not include what other
// clients see in between.
func (r *Recorder) Asks(request *verificationv1.GetStatusRequest) (answered func(*verificationv1.GetStatusResponse, error)) {
	return r.AsksAt("", request)
}

// AsksAt is Asks for a named server, whose own answers are compared with each other.
func (r *Recorder) AsksAt(server string, request *verificationv1.GetStatusRequest) (answered func(*verificationv1.GetStatusResponse, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := get{asked: r.now(), server: server, least: request.GetMinRevision()}
	id := request.GetSessionId()
	return func(response *verificationv1.GetStatusResponse, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		g.moment, g.code = r.now(), r.codeOf(err)
		if err == nil {
			g.fact = r.see(response.GetVerification(), g.moment, cmp.Or(server, "a getter"))
		}
		if id != "" {
			g.session = r.session(id)
			last := g
			g.session.last = &last
		}
		r.gets = append(r.gets, g)
	}
}

// Retry records an answer to RetryVerification. It keeps only a hash of the link. It does not record a call that failed, which
// proves nothing.
func (r *Recorder) Retry(request *verificationv1.RetryVerificationRequest, response *verificationv1.RetryVerificationResponse, err error) {
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.retries = append(r.retries, retry{
		moment: now, session: r.session(request.GetSessionId()),
		fact:   r.see(response.GetVerification(), now, "a retry"),
		secret: r.hashOf(response.GetClientSecret()), url: r.hashOf(response.GetUrl()),
	})
}

// Emitted records an event of Stripe. Whether a webhook delivers the event, and how often, does not matter.
func (r *Recorder) Emitted(event verification.Event) {
	object := event.Object
	if object.Status != verification.StatusRequiresInput || object.Error.IsZero() || object.Error.Code == verification.CodeAbandoned {
		return
	}
	identity := object.Report
	if identity == "" {
		identity = event.ID
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.session(object.ID)
	if s.failures == nil {
		s.failures = make(map[string]bool)
	}
	s.failures[identity] = true
}

// Truth records the final state of a session at Stripe, after its last event. Redactions must have ended.
func (r *Recorder) Truth(object verification.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session(object.ID).truth = &object
}

// Era records that a loss begins. Call it before the fault. Call settled when the store serves again and no earlier response can
// still be on its way to a recording client. What is seen in between is compared with nothing.
func (r *Recorder) Era(loss Loss) (settled func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &era{Loss: loss, begin: r.now()}
	r.eras, r.turned = append(r.eras, e), e.begin.seq
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		e.end = r.now()
		r.turned = e.end.seq
	})
}

// Seen returns counts of what was recorded so far.
func (r *Recorder) Seen() Seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := Seen{Sessions: len(r.sessions), Watches: len(r.watches), Gets: len(r.gets), Retries: len(r.retries), Losses: len(r.eras)}
	for _, s := range r.sessions {
		seen.Facts += len(s.facts)
		seen.Failures += len(s.failures)
	}
	for _, w := range r.watches {
		for _, e := range w.log {
			switch {
			case e.kind == responded:
				seen.Responses++
			case e.kind == opened && e.token != 0:
				seen.Resumes++
			case e.kind == ended && e.code == codeOutOfRange:
				seen.Restarts++
			}
		}
	}
	return seen
}

func (s Seen) String() string {
	return fmt.Sprintf("%d sessions, %d watches with %d responses, %d resumes and %d restarts, %d gets, %d retries, %d failures, %d losses, %d distinct facts",
		s.Sessions, s.Watches, s.Responses, s.Resumes, s.Restarts, s.Gets, s.Retries, s.Failures, s.Losses, s.Facts)
}

// see returns the fact that a response shows, or nil if it shows none. The caller holds r.mu.
func (r *Recorder) see(v *verificationv1.Verification, now moment, by string) *fact {
	if v == nil {
		return nil
	}
	s, shown := r.session(v.GetSessionId()), r.contentOf(v)
	for _, f := range s.facts {
		if f.revision == v.GetRevision() && f.content == shown {
			f.seenAgain(sighting{now, by}, r.turned)
			f.sawOutcome(v, sighting{now, by}, r.turned)
			return f
		}
	}
	f := &fact{content: shown, session: s, revision: v.GetRevision(), first: sighting{now, by}}
	f.sawOutcome(v, f.first, r.turned)
	s.facts = append(s.facts, f)
	return f
}

func (r *Recorder) session(id string) *session {
	s := r.sessions[id]
	if s == nil {
		s = &session{id: id}
		r.sessions[id] = s
	}
	return s
}

func (r *Recorder) now() moment {
	r.seq++
	return moment{seq: r.seq, at: r.clock().UnixMilli()}
}

func (r *Recorder) codeOf(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return codeOK
	}
	return r.shared(r.code(err))
}

// hashOf returns 0 for the empty text only.
func (r *Recorder) hashOf(text string) uint64 {
	if text == "" {
		return 0
	}
	return max(1, maphash.String(r.hash, text))
}

// shared returns the one copy of a text that the recorder keeps.
func (r *Recorder) shared(text string) string {
	if kept, ok := r.strings[text]; ok {
		return kept
	}
	r.strings[text] = text
	return text
}
