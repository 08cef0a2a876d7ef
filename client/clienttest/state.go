package clienttest

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// state is what a Server keeps. Whatever changes it wakes all streams, which look again.
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
	links    int // given out
	fail     error
	failNext []error
	onRetry  func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error)
	streams  int // open
	opened   int // ever
}

// session is one session's life.
type session struct {
	revisions []*verificationv1.Verification // revision n at n-1
	history   []*verificationv1.HistoryEntry
	redacted  int32           // the first revision that was; 0: none
	failures  map[string]bool // those counted, and whether they have their grant
	shown     string          // the failure that is shown; "": none that counts
	newest    failure         // the one counted last
	inDoubt   bool
}

// entry is one change of any session.
type entry struct {
	id       string
	revision int32
}

func newState() state {
	return state{
		changed:  make(chan struct{}),
		sessions: make(map[string]*session),
		clock:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix(),
	}
}

// wake makes all streams look. It is called with the lock held.
func (s *state) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

var sessionID = regexp.MustCompile(`^vs_[A-Za-z0-9_]{1,252}$`)

// Set makes this the current state of the session, as its next revision, and returns it as clients see
// it. A state that is the current one already makes no revision.
//
// The session begins with the first Set; of several with one client_reference_id, the one begun last is
// the newest. Filled in where they are left out: the times, a second apart for each change;
// stripe_status, stripe_type, stripe_code and category; retry, by the rules of the service with its
// default settings: two retries at first, a failure counted for each last_verification_report that comes
// with a last_error (without a report, for each Set that brings a last_error), none for "abandoned".
// settled and revision are always filled in. Type, client_reference_id, account and superseded_by stay as
// they were where they are left out. A redaction takes the reference, the error and the report away and
// stays, and a cancel takes the error away, as the real ones do. A session id that is none panics.
func (s *Server) Set(v *verificationv1.Verification) *verificationv1.Verification {
	if !sessionID.MatchString(v.GetSessionId()) {
		panic(fmt.Sprintf(`clienttest: Set: session_id %q: it must be "vs_" and 1 to 252 letters, digits or underscores`, v.GetSessionId()))
	}
	next := proto.CloneOf(v)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return proto.CloneOf(s.state.set(next, verificationv1.Source_SOURCE_WEBHOOK))
}

// SetInDoubt puts a session into the list of those in doubt, or takes it out.
func (s *Server) SetInDoubt(sessionID string, inDoubt bool) {
	s.change(func(st *state) {
		if life := st.sessions[sessionID]; life != nil {
			life.inDoubt = inDoubt
		}
	})
}

// set takes v over. Only a webhook's retry state is kept as it is; from elsewhere it has the counts. It
// is called with the lock held.
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
	life.revisions = append(life.revisions, v)
	life.history = append(life.history, historyEntry(v, carried, source))
	if v.GetRedaction() != 0 && life.redacted == 0 {
		life.redacted = v.GetRevision()
	}
	s.sessions[v.GetSessionId()] = life
	s.feed = append(s.feed, entry{v.GetSessionId(), v.GetRevision()})
	s.wake()
	return v
}

// same compares all but the revision and the time of the change, which follow from the rest where they are
// left out.
func same(a, b *verificationv1.Verification) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.Revision, b.Revision, a.UpdateTime, b.UpdateTime = 0, 0, nil, nil
	return proto.Equal(a, b)
}

func (l *session) latest() *verificationv1.Verification {
	if l == nil || len(l.revisions) == 0 {
		return nil
	}
	return l.revisions[len(l.revisions)-1]
}

// at is one revision; nil where a redaction took it away.
func (l *session) at(revision int32) *verificationv1.Verification {
	if revision < l.redacted {
		return nil
	}
	return l.revisions[revision-1]
}

// newest is the session that a reference leads to, or nil.
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

// AwaitStreams returns once this many watches have been opened since the start, whether they are still
// open or not; an error when ctx ends or after 30 s.
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

// Streams is how many watches are open now, and how many ever were.
func (s *Server) Streams() (open, opened int) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.streams, s.state.opened
}
