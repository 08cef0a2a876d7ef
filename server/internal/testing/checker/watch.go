package checker

import (
	"fmt"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// maxToken is the longest resume token, in bytes, that the contract allows.
const maxToken = 2 << 10

// Watch records one logical watch: a stream, and the streams that resume it. It is safe for concurrent use, but the calls must
// come in the order of what the client met.
type Watch struct {
	recorder     *Recorder
	name         string
	id           string // of a watch by session id; else empty
	all          bool
	untilSettled bool
	log          []entry
}

// kind is the kind of a log entry.
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
	token uint64 // the hash of the token of the request or response; 0 if there is none or it is too long
	code  string // ended
	kind  kind
}

// Watch begins the record of a logical watch. Of the request it uses only the subject and until_settled.
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

// Opened records that the client is about to open a stream. Without a token the stream is a new start, and with the token of an
// earlier response of this watch it is a resume. An earlier stream without Ended counts as cut off.
func (w *Watch) Opened(token string) {
	w.add(func(now moment) entry {
		return entry{moment: now, kind: opened, token: w.recorder.hashOf(token)}
	})
}

// Response records a response that the client has handled. Do not record a response that it got and dropped.
func (w *Watch) Response(response *verificationv1.WatchStatusResponse) {
	w.add(func(now moment) entry {
		e := entry{moment: now, kind: responded, fact: w.recorder.see(response.GetVerification(), now, w.name)}
		if token := response.GetResumeToken(); len(token) <= maxToken {
			e.token = w.recorder.hashOf(token)
		}
		return e
	})
}

// Ended records how the stream ended. nil or io.EOF is OK. Canceled means that the client ended it.
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
	ended     *entry // nil if cut off or still open
}

func (l leg) resumed() bool { return l.opened.token != 0 }

// legs returns the streams of a watch, in order.
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

// chains groups the streams that belong together: the first begins without a token, and the others resume it.
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

// line returns an entry as a line of evidence.
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

// evidence returns the last entries up to a moment about the streams and about one session, oldest first. If s is nil,
// it returns the last entries about all sessions.
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
