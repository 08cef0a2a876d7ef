package checker

// position is the position of a watch of a session or reference.
type position struct {
	at    *fact  // the last one handled; nil before the first
	when  moment // it was handled
	floor int32  // the revision with which its session began
	left  int    // how many sessions the watch has left
}

// checkSubject checks Ordered, Unique, Gapless, and of Resumable the position of a resume, for a watch of one session or
// reference over its streams.
func (c *checking) checkSubject(w *Watch, chain []leg) {
	var now position
	var left []*session // that a watch by reference has left
	positions := make(map[uint64]position)
	for n, l := range chain {
		if l.resumed() {
			from, known := positions[l.opened.token]
			if !known {
				c.inWatch(Resumable, w, nil, l.opened.moment, "the test resumes with a token that this watch was not given")
			}
			now, left = from, left[:from.left]
		}
		c.checkSettled(w, l, now.at)
		behind := n > 0 && l.resumed() // the next response is the first after a resume
		for _, e := range l.responses {
			if f := e.fact; f != nil {
				switch {
				case w.id != "" && f.session.id != w.id:
					c.inWatch(Ordered, w, f.session, e.moment, "shows another session than the one asked for")
				case now.at == nil:
					now.floor = f.revision
				case f.session != now.at.session:
					left = append(left, now.at.session)
					c.checkLeft(w, left, e)
					now.floor = f.revision
				default:
					c.checkStep(w, now, e, behind)
				}
				now.at, now.when, now.left = f, e.moment, len(left)
				behind = false
			}
			positions[e.token] = now
		}
	}
}

func (c *checking) checkLeft(w *Watch, left []*session, e entry) {
	for _, s := range left {
		if s == e.fact.session {
			c.inWatch(Ordered, w, s, e.moment, "returns to a session that it had left")
			return
		}
	}
}

// checkStep checks a revision against the previous one of the same session.
func (c *checking) checkStep(w *Watch, before position, e entry, resumed bool) {
	at, next := before.at.revision, e.fact.revision
	switch {
	case !e.fact.redacted() && c.overwritten(before.at, before.when, e.moment):
		c.inWatch(Resumable, w, e.fact.session, e.moment, "continues with revision %d, although a loss took %d, which it had shown", next, at)
	case next == at+1, next > at && c.collapsed(before.at, e.fact, e.moment):
	case next > at && e.fact.redacted() && c.between(e.fact.session, before.when, e.moment):
		// The redaction has erased the evidence that the revisions before it were lost.
	case next > at && resumed:
		c.inWatch(Resumable, w, e.fact.session, e.moment, "resumed behind revision %d with %d", at, next)
	case next > at:
		c.inWatch(Gapless, w, e.fact.session, e.moment, "revision %d follows %d", next, at)
	case next == at, resumed && next >= before.floor:
		c.inWatch(Unique, w, e.fact.session, e.moment, "revision %d came again, after %d", next, at)
	case resumed:
		c.inWatch(Resumable, w, e.fact.session, e.moment, "resumed behind revision %d with %d", at, next)
	default:
		c.inWatch(Ordered, w, e.fact.session, e.moment, "revision %d follows %d", next, at)
	}
}
