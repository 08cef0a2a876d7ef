package checker

import "time"

// settledGrace bounds the time, in milliseconds, for which a watch with until_settled stays open after a settled response. The
// service needs no store to end it.
const settledGrace = int64(5 * time.Second / time.Millisecond)

// checkStreams checks what each stream of a watch must do, with any content: SnapshotFirst, and of Resumable the tokens and the
// ends of streams.
func (c *checking) checkStreams(w *Watch) {
	for _, chain := range w.chains() {
		c.checkEverythingLost(w, chain)
		for _, l := range chain {
			c.checkFirst(w, l)
			for _, e := range l.responses {
				if e.token == 0 {
					c.inWatch(Resumable, w, nil, e.moment, "a response without a resume token, or with one over 2 KiB")
				}
			}
			if l.ended != nil {
				c.checkEnd(w, chain, l)
			}
		}
	}
}

func (c *checking) checkFirst(w *Watch, l leg) {
	if len(l.responses) == 0 {
		return
	}
	switch first := l.responses[0]; {
	case w.all && first.fact != nil:
		c.inWatch(SnapshotFirst, w, first.fact.session, first.moment, "a watch of all sessions began with a change, not with a bookmark")
	case !w.all && !l.resumed() && first.fact == nil:
		c.inWatch(SnapshotFirst, w, nil, first.moment, "began without the current status")
	}
}

// checkEnd checks the codes on which clients act.
func (c *checking) checkEnd(w *Watch, chain []leg, l leg) {
	at, begun := l.ended.moment, chain[0].opened.moment
	subject := c.watched(w)
	switch l.ended.code {
	case codeInvalidArgument:
		if l.resumed() {
			c.inWatch(Resumable, w, nil, at, "a token that this watch was given is refused as invalid")
		}
	case codeOutOfRange:
		if !c.options.Trimmed && !c.between(subject, begun, at) && !c.lostReference(w, chain) {
			c.inWatch(Resumable, w, nil, at, "OUT_OF_RANGE, but nothing was lost since the watch began")
		}
	case codeNotFound:
		if f := c.proven(subject, 1, l.opened.moment, at); f != nil {
			c.violation(NeverBackwards, subject, at, append([]string{f.String()}, w.evidence(subject, at)...), "%s: NOT_FOUND, but the session was seen", w.name)
		}
	}
}

// watched returns the session of a watch by id, or nil.
func (c *checking) watched(w *Watch) *session {
	if w.id == "" {
		return nil
	}
	return c.session(w.id)
}

// lostReference returns whether a redaction has removed the reference of a session that the chain showed. The service then no
// longer knows that the owner of the token has a right to see the session.
func (c *checking) lostReference(w *Watch, chain []leg) bool {
	if w.all || w.id != "" {
		return false
	}
	for _, l := range chain {
		for _, e := range l.responses {
			if e.fact != nil && anyRedacted(e.fact.session) {
				return true
			}
		}
	}
	return false
}

func anyRedacted(s *session) bool {
	for _, f := range s.facts {
		if f.redacted() {
			return true
		}
	}
	return s.truth != nil && s.truth.Redaction > 0
}

// checkEverythingLost checks that no chain continues over a loss of everything. A watch by reference can continue with a newer
// session, whose current status it sends.
func (c *checking) checkEverythingLost(w *Watch, chain []leg) {
	for _, e := range c.eras {
		if !e.Everything || e.over() == ^uint64(0) {
			continue
		}
		seenBefore := make(map[*session]bool) // shown before the loss; nil stands for any response
		for _, l := range chain {
			for _, response := range l.responses {
				switch {
				case response.seq < e.begin.seq:
					seenBefore[nil] = true
					if response.fact != nil {
						seenBefore[response.fact.session] = true
					}
				case response.fact == nil, response.seq < e.end.seq, !e.concerns(response.fact.session):
				case !w.all && response.fact.redacted(): // a redaction leaves no evidence
				case seenBefore[response.fact.session], w.all && seenBefore[nil]:
					c.inWatch(Resumable, w, response.fact.session, response.moment, "continued over a loss of everything (%s, %v) without OUT_OF_RANGE", e.Reason, e.begin)
					return
				}
			}
		}
	}
}

// checkSettled checks SettledEnds for one stream of a watch by id or reference. before is the fact behind which the stream
// resumes, or nil if it is a new start.
func (c *checking) checkSettled(w *Watch, l leg, before *fact) {
	last := before
	since := l.opened.moment
	for _, e := range l.responses {
		switch {
		case e.fact != nil:
			last, since = e.fact, e.moment
		case w.untilSettled && last != nil && c.settles(w, last):
			c.inWatch(SettledEnds, w, last.session, e.moment, "continues after the session is settled")
		}
	}
	settled := last != nil && c.settles(w, last)
	end, code := c.end, ""
	if l.ended != nil {
		end, code = l.ended.moment, l.ended.code
	}
	var s *session
	if last != nil {
		s = last.session
	}
	switch {
	case code == codeOK && !w.untilSettled:
		c.inWatch(SettledEnds, w, s, end, "ended with OK without until_settled")
	case code == codeOK && !settled:
		c.inWatch(SettledEnds, w, s, end, "ended with OK before the session is settled")
	case (code == "" || code == codeCanceled) && w.untilSettled && settled && len(l.responses) > 0 && end.at-since.at > settledGrace:
		c.inWatch(SettledEnds, w, s, end, "did not end although the session is settled")
	}
}

// settles returns whether a response ends a watch with until_settled.
func (c *checking) settles(w *Watch, f *fact) bool {
	return f.ended() && (w.id != "" || f.supersededBy == "")
}
