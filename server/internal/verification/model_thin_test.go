package verification

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// thinWorld is a world in which a part of the deliveries is thin.
type thinWorld struct {
	*world
	percent int  // of the deliveries that are thin
	listed  bool // a catch-up brings all snapshot events in the end, and some lives have one on the way
	names   bool // thin events name their snapshot event
	reads   int  // at Stripe, for thin events
	flaw    thinFlaw
}

// thinFlaw is a mistake in the code around ApplyThin. Each must make the model end wrong.
type thinFlaw struct {
	underWay bool // a thin event takes the answer of a GET that was begun before it came
	late     bool // an overtaken answer is applied
}

func (w *thinWorld) live() {
	w.skew = w.rng.Int64N(120_000) - 60_000
	w.outage = w.rng.IntN(4) == 0
	w.single = w.rng.IntN(2) == 0
	w.names = w.rng.IntN(3) == 0
	w.world.flaw.shareUnderWay = w.flaw.underWay
	w.now = lifeStart
	for _, event := range w.life.events {
		at := w.momentOf(event)
		if w.listed && w.rng.IntN(10) == 0 {
			continue // lost
		}
		for range 1 + max(0, w.rng.IntN(5)-2) {
			isThin := w.rng.IntN(100) < w.percent
			w.after(at-w.now+w.latency(), func() {
				if isThin {
					w.arriveThin(event)
				} else {
					w.arrive(event)
				}
			})
		}
	}
	if w.listed && w.rng.IntN(2) == 0 {
		w.after(w.rng.Int64N(w.life.end()-lifeStart+5000), w.list)
	}
	w.run()
	w.now = max(w.now, w.life.end()) + 60_000
	if w.listed {
		w.list()
		w.run()
	}
	w.outage = false
	if w.silent() || w.record.Unresolved {
		w.look(true)
		w.run()
	}
}

// momentOf returns when the event happened.
func (w *thinWorld) momentOf(event Event) int64 {
	at := w.life.moments[0].at
	for _, m := range w.life.moments {
		if m.object == event.Object {
			at = m.at
		}
	}
	return at
}

// list applies Stripe's list of events, the oldest first, one after the other.
func (w *thinWorld) list() {
	delay := int64(0)
	for _, event := range w.life.events {
		if w.momentOf(event) > w.now {
			return
		}
		delay += w.rng.Int64N(50)
		w.after(delay, func() { w.arrive(event) })
	}
}

// arriveThin handles one delivery of a thin event.
func (w *thinWorld) arriveThin(snapshot Event) {
	event := Event{
		ID: "thin_" + snapshot.ID, Type: ThinPrefix + snapshot.Type, Source: SourceWebhook, Second: snapshot.Second,
		RecordTime: w.now + w.skew, Object: Object{ID: snapshot.Object.ID}, Thin: true,
	}
	if w.names {
		event.Snapshot = snapshot.ID
	}
	switch {
	case w.record.KnowsThin(event):
		return
	case w.names && w.rng.IntN(3) > 0: // Stripe has the event
		w.reads++
		w.after(w.rng.Int64N(300), func() { w.arrive(snapshot) })
		return
	}
	w.read(snapshot, event, 3)
}

// read reads the session for a thin event. Without an answer Stripe delivers the event again.
func (w *thinWorld) read(snapshot, event Event, gets int) {
	if gets == 0 {
		w.after(5000+w.latency(), func() { w.arriveThin(snapshot) })
		return
	}
	w.reads++
	w.ask(func(g get) {
		w.after(w.rng.Int64N(30), func() {
			if g.failed {
				w.read(snapshot, event, 0)
				return
			}
			if w.flaw.late || *g.committed == uint64(w.record.Applied)+1 {
				g.read.Applied = w.record.Applied
			}
			next, outcome := ApplyThin(w.record, event, g.read)
			if outcome.Dropped {
				w.log("%s: dropped its read", event.ID)
				w.read(snapshot, event, gets-1)
				return
			}
			w.commit(next, outcome, fmt.Sprintf("%s at second %d by %v as of %d", event.ID, event.Second, g.read.Object, g.read.AsOf))
			*g.committed = uint64(w.record.Applied) + 1
		})
	})
}

func thinLife(seed uint64, number, percent int, listed bool, flaw thinFlaw, tell bool) *thinWorld {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	w := &thinWorld{world: &world{rng: rng, life: newLife(rng, false), tell: tell}, percent: percent, listed: listed, flaw: flaw}
	w.live()
	return w
}

// stateOnly returns what ended wrong of the state, whatever the counts and the entries are.
func (l truth) stateOnly(s Session) string {
	want := l.moments[len(l.moments)-1].object
	if want.Redaction > RedactionNone {
		want = want.redacted()
	}
	if s.Unresolved || s.Status != want.Status || s.Error != want.Error || s.Report != want.Report || s.Redaction != want.Redaction {
		return fmt.Sprintf("%s %v %q redaction %d, unresolved %v; want %s %v %q redaction %d",
			s.Status, s.Error, s.Report, s.Redaction, s.Unresolved, want.Status, want.Error, want.Report, want.Redaction)
	}
	return ""
}

// TestG16_ModelOfThinEvents: lives of which none, half or all of the deliveries are thin, late, repeated, shuffled and lost, end as
// the session at Stripe, with all failures counted, once a catch-up has listed the snapshot events.
func TestG16_ModelOfThinEvents(t *testing.T) {
	seed := modelSeedOf(t)
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("%d%% thin", percent), func(t *testing.T) {
			events, reads := 0, 0
			for i := range thinLives() {
				w := thinLife(seed, i, percent, true, thinFlaw{}, false)
				wrong := w.wrong
				if wrong == "" {
					wrong = w.life.differs(w.record)
				}
				if wrong != "" {
					t.Fatalf("-life-seed=%d, life %d: %s\n%s", seed, i, wrong, thinLife(seed, i, percent, true, thinFlaw{}, true).trace.String())
				}
				events, reads = events+len(w.life.events), reads+w.reads
			}
			t.Logf("%d lives: %.2f reads for thin events for each event of Stripe", thinLives(), float64(reads)/float64(events))
		})
	}
}

// TestG16_ModelOfThinEventsWithoutAList: without Stripe's list the state is right, and failures can be missing in the counts.
func TestG16_ModelOfThinEventsWithoutAList(t *testing.T) {
	seed := modelSeedOf(t)
	for _, percent := range []int{50, 100} {
		t.Run(fmt.Sprintf("%d%% thin", percent), func(t *testing.T) {
			low := 0
			for i := range thinLives() {
				w := thinLife(seed, i, percent, false, thinFlaw{}, false)
				wrong := w.wrong
				if wrong == "" {
					wrong = w.life.stateOnly(w.record)
				}
				if w.record.FailedAttempts > w.life.failures() {
					wrong = "a failure was counted twice"
				}
				if wrong != "" {
					t.Fatalf("-life-seed=%d, life %d: %s\n%s", seed, i, wrong, thinLife(seed, i, percent, false, thinFlaw{}, true).trace.String())
				}
				if w.record.FailedAttempts < w.life.failures() {
					low++
				}
			}
			t.Logf("%d of %d lives have a count that is too low", low, thinLives())
			if low == 0 {
				t.Error("no count is too low: the model loses nothing that a catch-up must bring")
			}
		})
	}
}

// TestThinModelNoticesFlaws: the model must end wrong with each flaw.
func TestThinModelNoticesFlaws(t *testing.T) {
	for name, flaw := range map[string]thinFlaw{
		"shares a GET already under way": {underWay: true},
		"applies overtaken reads":        {late: true},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 200_000 {
				w := thinLife(1, i, 100, false, flaw, false)
				if wrong := w.life.stateOnly(w.record); wrong != "" {
					t.Logf("noticed in life %d: %s", i, wrong)
					return
				}
			}
			t.Error("not noticed in 200,000 lives")
		})
	}
}

func modelSeedOf(t *testing.T) uint64 {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -life-seed=%d -lives=%d", seed, *modelLives)
	return seed
}

// thinLives is how many lives each part of the model runs. -lives=1200000 runs 300,000 each.
func thinLives() int { return max(1, *modelLives/4) }
