package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ledger is what the program has reported and what its client has done, in one script. It checks the rules that a trace cannot
// show. It is safe for concurrent use.
type ledger struct {
	heartbeat  time.Duration // that streams must ask for
	maxBackoff time.Duration // of the client; 0: so short that no wait can be measured

	mu       sync.Mutex
	changed  chan struct{} // closed at each entry, and replaced
	traces   map[string][]string
	reports  int // how many events the program has written
	ended    map[string]bool
	tokens   map[string]string // after which another watch would begin, by watch
	marks    map[string]int    // bookmarks, by watch
	streams  map[string]*streams
	calls    map[string]int // unary calls that reached the server, by method
	problems []string
}

// streams is what the streams of one kind of watch have done.
type streams struct {
	watch    string // the live one, "" before the first
	opened   int    // accepted or not
	position string // token of the last update that the program has reported
	sent     []string
	ever     map[string]string // what each token that was sent stands for
	notUntil time.Time         // the wait that the server asked for
	row      row
}

func newLedger(heartbeat time.Duration) *ledger {
	l := &ledger{
		heartbeat: heartbeat,
		changed:   make(chan struct{}), traces: make(map[string][]string), ended: make(map[string]bool), tokens: make(map[string]string),
		marks: make(map[string]int), streams: make(map[string]*streams), calls: make(map[string]int),
	}
	for _, kind := range append(kinds[:len(kinds):len(kinds)], ofCrowd) {
		l.streams[kind] = &streams{ever: make(map[string]string)}
	}
	return l
}

// wake wakes all that wait. The lock is held.
func (l *ledger) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// problem records a broken rule. The lock is held.
func (l *ledger) problem(format string, values ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, values...))
	l.wake()
}

// begin says that a watch of a kind begins after a token.
func (l *ledger) begin(kind, watch, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[kind]
	s.watch, s.position, s.sent = watch, token, nil
	l.tokens[watch] = token // of the watch before, if this one ends without an update
	if s.ever[token] == "" {
		s.ever[token] = "the token " + token
	}
}

// report adds an event of the program. kind is that of the watch.
func (l *ledger) report(kind, watch string, e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake()
	l.reports++
	if l.ended[watch] {
		l.problem("%s: the program reported %q after the end of the watch", watch, e.Event)
		return
	}
	switch e.Event {
	case "end":
		l.ended[watch] = true
		l.traces[watch] = append(l.traces[watch], endLine(e.failure()))
		return
	case "bookmark":
		l.marks[watch]++
		if kind != ofAll {
			l.traces[watch] = append(l.traces[watch], "bookmark, which was not asked for")
		}
	case "update":
		line := updateLine(e.Session, e.Revision, e.Status, e.OutcomeRevision, e.Reset)
		if kind == byConsumer && slices.Contains(l.traces[watch], line) {
			break // each outcome comes at least once
		}
		l.traces[watch] = append(l.traces[watch], line)
	}
	l.tokens[watch] = e.Token
	s := l.streams[kind]
	if s.ever[e.Token] == "" {
		l.problem("%s: the token of the reported %s was never sent: %q", watch, e.Event, e.Token)
	}
	if i := slices.Index(s.sent, e.Token); i >= 0 {
		s.position, s.sent = e.Token, s.sent[i+1:]
	}
}

// request checks the token of a new stream, the wait before it, and the heartbeat for which it asks.
func (l *ledger) request(kind, token string, heartbeat time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake()
	s := l.streams[kind]
	s.opened++
	if (heartbeat - l.heartbeat).Abs() >= time.Millisecond {
		l.problem("%s: a stream asked for a heartbeat of %v; want %v, for which the client waits", cmp.Or(s.watch, kind), heartbeat, l.heartbeat)
	}
	// The token is that of the last handled response: the last one that was reported, or one that was sent since.
	if kind != byConsumer && kind != ofCrowd && token != s.position && !slices.Contains(s.sent, token) {
		l.problem("%s: a stream began with %s; want that of the last handled update, %s", s.watch, s.named(token), s.named(s.position))
	}
	if l.maxBackoff > 0 {
		if problem := s.row.next(l.maxBackoff); problem != "" {
			l.problem("%s: %s", s.watch, problem)
		}
	}
	if left := time.Until(s.notUntil); left > early {
		l.problem("%s: a stream began %v before the wait was over that the server asked for (RetryInfo)", s.watch, left.Round(time.Millisecond))
	}
}

// named returns what a token stands for.
func (s *streams) named(token string) string {
	switch known := s.ever[token]; {
	case token == "":
		return "no token"
	case known == "":
		return fmt.Sprintf("a token that was never sent, %q", token)
	default:
		return known
	}
}

// send says that a stream sends a response now: its token, and the name of its update, "" for a heartbeat.
func (l *ledger) send(kind, token, update string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake()
	s := l.streams[kind]
	switch {
	case update != "":
		s.ever[token] = "the token of " + update
	case s.ever[token] == "":
		s.ever[token] = "the token of a heartbeat"
	}
	if len(s.sent) == 0 || s.sent[len(s.sent)-1] != token {
		s.sent = append(s.sent, token)
	}
}

// finished says how a stream ended: whether history was lost, and which wait the server asked for.
func (l *ledger) finished(kind string, lost bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake()
	s := l.streams[kind]
	s.notUntil = time.Now().Add(wait)
	if lost {
		s.position, s.sent = "", nil
	}
}

// failed says whether the client gets an error in place of the first response of a stream that ends now.
func (l *ledger) failed(kind string, isFailed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[kind].row.end(isFailed)
}

// called counts a unary call.
func (l *ledger) called(method string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake()
	l.calls[method]++
}

// answered adds the line of an answered call.
func (l *ledger) answered(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake()
	l.traces[calls] = append(l.traces[calls], line)
}

// fault adds a problem.
func (l *ledger) fault(format string, values ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem(format, values...)
}

// look calls f with the lock held, and returns what it returns and the channel that closes at the next entry.
func (l *ledger) look(f func() bool) (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f(), l.changed
}
