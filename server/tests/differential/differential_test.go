// Package differential runs two replicas of the service over one Redis under random load and faults, and asks the checker
// whether what clients saw keeps the guarantees. It is between the fault suite, which breaks whole processes, and the tests
// of single packages: the replicas are built as app builds them, but in this process, so that calls can end within a batch
// and Redis can lose its newest writes at an exact moment. It knows no rule of a session's state. It has a simulated Stripe
// of its own, whose state is the truth at the end.
package differential

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The long form, for each form of Redis:
//
//	go test -race ./server/tests/differential -differential.for=10m -differential.forms=standalone,split,cluster -timeout 45m
//
// Without flags it is the short form: one round on one server.
var (
	runFor = flag.Duration("differential.for", 0, "how long rounds are started for, for each form; 0: one round")
	load   = flag.Duration("differential.load", 0, "how long the load of one round lasts; 0: 6s, or 15s with -differential.for")
	forms  = flag.String("differential.forms", "standalone", "how Redis is used, separated by commas: standalone, split (references are indexed apart), cluster")
	seed   = flag.Uint64("differential.seed", 0, "repeats the choices of an earlier run; 0: a new seed")
	losses = flag.Bool("differential.losses", true, "Redis loses writes; every third round of the long form never does")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("left out: two replicas under load and faults, judged by the checker: go test -count=1 ./server/tests/differential")
		return
	}
	goleak.VerifyTestMain(m)
}

// TestDifferential is one test of many guarantees; the checker names the one that is broken.
func TestDifferential(t *testing.T) {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("-differential.seed=%d", chosen)
	for _, name := range strings.Split(*forms, ",") {
		start, known := formNames[name]
		if !known {
			t.Fatalf("-differential.forms: %q is none of standalone, split, cluster", name)
		}
		t.Run(name, func(t *testing.T) {
			form := start(t)
			end := time.Now().Add(*runFor)
			for n := 0; n == 0 || time.Now().Before(end) && !t.Failed(); n++ {
				t.Run(fmt.Sprint("round ", n+1), func(t *testing.T) {
					newRound(t, form, choices{chosen, uint64(n)}, *losses && (*runFor == 0 || n%3 != 2)).run(loadFor())
				})
			}
		})
	}
}

func loadFor() time.Duration {
	switch {
	case *load > 0:
		return *load
	case *runFor > 0:
		return 15 * time.Second
	}
	return 6 * time.Second
}

// choices are a round's part of a seed.
type choices struct{ seed, round uint64 }

// of returns the choices of one goroutine. Goroutines run in no fixed order, so a seed repeats the choices and not the run.
func (c choices) of(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, c.round<<32|stream))
}
