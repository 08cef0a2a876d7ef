package clienttest

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// state is the state of a Server. Each change wakes all streams, which then look for something to send.
type state struct {
	mu       sync.Mutex
	changed  chan struct{} // closed at each change, and replaced
	sessions map[string]*session
	feed     []entry
	clock    int64 // seconds, one for each change

	epoch    int // of resume tokens
	beats    int // heartbeats asked for
	cuts     int // how often streams were cut
	cut      error
	silent   bool
	links    int // so far
	fail     error
	failNext []error
	onRetry  func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error)
	streams  int // open

	consumers    map[string]*consumer
	incarnations int // of consumers, so far
	keepLeases   bool
	virtual      bool // time is virtual
	opened       int  // so far

	nameCaller func(context.Context) string // nil: callers have no names
	outputs    map[string]client.Expected   // by session id
	onCompare  func(*verificationv1.CompareVerifiedOutputsRequest) (*verificationv1.CompareVerifiedOutputsResponse, error)
}

// session is one session with all its revisions.
type session struct {
	revisions []*verificationv1.Verification // revision n at n-1
	history   []*verificationv1.HistoryEntry
	redacted  int32           // the first redacted revision; 0: none
	failures  map[string]bool // the counted ones by id; true: a retry was granted for it
	shown     string          // the id of the failure in the current state; "": none that counts
	newest    failure         // counted last
	inDoubt   bool
	allowance allowance
	inherited int32       // failed attempts of the session that it replaced
	compared  []time.Time // the last day's comparisons, oldest first
}

// entry is one change of any session.
type entry struct {
	id       string
	revision int32
	at       time.Time
}

func newState() state {
	return state{
		changed:  make(chan struct{}),
		sessions: make(map[string]*session), consumers: make(map[string]*consumer), outputs: make(map[string]client.Expected),
		clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix(),
	}
}

// wake wakes all streams. The lock is held.
func (s *state) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

var sessionID = regexp.MustCompile(`^vs_[A-Za-z0-9_]{1,252}$`)

// Set makes v the current state of its session, as the next revision, and returns the state as clients see it. It makes no
// revision if v equals the current state. It panics if the session id is invalid.
//
// The first Set of a session id creates the session. Of several sessions with one client_reference_id, the one created last is
// the newest. Set completes v:
//
//   - It always sets settled, revision, outcome_revision and outcome_id.
//   - It sets missing times, a second apart for each change, and a missing stripe_status, stripe_type, stripe_code and category.
//   - It keeps type, client_reference_id, account, superseded_by, replaces and resolution of the state before, if they are
//     missing. A resolution without a kind takes an earlier one back.
//   - It sets a missing retry by the rules of the service with its default settings: two retries at first, and one failure for
//     each last_verification_report with a last_error (without a report, for each Set with a new last_error). "abandoned" is
//     not a failure.
//   - As at Stripe, a redaction clears the reference, the error and the report, and stays; a cancel clears the error. A redaction
//     also clears the name of the operator in a resolution.
func (s *Server) Set(v *verificationv1.Verification) *verificationv1.Verification {
	if !sessionID.MatchString(v.GetSessionId()) {
		panic(fmt.Sprintf(`clienttest: Set: session_id %q: it must be "vs_" and 1 to 252 letters, digits or underscores`, v.GetSessionId()))
	}
	next := proto.CloneOf(v)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return proto.CloneOf(s.state.set(next, verificationv1.Source_SOURCE_WEBHOOK))
}

// SetInDoubt adds a session to the list of the filter in_doubt, or removes it.
func (s *Server) SetInDoubt(sessionID string, inDoubt bool) {
	s.change(func(st *state) {
		if life := st.sessions[sessionID]; life != nil {
			life.inDoubt = inDoubt
		}
	})
}

// set makes v the current state. A RetryState in v is kept as it is if source is a webhook; from other sources only its counts
// are. The lock is held.
func (s *state) set(v *verificationv1.Verification, source verificationv1.Source) *verificationv1.Verification {
	life := s.sessions[v.GetSessionId()]
	if life == nil {
		life = &session{failures: make(map[string]bool)}
	}
	last := life.latest()
	timed := v.UpdateTime != nil && !proto.Equal(v.GetUpdateTime(), last.GetUpdateTime())
	s.clock++
	fill(v, last, s.clock)
	carried := proto.CloneOf(v.GetLastError())
	failed := life.count(v, last)
	erase(v)
	if source != verificationv1.Source_SOURCE_WEBHOOK || v.Retry == nil {
		v.Retry = life.retryState(v, last, failed)
	}
	if last != nil && !timed && same(v, last) {
		return last
	}
	v.Revision = last.GetRevision() + 1
	setOutcome(v, last)
	life.revisions = append(life.revisions, v)
	life.history = append(life.history, historyEntry(v, carried, source))
	if v.GetRedaction() != 0 && life.redacted == 0 {
		life.redacted = v.GetRevision()
	}
	s.sessions[v.GetSessionId()] = life
	s.feed = append(s.feed, entry{v.GetSessionId(), v.GetRevision(), time.Now()})
	s.wake()
	return v
}

// same compares two states without revision, outcome and update_time, which Set derives.
func same(a, b *verificationv1.Verification) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, v := range []*verificationv1.Verification{a, b} {
		v.Revision, v.OutcomeRevision, v.OutcomeId, v.UpdateTime = 0, 0, "", nil
	}
	return proto.Equal(a, b)
}

// otherAccount reports whether a caller names another account than that of a session. It returns false without a session.
func (l *session) otherAccount(account string) bool {
	return l != nil && account != "" && l.latest().GetAccount() != account
}

func (l *session) latest() *verificationv1.Verification {
	if l == nil || len(l.revisions) == 0 {
		return nil
	}
	return l.revisions[len(l.revisions)-1]
}

// at returns one revision, or nil if a redaction erased it.
func (l *session) at(revision int32) *verificationv1.Verification {
	if revision < l.redacted {
		return nil
	}
	return l.revisions[revision-1]
}

// newest returns the newest session with a reference, or nil.
func (s *state) newest(reference string) *session {
	var newest *session
	for _, life := range s.sessions {
		if life.latest().GetClientReferenceId() == reference && (newest == nil || newer(life.latest(), newest.latest())) {
			newest = life
		}
	}
	return newest
}

func newer(a, b *verificationv1.Verification) bool {
	return cmp.Or(cmp.Compare(a.GetCreateTime().GetSeconds(), b.GetCreateTime().GetSeconds()), cmp.Compare(a.GetSessionId(), b.GetSessionId())) > 0
}

// awaitLimit bounds AwaitStreams.
const awaitLimit = 30 * time.Second

// AwaitStreams waits until this number of watches have been opened since the start, including closed ones. It returns an error
// when ctx ends, or after 30 s.
func (s *Server) AwaitStreams(ctx context.Context, opened int) error {
	ctx, cancel := context.WithTimeout(ctx, awaitLimit)
	defer cancel()
	for {
		s.state.mu.Lock()
		changed, now := s.state.changed, s.state.opened
		s.state.mu.Unlock()
		if now >= opened {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("clienttest: %d watches were opened, not %d: %w", now, opened, ctx.Err())
		}
	}
}

// Streams returns how many watches are open now, and how many have been opened since the start.
func (s *Server) Streams() (open, opened int) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.streams, s.state.opened
}
