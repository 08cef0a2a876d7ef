package checker

import (
	"fmt"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// maxToken is the longest resume token, in bytes, that the contract allows.
const maxToken = 2 << 10

// Watch is one logical watch: a stream, and those that resume it. It is safe for concurrent use, but
// the calls must come in the order in which the client met what they tell.
type Watch struct {
	recorder     *Recorder
	name         string
	id           string // by session id; else empty
	all          bool
	untilSettled bool
	log          []entry
}

// kind is what a log entry tells.
type kind uint8

const (
	opened kind = iota
	responded
	ended
)

// entry is one line of a watch's log.
type entry struct {
	moment
	fact  *fact  // responded with a verification
	token uint64 // the hash of the token opened with or given; 0: none, or too long
	code  string // ended
	kind  kind
}

// Watch begins the record of a logical watch. Of the request only what is watched and until_settled
// count.
func (r *Recorder) Watch(request *verificationv1.WatchStatusRequest) *Watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, all := request.GetSubject().(*verificationv1.WatchStatusRequest_AllSessions)
	w := &Watch{
		recorder: r, name: fmt.Sprintf("watch %d", len(r.watches)+1),
		id: request.GetSessionId(), all: all, untilSettled: request.GetUntilSettled(),
	}
	r.watches = append(r.watches, w)
	return w
}

// Opened records that a stream was asked for, before it is: without a token a new start, with one that
// an earlier response of this watch gave a resume. A stream that was not told to have ended counts as
// cut off.
func (w *Watch) Opened(token string) {
	w.add(func(now moment) entry {
		return entry{moment: now, kind: opened, token: w.recorder.hashOf(token)}
	})
}

// Response records a response that the client has handled: one that it got and dropped is not told.
func (w *Watch) Response(response *verificationv1.WatchStatusResponse) {
	w.add(func(now moment) entry {
		e := entry{moment: now, kind: responded, fact: w.recorder.see(response.GetVerification(), now, w.name)}
		if token := response.GetResumeToken(); len(token) <= maxToken {
			e.token = w.recorder.hashOf(token)
		}
		return e
	})
}

// Ended records how the stream ended: nil or io.EOF is OK, Canceled the client's own doing.
func (w *Watch) Ended(err error) {
	w.add(func(now moment) entry {
		return entry{moment: now, kind: ended, code: w.recorder.codeOf(err)}
	})
}

func (w *Watch) add(entryAt func(moment) entry) {
	w.recorder.mu.Lock()
	defer w.recorder.mu.Unlock()
	w.log = append(w.log, entryAt(w.recorder.now()))
}

// leg is one stream of a watch.
type leg struct {
	opened    entry
	responses []entry
	ended     *entry // nil: cut off, or still open
}

func (l leg) resumed() bool { return l.opened.token != 0 }

// legs are the streams of a watch, in order.
func (w *Watch) legs() []leg {
	var legs []leg
	for i, e := range w.log {
		switch {
		case e.kind == opened:
			legs = append(legs, leg{opened: e})
		case len(legs) == 0:
			legs = append(legs, leg{opened: entry{moment: e.moment}})
		}
		current := &legs[len(legs)-1]
		switch e.kind {
		case responded:
			current.responses = append(current.responses, e)
		case ended:
			current.ended = &w.log[i]
		}
	}
	return legs
}

// chains are the streams that belong together: each begins without a token, the others resume it.
func (w *Watch) chains() [][]leg {
	var chains [][]leg
	for _, l := range w.legs() {
		if !l.resumed() || len(chains) == 0 {
			chains = append(chains, nil)
		}
		chains[len(chains)-1] = append(chains[len(chains)-1], l)
	}
	return chains
}

// line is an entry as evidence.
func (w *Watch) line(e entry) string {
	var text string
	switch {
	case e.kind == opened && e.token == 0:
		text = "opened without a token"
	case e.kind == opened:
		text = "opened with a token"
	case e.kind == ended:
		text = "ended with " + e.code
	case e.fact == nil:
		text = "a response without a verification"
	default:
		text = fmt.Sprintf("%s revision %d: %v", e.fact.session.id, e.fact.revision, e.fact.content)
	}
	return fmt.Sprintf("%v %s %s", e.moment, w.name, text)
}

// evidence is what led to a moment: the last entries about the streams and about one session (all
// sessions where it is nil), oldest first.
func (w *Watch) evidence(s *session, until moment) []string {
	const most = 8
	var lines []string
	for i := len(w.log) - 1; i >= 0 && len(lines) < most; i-- {
		e := w.log[i]
		if e.seq <= until.seq && (e.fact == nil || s == nil || e.fact.session == s) {
			lines = append([]string{w.line(e)}, lines...)
		}
	}
	return lines
}
