package verification

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"example.com/verification-status/server/internal/testing/await"
)

var chainLives = flag.Int("chains", 3000, "how many chains TestG9_ModelOfReplacement runs")

// chainWorld is what the processes share: the records, and Stripe with its sessions and idempotency keys. One process
// runs at a time, and each of its steps is atomic.
type chainWorld struct {
	t       *testing.T
	rng     *rand.Rand
	policy  RetryPolicy
	records map[string]Session
	stripe  map[string]Object
	keys    map[string]string // by the session replaced: the first answer
	made    []string
	second  int64
	procs   []*proc
	grants  int
	flaw    string
}

// proc is a call or a webhook. It can be killed between any two steps.
type proc struct {
	turn chan bool // false: die
	idle chan bool // false: over
}

func (w *chainWorld) begin(run func(step func())) {
	p := &proc{turn: make(chan bool), idle: make(chan bool)}
	go func() {
		defer func() { p.idle <- false }()
		step := func() {
			p.idle <- true
			if !<-p.turn {
				runtime.Goexit()
			}
		}
		step()
		run(step)
	}()
	await.One(w.t, p.idle)
	w.procs = append(w.procs, p)
}

// move lets one process do a step, or kills it.
func (w *chainWorld) move(kill bool) {
	n := w.rng.IntN(len(w.procs))
	p := w.procs[n]
	p.turn <- !kill // it waits for this: it is idle
	if !await.One(w.t, p.idle) {
		w.procs = append(w.procs[:n], w.procs[n+1:]...)
	}
}

func (w *chainWorld) read(id string) Read {
	w.second++
	return Read{Object: w.stripe[id], AsOf: w.second, Applied: w.records[id].Applied, RecordTime: w.second * 1000}
}

func (w *chainWorld) commit(s Session) { w.records[s.ID] = s }

func (w *chainWorld) event(id string) Event {
	w.second++
	o := w.stripe[id]
	return Event{ID: fmt.Sprintf("evt_%d", w.second), Type: EventRequiresInput, Source: SourceWebhook, Second: w.second, RecordTime: w.second * 1000, Object: o}
}

// inherit is ingest.Ingest.Inherit, step by step.
func (w *chainWorld) inherit(id string, step func()) {
	owed := w.records[id].UnfinishedPredecessor()
	if owed == "" || !w.records[owed].Accepts(w.records[id]) {
		return
	}
	step()
	w.inherit(owed, step)
	step()
	if !w.records[owed].Accepts(w.records[id]) {
		return
	}
	old, _ := Supersede(w.records[owed], id, at(w.second))
	w.commit(old)
	if old.SupersededBy != id {
		return
	}
	step()
	next, _ := Inherit(w.records[id], old, at(w.second))
	w.commit(next)
}

func (w *chainWorld) webhook(event Event, step func()) {
	next, _ := Transition(w.records[event.Object.ID], event)
	w.commit(next)
	w.inherit(event.Object.ID, step)
}

// post is Stripe's creation of a session like another one.
func (w *chainWorld) post(old, claim string) string {
	if id := w.keys[old]; id != "" {
		return id
	}
	w.second++
	id := fmt.Sprintf("vs_%d", len(w.made)+2)
	w.stripe[id] = Object{ID: id, Type: "document", Status: StatusRequiresInput, Created: w.second, Replaces: claim}
	w.keys[old], w.made = id, append(w.made, id)
	return id
}

func (w *chainWorld) grant(s Session, replaces bool) Session {
	next, _, changed := GrantRetry(s, w.policy, at(w.second), bff)
	if replaces {
		next, _, changed = GrantReplacement(s, w.policy, at(w.second), bff, "")
	}
	if changed {
		w.grants++
	}
	return next
}

// call is RetryVerification with replace_closed.
func (w *chainWorld) call(id string, step func()) {
	for range 20 {
		if w.flaw != "no inheritance before a grant" {
			w.inherit(id, step)
		}
		looked := w.records[id].UnfinishedPredecessor()
		step()
		s, outcome := ApplyRead(w.records[id], w.read(id))
		due := s.UnfinishedPredecessor()
		switch {
		case s.SupersededBy != "":
			id = s.SupersededBy
			continue
		case outcome.Dropped, due != "" && due != looked && w.flaw == "":
			w.commit(s)
			continue
		case s.Status != StatusCanceled:
			w.commit(w.grant(s, false))
			return
		}
		w.commit(w.grant(s, true))
		if !w.records[id].Replacement.Granted {
			return
		}
		step()
		successor := w.post(id, id)
		step()
		next, _ := ApplyRead(w.records[successor], w.read(successor))
		next, _ = Claim(next, id)
		w.commit(next)
		step()
		old, _ := Replace(w.records[id], successor, at(w.second))
		w.commit(old)
		id = successor
	}
}

// olderCall is the same call in the version before: one commit stores the successor's counts and its grant, the note
// in the old session is the last one, and there are no claims.
func (w *chainWorld) olderCall(id string, step func()) {
	for range 20 {
		step()
		s := w.records[id]
		switch {
		case s.SupersededBy != "":
			id = s.SupersededBy
			continue
		case !s.Exists():
			return
		case s.Status != StatusCanceled:
			w.commit(w.grant(s, false))
			return
		}
		closed := w.grant(s, true)
		w.commit(closed)
		if !closed.Replacement.Granted {
			return
		}
		step()
		successor := w.post(id, w.stripe[id].Replaces)
		step()
		read := w.read(successor)
		read.Object.Replaces = ""
		next, _ := ApplyRead(w.records[successor], read)
		if next.Predecessor == "" {
			next.Predecessor = id
			next.FailedAttempts += closed.FailedAttempts
			next.RetriesGranted += closed.RetriesGranted
			next.Revision++
		}
		w.commit(w.grant(next, false))
		step()
		old, _ := Supersede(w.records[id], successor, at(w.second))
		w.commit(old)
		id = successor
	}
}

// person fails or closes the session.
func (w *chainWorld) person() Event {
	ids := append([]string{"vs_1"}, w.made...)
	o := w.stripe[ids[w.rng.IntN(len(ids))]]
	if o.Status == StatusRequiresInput {
		if o.Status, o.Error = StatusCanceled, (Error{}); w.rng.IntN(3) > 0 {
			o.Status, o.Error, o.Report = StatusRequiresInput, expired, fmt.Sprintf("vr_%d", w.second)
		}
		w.stripe[o.ID] = o
	}
	return w.event(o.ID)
}

// live runs one chain and returns what is wrong at the end.
func (w *chainWorld) live(older bool) string {
	w.records, w.stripe, w.keys = map[string]Session{}, map[string]Object{}, map[string]string{}
	w.policy = RetryPolicy{MaxRetries: 3}
	w.second = 1
	w.stripe["vs_1"] = Object{ID: "vs_1", Type: "document", Status: StatusRequiresInput, Created: 1}
	w.webhook(w.event("vs_1"), func() {})
	var missed []Event
	for range 60 {
		ids := append([]string{"vs_1"}, w.made...)
		id := ids[w.rng.IntN(len(ids))]
		switch act := w.rng.IntN(10); {
		case act == 0 && len(w.procs) < 4:
			event := w.person()
			missed = append(missed, event)
			if w.rng.IntN(2) == 0 {
				w.begin(func(step func()) { w.webhook(event, step) })
			}
		case act == 1 && len(w.procs) < 4 && len(missed) > 0:
			event := missed[w.rng.IntN(len(missed))]
			if older && w.rng.IntN(2) == 0 {
				event.Object.Replaces = "" // an older replica does not see it
				next, _ := Transition(w.records[event.Object.ID], event)
				w.commit(next)
				break
			}
			w.begin(func(step func()) { w.webhook(event, step) })
		case act <= 3 && len(w.procs) < 4:
			if older && w.rng.IntN(2) == 0 {
				w.begin(func(step func()) { w.olderCall(id, step) })
			} else {
				w.begin(func(step func()) { w.call(id, step) })
			}
		case len(w.procs) > 0:
			w.move(w.rng.IntN(12) == 0)
		}
	}
	for len(w.procs) > 0 {
		w.move(w.rng.IntN(12) == 0)
	}
	for _, event := range missed {
		w.webhook(event, func() {})
	}
	for _, id := range append([]string{"vs_1"}, w.made...) {
		w.webhook(w.event(id), func() {})
	}
	return w.wrong(older)
}

func (w *chainWorld) wrong(older bool) string {
	if !older && w.grants > int(w.policy.MaxRetries) {
		return fmt.Sprintf("%d grants", w.grants)
	}
	heirs := map[string]int{}
	for _, id := range w.made {
		heir := w.records[id]
		old := w.records[heir.Predecessor]
		heirs[heir.Predecessor]++
		granted := int32(0)
		for _, entry := range heir.History {
			if entry.Source == SourceRetry {
				granted++
			}
		}
		inherited := heir.RetriesGranted - granted
		switch {
		case !old.Exists() && !older:
			return fmt.Sprintf("%s has inherited nothing: %+v", id, heir)
		case old.Exists() && (inherited > old.RetriesGranted || !older && inherited != old.RetriesGranted):
			return fmt.Sprintf("%s inherited %d of %d grants", id, inherited, old.RetriesGranted)
		case heir.FailedAttempts-int32(len(heir.Failures)) > old.FailedAttempts:
			return fmt.Sprintf("%s inherited more failures than %d", id, old.FailedAttempts)
		case old.Exists() && old.SupersededBy != id:
			return fmt.Sprintf("%s is superseded by %q, not by %s", old.ID, old.SupersededBy, id)
		}
	}
	for id, n := range heirs {
		if id != "" && n > 1 {
			return fmt.Sprintf("%s has %d heirs", id, n)
		}
	}
	return ""
}

// TestG9_ModelOfReplacement: calls by all ids; webhooks late, repeated and never; processes that die between any two
// commits. If replicas of the version before, which do not know claims, take part, at least nothing is counted twice
// and no session has two successors.
func TestG9_ModelOfReplacement(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -life-seed=%d -chains=%d", seed, *chainLives)
	made := 0
	for n := range uint64(*chainLives) {
		w := &chainWorld{t: t, rng: rand.New(rand.NewPCG(seed, n))}
		if wrong := w.live(n%2 == 1); wrong != "" {
			t.Fatalf("chain %d of -life-seed=%d: %s", n, seed, wrong)
		}
		made += len(w.made)
	}
	if made < *chainLives/2 {
		t.Errorf("%d replacements in %d chains; the model hardly lives", made, *chainLives)
	}
	for n := range uint64(100_000) {
		w := &chainWorld{t: t, rng: rand.New(rand.NewPCG(seed, n)), flaw: "no inheritance before a grant"}
		if w.live(false) != "" {
			return
		}
	}
	t.Error("a call that grants before it inherits was not noticed in 100,000 chains")
}
