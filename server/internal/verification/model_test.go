package verification

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var (
	modelLives = flag.Int("lives", 20_000, "how many lives TestG1_ModelOfStripe runs")
	modelSeed  = flag.Uint64("life-seed", 0, "the seed of the lives; 0: a new one each run")
	modelLife  = flag.Int("life", -1, "live only this one, and tell it")
)

// flaws are mistakes in the code around the pure core. Each must make the model end wrong. Otherwise the model could not show
// that the code is right.
type flaws struct {
	shareUnderWay bool // an ambiguous order takes the answer of a GET that was begun before its event came
	ignoreApplied bool // a read is applied whatever came in the meantime
	ownClock      bool // as_of is this machine's time
	noReread      bool // nobody looks again at what is pending
	hasty         bool // people act within the second, which the rules do not promise to handle
}

// TestG1_ModelOfStripe: events come late, twice, in any order, or only from the event list, and GETs overlap or fail. The
// record always ends as the session at Stripe.
//
// It fails with each of these changes of the pure core (each was tried): `>=` for `>` where seconds are compared; no check of
// Applied, or no count of it; a read that does not resolve the session; a position of a read without its AsOf; an agreeing
// event that does not set its position after a read that changed nothing (2 lives in 60,000); a redaction that decreases;
// failures that are counted without their identity, by the event id alone, only in time, or by reads without a report; a
// revision for every input. It cannot show mistakes that need people faster than a second; the tables of order_test.go and
// ambiguous_test.go do. TestModelNoticesFlaws has the mistakes around the core.
func TestG1_ModelOfStripe(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -life-seed=%d -lives=%d", seed, *modelLives)
	if *modelLife >= 0 {
		wrong, trace := liveOnce(seed, *modelLife, flaws{}, true)
		t.Logf("%s\nwrong: %q", trace, wrong)
		return
	}
	count, shortest, example := 0, "", 0
	for i := range *modelLives {
		wrong, _ := liveOnce(seed, i, flaws{}, false)
		if wrong == "" {
			continue
		}
		count++
		_, trace := liveOnce(seed, i, flaws{}, true)
		if trace += "wrong: " + wrong; shortest == "" || len(trace) < len(shortest) {
			shortest, example = trace, i
		}
	}
	if count > 0 {
		t.Fatalf("%d of %d lives ended wrong; the shortest: -life-seed=%d -life=%d\n%s",
			count, *modelLives, seed, example, shortest)
	}
}

// TestModelNoticesFlaws: the model must end wrong with each flaw.
func TestModelNoticesFlaws(t *testing.T) {
	for name, flaw := range map[string]flaws{
		"shares a GET already under way": {shareUnderWay: true},
		"applies overtaken reads":        {ignoreApplied: true},
		"as_of by its own clock":         {ownClock: true},
		// Where people are slow the rule without an answer is right, once every event came.
		"forgets what is pending": {noReread: true, hasty: true},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 200_000 {
				if wrong, _ := liveOnce(1, i, flaw, false); wrong != "" && wrong != stillPending {
					t.Logf("noticed in life %d: %s", i, wrong)
					return
				}
			}
			t.Error("not noticed in 200,000 lives")
		})
	}
}

// liveOnce runs one life and returns what ended wrong. It logs the life if asked to.
func liveOnce(seed uint64, number int, flaw flaws, tell bool) (wrong, trace string) {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	w := &world{rng: rng, life: newLife(rng, flaw.hasty), flaw: flaw, tell: tell}
	w.live()
	if w.wrong == "" {
		w.wrong = w.life.differs(w.record)
	}
	return w.wrong, w.trace.String()
}
