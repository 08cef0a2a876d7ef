package verification

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// importPage reads a page of Stripe's list and applies it: some moment after the answer, because a page has many sessions. A
// known session that differs is read until there is an answer.
func (w *world) importPage() {
	begin := w.now
	there, back := w.rng.Int64N(300), w.rng.Int64N(300)
	date := (w.now + w.rng.Int64N(there+back+1)) / 1000 * 1000
	var page Listed
	shows := false
	w.after(there, func() { page.Object, shows = w.life.at(w.now) })
	w.after(there+back, func() {
		page.AsOf = time.UnixMilli(date-(w.now-begin)).Unix() - 1
		w.after(w.rng.Int64N(3000), func() {
			if !shows {
				return
			}
			page.RecordTime = w.now + w.skew
			next, outcome := ApplyImport(w.record, page)
			if !outcome.Write && w.record.Differs(page.Object) {
				w.log("a page differs: %v", page.Object)
				w.look(true)
				return
			}
			w.commit(next, outcome, fmt.Sprintf("page %v as of %d", page.Object, page.AsOf))
		})
	})
}

// TestG1_G2_ModelWithAnImport is TestG1_ModelOfStripe with one to three imports at any moment of the life. Each event leaves its
// entry and each failure is counted once.
func TestG1_G2_ModelWithAnImport(t *testing.T) {
	seed := modelSeedOf(t)
	begun := 0
	for i := range *modelLives {
		w := importedLife(seed, i, false)
		if len(w.record.History) > 0 && w.record.History[0].Source == SourceImport {
			begun++
		}
		wrong := w.wrong
		if wrong == "" {
			wrong = w.life.differs(w.record)
		}
		if wrong != "" {
			t.Fatalf("-life-seed=%d, life %d: %s\n%s", seed, i, wrong, importedLife(seed, i, true).trace.String())
		}
	}
	if begun < *modelLives/20 {
		t.Errorf("of %d lives only %d began by an import", *modelLives, begun)
	}
}

func importedLife(seed uint64, number int, tell bool) *world {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	w := &world{rng: rng, life: newLife(rng, false), tell: tell, now: lifeStart}
	for range 1 + rng.IntN(3) {
		w.after(rng.Int64N(w.life.end()-lifeStart+5000), w.importPage)
	}
	w.live()
	return w
}

// TestG1_G2_G16_ModelOfThinEventsWithAnImport is TestG16_ModelOfThinEvents with one to three imports at any moment of the life.
func TestG1_G2_G16_ModelOfThinEventsWithAnImport(t *testing.T) {
	seed := modelSeedOf(t)
	live := func(number, percent int, tell bool) *thinWorld {
		rng := rand.New(rand.NewPCG(seed, uint64(number)))
		w := &thinWorld{world: &world{rng: rng, life: newLife(rng, false), tell: tell, now: lifeStart}, percent: percent, listed: true}
		for range 1 + rng.IntN(3) {
			w.after(rng.Int64N(w.life.end()-lifeStart+5000), w.importPage)
		}
		w.live()
		return w
	}
	for _, percent := range []int{50, 100} {
		begun := 0
		for i := range thinLives() {
			w := live(i, percent, false)
			if len(w.record.History) > 0 && w.record.History[0].Source == SourceImport {
				begun++
			}
			wrong := w.wrong
			if wrong == "" {
				wrong = w.life.differs(w.record)
			}
			if wrong != "" {
				t.Fatalf("-life-seed=%d, life %d, %d%% thin: %s\n%s", seed, i, percent, wrong, live(i, percent, true).trace.String())
			}
		}
		if begun < thinLives()/30 {
			t.Errorf("%d%% thin: of %d lives only %d began by an import", percent, thinLives(), begun)
		}
	}
}
