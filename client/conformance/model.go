package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// model computes from the steps of a script what each watch must report. It knows the rules of the contract, and neither the
// server nor a client.
type model struct {
	sessions []*life
	feed     []change // of all sessions
	made     []change // by the last step
	watches  map[string]*watched
	begun    map[string]int // watches by kind
	want     map[string][]string

	started   bool
	addresses int
	down      int // the address that is down, from 1; 0: none
	unready   int // the address that says that it is not ready, from 1; 0: none
	wrong     bool
	slow      bool // the client has a long backoff
	away      bool
	closed    bool
	shaky     bool               // the client can still hold a connection that was cut
	refusals  map[string]failure // by kind
	failures  failure            // of unary calls
	http      failure            // of a proxy
}

// life is one session.
type life struct {
	name     string
	changes  []change
	redacted int // the revision that redacted it; 0: none
}

// change is one revision of a session.
type change struct {
	session, revision, outcome int
	status                     string
	redacts, large             bool
}

// failure is an error that the next n attempts get.
type failure struct {
	code, reason string        // the reason is that of the service, "" if another one has made the error
	wait         time.Duration // of its RetryInfo
	n            int
}

// watched is one watch or consumer.
type watched struct {
	name, kind   string
	live, paused bool
	pausedAt     int  // how many entries the feed had
	broken       bool // its stream was lost during the pause
	untilSettled bool
	unknown      bool // its session does not exist
	badToken     bool
	session      int  // the one shown, by its index
	revision     int  // delivered last; 0: none
	entries      int  // of the feed, delivered; below 0: not yet begun
	first        bool // no attempt has been answered or has failed
	expired      bool // its token was trimmed
	reset        bool // history was lost, and no update has said so
	unsure       bool // a consumer can have handled what it could not acknowledge
}

func (w *watched) isPaused() bool { return w.paused }

// The kinds of watches. A script has at most one live watch of each.
const (
	bySession   = "session"
	byReference = "reference"
	ofAll       = "all"
	byConsumer  = "consumer"
)

// ofCrowd is the kind of the watches of the step crowd, which begin and end in it.
const ofCrowd = "crowd"

var kinds = []string{bySession, byReference, ofAll, byConsumer}

func newModel() *model {
	m := &model{
		watches: make(map[string]*watched), begun: make(map[string]int), want: make(map[string][]string),
		refusals: make(map[string]failure), addresses: 1,
	}
	m.newer()
	return m
}

// newer creates another session with the same reference.
func (m *model) newer() {
	m.sessions = append(m.sessions, &life{name: fmt.Sprintf("vs_%d", len(m.sessions)+1)})
	m.change(len(m.sessions)-1, "")
}

// change makes one revision. Without a status, it is the one that alternates.
func (m *model) change(session int, status string) *change {
	l := m.sessions[session]
	c := change{session: session, revision: len(l.changes) + 1, status: status}
	c.outcome = c.revision
	if status == "" && c.revision%2 == 1 {
		c.status = "REQUIRES_INPUT"
	} else if status == "" {
		c.status = "PROCESSING"
	}
	l.changes = append(l.changes, c)
	m.feed, m.made = append(m.feed, c), append(m.made, c)
	return &m.made[len(m.made)-1]
}

func (m *model) changeNewest(n int) {
	for range n {
		m.change(len(m.sessions)-1, "")
	}
}

// redact erases the personal data of the newest session. No revision before it can be shown any more.
func (m *model) redact() {
	session := len(m.sessions) - 1
	l := m.sessions[session]
	last := l.changes[len(l.changes)-1]
	l.changes = append(l.changes, change{session, last.revision + 1, last.outcome, last.status, true, false})
	l.redacted = last.revision + 1
	m.feed, m.made = append(m.feed, l.changes[last.revision]), append(m.made, l.changes[last.revision])
}

// newestOfReference returns the index of the newest session that has the reference, or -1.
func (m *model) newestOfReference() int {
	for i, l := range slices.Backward(m.sessions) {
		if l.redacted == 0 {
			return i
		}
	}
	return -1
}

// live returns the live watches, in the order of kinds.
func (m *model) live() []*watched {
	var live []*watched
	for _, kind := range kinds {
		if w := m.watches[kind]; w != nil && w.live {
			live = append(live, w)
		}
	}
	return live
}

// endingCodes are the codes that end a watch: another try cannot fix them.
var endingCodes = []string{
	"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION", "UNIMPLEMENTED",
}

// fails applies an error that ended a stream or an attempt. It is the rule of which errors end a watch.
func (m *model) fails(w *watched, f failure) {
	first := w.first
	w.first = false
	switch {
	case w.kind == byConsumer && f.code == "UNIMPLEMENTED": // of a server that is older than consumers: another one is tried
	case slices.Contains(endingCodes, f.code):
		if f.reason != "" || first { // a proxy's error ends it only as the very first answer
			m.end(w, f)
		}
	case f.code != "OUT_OF_RANGE":
	case w.kind == ofAll, f.reason == "CONSUMER_EXPIRED":
		m.end(w, f)
	case w.kind == byConsumer:
		w.unsure = true
	default:
		w.lost()
	}
}

// lost makes a watch of one subject begin again with the current status.
func (w *watched) lost() { w.expired, w.reset, w.revision = false, true, 0 }

func (m *model) end(w *watched, f failure) {
	w.live = false
	m.want[w.name] = append(m.want[w.name], endLine(f))
}

// open opens streams of a watch until one is accepted or the watch has ended. Then it delivers.
func (m *model) open(w *watched) {
	for w.live {
		switch refusal := m.refusals[w.kind]; {
		case m.http.n > 0:
			m.http.n--
			m.fails(w, failure{code: codeOfHTTP(m.http.code)})
		case m.wrong:
			m.fails(w, failure{code: "UNAUTHENTICATED", reason: "UNAUTHENTICATED"})
		case refusal.n > 0:
			refusal.n--
			m.refusals[w.kind] = refusal
			m.fails(w, refusal)
		case w.unknown:
			m.fails(w, failure{code: "NOT_FOUND", reason: "SESSION_NOT_FOUND"})
		case w.badToken:
			m.fails(w, failure{code: "INVALID_ARGUMENT", reason: "RESUME_TOKEN_INVALID"})
		case w.expired && w.kind == byConsumer:
			w.expired, w.unsure = false, true // it continues after what was acknowledged
		case w.expired, w.kind == byReference && w.revision > 0 && m.sessions[w.session].redacted > 0:
			m.fails(w, failure{code: "OUT_OF_RANGE", reason: "RESUME_TOKEN_EXPIRED"})
		case w.kind == byReference && w.revision == 0 && m.newestOfReference() < 0:
			m.fails(w, failure{code: "NOT_FOUND", reason: "SESSION_NOT_FOUND"})
		default:
			w.first = false
			m.deliver(w)
			return
		}
	}
}

// deliver adds what an open stream of a watch delivers.
func (m *model) deliver(w *watched) {
	if w.kind == ofAll || w.kind == byConsumer {
		m.deliverFeed(w)
		return
	}
	if newest := m.newestOfReference(); w.kind == byReference && (w.revision == 0 || newest > w.session) {
		w.session, w.revision = newest, 0
	}
	l := m.sessions[w.session]
	if w.revision == 0 {
		w.revision = len(l.changes) - 1 // the current status first
	}
	for ; w.revision < len(l.changes); w.revision++ {
		m.update(w, l.changes[w.revision])
	}
	if w.untilSettled && l.settled() {
		m.end(w, failure{code: "OK"})
	}
}

func (m *model) deliverFeed(w *watched) {
	if w.entries < 0 {
		w.entries = len(m.feed) // it begins with the next change
	}
	for ; w.entries < len(m.feed); w.entries++ {
		m.update(w, m.feed[w.entries])
	}
}

// update adds an update, unless a redaction has erased the revision.
func (m *model) update(w *watched, c change) {
	l := m.sessions[c.session]
	if c.revision < l.redacted {
		return
	}
	m.want[w.name] = append(m.want[w.name], updateLine(l.name, c.revision, c.status, c.outcome, w.reset))
	w.reset = false
}

func (l *life) settled() bool {
	return l.redacted > 0 || l.changes[len(l.changes)-1].status == "VERIFIED"
}

// names returns the names of the watches so far.
func (m *model) names() []string { return slices.Sorted(maps.Keys(m.want)) }
