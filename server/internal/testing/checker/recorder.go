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

// The gRPC codes that rules look at, by the names that google.golang.org/grpc/codes gives them.
const (
	codeOK              = "OK"
	codeCanceled        = "Canceled"
	codeInvalidArgument = "InvalidArgument"
	codeNotFound        = "NotFound"
	codeOutOfRange      = "OutOfRange"
)

// Recorder keeps what was seen, compactly: each distinct content of a revision once, and some 50 bytes
// for each response. It is safe for concurrent use.
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
	turned   uint64 // the newest begin or end of a loss
}

// session is what is known of one session.
type session struct {
	id       string
	facts    []*fact
	failures map[string]bool      // identities of those that were emitted
	truth    *verification.Object // Stripe's final word
	last     *get                 // the newest GetStatus by id
}

// get is one answered GetStatus.
type get struct {
	moment
	asked   moment
	session *session // nil: by reference
	server  string   // that answered; empty: not told
	least   int32    // min_revision
	fact    *fact    // nil: an error
	code    string
}

// retry is one answered RetryVerification. A hash of 0 is no link.
type retry struct {
	moment
	session *session
	fact    *fact
	secret  uint64
	url     uint64
}

// Loss is a fault by which the store may have lost writes that clients saw.
type Loss struct {
	// Reason is for the report.
	Reason string
	// Everything says that no record, feed or token of before is left (FLUSHALL, a crash without
	// persistence). Otherwise the newest writes may be gone (a failover).
	Everything bool
	// Affects says which sessions are concerned; nil: all. It must be pure.
	Affects func(sessionID string) bool
	// Kept says up to which revision of a session the store has kept all: every later one that was seen
	// before is lost. nil: nobody knows. It must be pure once the loss is over.
	Kept func(sessionID string) int32
}

// era is a loss and when it went on: it has begun before begin, and was over after end.
type era struct {
	Loss
	begin, end moment // end is zero while it goes on
}

// Seen counts what was recorded: a check of nothing finds nothing.
type Seen struct {
	Sessions, Facts, Watches, Responses, Resumes, Restarts, Gets, Retries, Failures, Losses int
}

// NewRecorder makes a recorder. Its clock must be the one of the simulated Stripe: Stripe's times are
// compared with those of responses. code names the gRPC code of an error that is not nil, as
// google.golang.org/grpc/codes does: status.Code(err).String(). The end of a stream (io.EOF) is OK.
func NewRecorder(clock func() time.Time, code func(error) string) *Recorder {
	return &Recorder{
		clock: clock, code: code, hash: maphash.MakeSeed(),
		strings: make(map[string]string), sessions: make(map[string]*session),
	}
}

// Get records an answer to GetStatus, of either kind, that came at once. The answers to one client are
// told in the order in which it got them.
func (r *Recorder) Get(request *verificationv1.GetStatusRequest, response *verificationv1.GetStatusResponse, err error) {
	r.Asks(request)(response, err)
}

// Asks records that GetStatus is called, and returns what records the answer. What others see in
// between need not be in it.
func (r *Recorder) Asks(request *verificationv1.GetStatusRequest) (answered func(*verificationv1.GetStatusResponse, error)) {
	return r.AsksAt("", request)
}

// AsksAt is Asks of a server with a name: its own answers are compared with each other.
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

// Retry records an answer to RetryVerification. Of the link only a hash is kept. A call that failed
// proves nothing and is not kept.
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

// Emitted records an event of Stripe's, whether or not a webhook brings it, once or more.
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

// Truth records Stripe's final word about a session, after its last event. Redactions must have ended.
func (r *Recorder) Truth(object verification.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session(object.ID).truth = &object
}

// Era records that a loss begins: call it before the fault is made. Call settled when the store serves
// again and no response of before can still be on its way to a recording client; what is seen in
// between is compared with nothing.
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

// Seen counts what was recorded so far.
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

// see returns the fact that a response shows; nil where it shows none. Needs r.mu.
func (r *Recorder) see(v *verificationv1.Verification, now moment, by string) *fact {
	if v == nil {
		return nil
	}
	s, shown := r.session(v.GetSessionId()), r.contentOf(v)
	for _, f := range s.facts {
		if f.revision == v.GetRevision() && f.content == shown {
			f.seenAgain(sighting{now, by}, r.turned)
			return f
		}
	}
	f := &fact{content: shown, session: s, revision: v.GetRevision(), first: sighting{now, by}}
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

// hashOf is never 0 but for the empty text.
func (r *Recorder) hashOf(text string) uint64 {
	if text == "" {
		return 0
	}
	return max(1, maphash.String(r.hash, text))
}

// shared returns the one copy of a text that is kept.
func (r *Recorder) shared(text string) string {
	if kept, ok := r.strings[text]; ok {
		return kept
	}
	r.strings[text] = text
	return text
}
