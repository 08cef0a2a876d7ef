package verification

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// world is this service around the record of one session: webhook handlers, reads, and the catch-up, interleaved by a
// deterministic scheduler. Times are Stripe's, in milliseconds.
type world struct {
	rng    *rand.Rand
	life   truth
	record Session
	now    int64
	todo   []task
	made   int
	skew   int64 // the error of this machine's clock
	outage bool  // Stripe's API fails often
	single bool  // one process: ambiguous events share the next GET
	flight *get  // the GET in progress, if GETs are shared
	next   *get  // the one after it
	flaw   flaws
	wrong  string
	tell   bool
	trace  strings.Builder
}

type task struct {
	at    int64
	order int // of two tasks of one moment, the one made first goes first
	do    func()
}

// get is a GET of the session. It begins with a copy of the record and is answered at some later moment.
type get struct {
	read    Read
	begin   int64
	failed  bool
	begun   bool
	waiting []func(get)
	// committed is Session.Applied after a commit of the answer, plus one, if callers share it. See ingest's answer.
	committed *uint64
}

func (w *world) after(delay int64, do func()) {
	w.made++
	w.todo = append(w.todo, task{at: w.now + delay, order: w.made, do: do})
}

func (w *world) run() {
	for len(w.todo) > 0 && w.wrong == "" {
		first := 0
		for i, t := range w.todo {
			if f := w.todo[first]; t.at < f.at || t.at == f.at && t.order < f.order {
				first = i
			}
		}
		t := w.todo[first]
		w.todo[first] = w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		w.now = max(w.now, t.at)
		t.do()
	}
}

func (w *world) live() {
	w.skew = w.rng.Int64N(120_000) - 60_000
	w.outage = w.rng.IntN(4) == 0
	w.single = w.rng.IntN(2) == 0
	w.now = lifeStart
	var lost []Event
	for _, event := range w.life.events {
		at := w.life.moments[0].at
		for _, m := range w.life.moments {
			if m.object == event.Object {
				at = m.at
			}
		}
		isLost := w.rng.IntN(6) == 0
		if isLost || w.rng.IntN(8) == 0 {
			lost = append(lost, event) // catch-up also lists what came
		}
		if isLost {
			continue
		}
		for range 1 + max(0, w.rng.IntN(5)-2) {
			w.after(at-w.now+w.latency(), func() { w.arrive(event) })
		}
	}
	for range w.rng.IntN(4) { // a retry, a read of an unknown session, reconcile
		w.after(w.rng.Int64N(w.life.end()-lifeStart+5000), func() { w.look(false) })
	}
	w.run()

	w.now = max(w.now, w.life.end()) + 60_000
	if w.rng.IntN(2) == 0 {
		w.rng.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
	}
	for _, event := range lost {
		w.after(w.rng.Int64N(50), func() { w.arrive(event) })
	}
	w.run()
	w.outage = false
	if w.silent() || w.record.Unresolved && !w.flaw.noReread {
		w.look(true)
		w.run()
	}
}

// silent reports a redaction of a verified session that no event has brought yet: the `redacted` event is still to come.
func (w *world) silent() bool {
	last := w.life.moments[len(w.life.moments)-1].object
	return last.Redaction == RedactionProcessing && w.record.Redaction == RedactionNone
}

// latency returns the latency of a delivery: mostly short, sometimes longer than the next changes, seldom minutes.
func (w *world) latency() int64 {
	switch w.rng.IntN(8) {
	case 0:
		return w.rng.Int64N(60_000)
	case 1, 2, 3:
		return w.rng.Int64N(6000)
	default:
		return 1 + w.rng.Int64N(600)
	}
}

// arrive handles one delivery: by the rules, then by a read of Stripe if the order is ambiguous.
func (w *world) arrive(event Event) {
	event.RecordTime = w.now + w.skew
	w.meet(event, 3, w.now+2000)
}

// meet applies the rules to an event, with a number of GETs left and a time budget.
func (w *world) meet(event Event, gets int, deadline int64) {
	next, outcome := Transition(w.record, event)
	if outcome.Ambiguous && gets > 0 && w.now < deadline {
		w.log("%s at second %d: the order is ambiguous", event.ID, event.Second)
		w.ask(func(g get) {
			w.after(w.rng.Int64N(30), func() { w.settle(event, g, gets-1, deadline) })
		})
		return
	}
	w.commit(next, outcome, fmt.Sprintf("%s %v", event.ID, event.Object))
}

func (w *world) settle(event Event, g get, gets int, deadline int64) {
	if g.failed || w.now > deadline {
		w.meet(event, 0, deadline)
		return
	}
	if w.flaw.ignoreApplied {
		g.read.Applied = w.record.Applied
	}
	next, outcome := Resolve(w.record, event, g.read)
	if outcome.Dropped {
		w.log("%s: dropped its read", event.ID)
		w.meet(event, gets, deadline)
		return
	}
	w.commit(next, outcome, fmt.Sprintf("settled %s %v by %v as of %d", event.ID, event.Object, g.read.Object, g.read.AsOf))
}

// ask begins a GET after this moment. If GETs are shared and one is in progress, the callers share the next one.
func (w *world) ask(waiter func(get)) {
	mine := &get{waiting: []func(get){waiter}}
	switch {
	case !w.single:
		w.after(w.rng.Int64N(30), func() { w.begin(mine) })
	case w.flight == nil:
		w.flight = mine
		w.after(w.rng.Int64N(30), func() { w.begin(mine) })
	case !w.flight.begun || w.flaw.shareUnderWay:
		w.flight.waiting = append(w.flight.waiting, waiter)
	case w.next == nil:
		w.next = mine
	default:
		w.next.waiting = append(w.next.waiting, waiter)
	}
}

// begin, answer and end: Stripe reads the session at some moment in between, and sets the Date at any moment.
func (w *world) begin(g *get) {
	g.begun, g.begin, g.read.Applied, g.committed = true, w.now, w.record.Applied, new(uint64)
	g.failed = w.rng.IntN(20) == 0 || w.outage && w.rng.IntN(2) == 0
	there := w.rng.Int64N(300)
	back := w.rng.Int64N(300)
	if w.rng.IntN(8) == 0 {
		back += w.rng.Int64N(4000)
	}
	date := (w.now + w.rng.Int64N(there+back+1)) / 1000 * 1000
	w.after(there, func() {
		object, ok := w.life.at(w.now)
		g.read.Object, g.failed = object, g.failed || !ok
	})
	w.after(there+back, func() {
		g.read.AsOf = time.UnixMilli(date-(w.now-g.begin)).Unix() - 1
		if w.flaw.ownClock {
			g.read.AsOf = (w.now + w.skew) / 1000
		}
		g.read.RecordTime = w.now + w.skew
		if w.flight == g {
			w.flight, w.next = w.next, nil
			if next := w.flight; next != nil {
				w.after(w.rng.Int64N(30), func() { w.begin(next) })
			}
		}
		for _, waiting := range g.waiting {
			waiting(*g)
		}
	})
}

// look reads the session without an event, as for RetryVerification, an unknown session or the catch-up. A caller that needs
// the answer reads again until there is one.
func (w *world) look(must bool) {
	w.begin(&get{waiting: []func(get){func(g get) {
		w.after(w.rng.Int64N(30), func() {
			if g.failed {
				if must {
					w.look(must)
				}
				return
			}
			if w.flaw.ignoreApplied {
				g.read.Applied = w.record.Applied
			}
			next, outcome := ApplyRead(w.record, g.read)
			w.commit(next, outcome, fmt.Sprintf("read %v as of %d", g.read.Object, g.read.AsOf))
		})
	}}})
}

// commit stores a record after a check of what no commit may break.
func (w *world) commit(next Session, outcome Outcome, what string) {
	w.log("%s: effect %d dropped %v -> %s %v %s second %d as of %d pending %v failed %d", what, outcome.Effect,
		outcome.Dropped, next.Status, next.Error, next.Report, next.Second, next.AsOf, next.Unresolved, next.FailedAttempts)
	if !outcome.Write {
		return
	}
	grown := next.Revision - w.record.Revision
	switch changed := !w.record.Exists() || !sameSeen(next.State, w.record.State); {
	case next.UpdateTime < w.record.UpdateTime:
		w.wrong = "update_time fell"
	case w.record.Exists() && !changed && grown != 0, changed && (grown < 1 || grown > 2):
		w.wrong = fmt.Sprintf("%d revisions for changed=%v", grown, changed)
	}
	w.record = next
}

func (w *world) log(format string, arguments ...any) {
	if w.tell {
		fmt.Fprintf(&w.trace, "%8d  ", w.now-lifeStart/1000*1000)
		fmt.Fprintf(&w.trace, format+"\n", arguments...)
	}
}
