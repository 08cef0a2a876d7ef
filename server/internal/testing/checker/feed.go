package checker

// feed follows a watch of all sessions over the streams of one chain.
type feed struct {
	*checking
	watch     *Watch
	since     int64                    // of the first response, in Unix seconds: later changes at Stripe must be shown
	handled   []handledFact            // in order
	positions map[*session]handledFact // the greatest handled revision of each session
	cursors   map[uint64]int           // by token: the number of handled changes
}

// handledFact is a handled change and the moment of it.
type handledFact struct {
	*fact
	when moment
}

// checkFeed checks Ordered, Gapless and Resumable for a watch of all sessions. last says that this is the last chain.
func (c *checking) checkFeed(w *Watch, chain []leg, last bool) {
	f := feed{checking: c, watch: w, positions: make(map[*session]handledFact), cursors: make(map[uint64]int)}
	if len(chain[0].responses) == 0 {
		return // it never began
	}
	f.since = chain[0].responses[0].at / 1000
	for n, l := range chain {
		if n > 0 || l.resumed() {
			f.resume(l)
		}
		f.follow(l, l.resumed())
		if l.ended != nil && l.ended.code == codeOK {
			c.inWatch(SettledEnds, w, nil, l.ended.moment, "a watch of all sessions ended with OK")
		}
	}
	end := chain[len(chain)-1].ended
	switch {
	case last && end == nil:
		f.checkNewest(c.end)
	case last && end.code == codeCanceled:
		f.checkNewest(end.moment)
	}
}

// resume returns to the position of a token.
func (f *feed) resume(l leg) {
	cursor, known := f.cursors[l.opened.token]
	if !known {
		f.inWatch(Resumable, f.watch, nil, l.opened.moment, "the test resumes with a token that this watch was not given")
	}
	if cursor == len(f.handled) {
		return
	}
	f.handled = f.handled[:cursor]
	clear(f.positions)
	for _, handled := range f.handled {
		f.handle(handled)
	}
}

func (f *feed) handle(next handledFact) {
	if at := f.positions[next.session]; at.fact == nil || next.revision > at.revision {
		f.positions[next.session] = next
	}
}

// follow checks the responses of one stream.
func (f *feed) follow(l leg, resumed bool) {
	onStream := make(map[*session]int32)
	for _, e := range l.responses {
		if next := e.fact; next != nil {
			before, been := onStream[next.session]
			hole := Gapless
			if resumed && !been {
				hole = Resumable
			}
			if at := f.positions[next.session]; at.fact != nil && f.overwritten(at.fact, at.when, e.moment) {
				f.inWatch(Resumable, f.watch, next.session, e.moment, "continues with revision %d, although a loss took %d, which it had shown", next.revision, at.revision)
			} else if next.revision < before {
				f.inWatch(Ordered, f.watch, next.session, e.moment, "revision %d follows %d", next.revision, before)
			} else {
				f.checkHole(hole, e)
			}
			onStream[next.session] = next.revision
			handled := handledFact{next, e.moment}
			f.handled = append(f.handled, handled)
			f.handle(handled)
		}
		f.cursors[e.token] = len(f.handled)
	}
}

// checkHole checks that the revisions before a change were shown before it.
func (f *feed) checkHole(hole Rule, e entry) {
	next := e.fact
	at := f.positions[next.session]
	switch {
	case at.fact != nil && next.revision <= at.revision+1, f.collapsed(at.fact, next, e.moment):
	case at.fact != nil:
		f.inWatch(hole, f.watch, next.session, e.moment, "revision %d follows %d", next.revision, at.revision)
	case next.created > f.since && next.revision > 1:
		f.inWatch(hole, f.watch, next.session, e.moment, "begins at revision %d with a session born since the watch began", next.revision)
	default:
		for _, missed := range next.session.facts {
			if missed.revision < next.revision && missed.updated > f.since && !f.lost(missed, missed.first.moment, e.moment) {
				f.violation(hole, next.session, e.moment, append([]string{missed.String()}, f.watch.evidence(next.session, e.moment)...),
					"%s: begins at revision %d, but %d happened since the watch began", f.watch.name, next.revision, missed.revision)
				return
			}
		}
	}
}

// checkNewest checks that the watch, at its end, has shown the newest revision of each session that any client saw by then, if
// that revision certainly came after the watch began.
func (f *feed) checkNewest(end moment) {
	for _, s := range f.sorted {
		life := f.life(s, end)
		var newest *fact
		for _, seen := range s.facts {
			if seen.first.seq < end.seq && life >= 0 && f.livesOf(seen)[life] && (newest == nil || seen.revision > newest.revision) {
				newest = seen
			}
		}
		at := f.positions[s]
		if newest == nil || at.fact != nil && at.revision >= newest.revision || at.fact == nil && newest.updated <= f.since {
			continue
		}
		f.violation(Gapless, s, end, append([]string{newest.String()}, f.watch.evidence(s, end)...),
			"%s: never showed revision %d", f.watch.name, newest.revision)
	}
}
