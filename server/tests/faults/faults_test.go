//go:build faults

package faults

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripesim"
)

var (
	faultCount    = flag.Int("faults.count", 40, "how many faults are injected, over all topologies")
	faultSessions = flag.Int("faults.sessions", 300, "how many sessions live meanwhile, over all topologies and replacements aside")
	faultSeed     = flag.Uint64("faults.seed", 0, "repeats the choices of an earlier run; 0: a new seed")
	faultFor      = flag.Duration("faults.for", 0, "how long faults and births are spread over, for each topology; 0: 2 s for each fault")
	faultProgram  = flag.String("faults.program", "", "the test program of another version (go test -c -tags=faults ./server/tests/faults), which every other process of each replica runs, as in a rolling update")
	faultStyle    = flag.String("faults.style", "mixed", "the style of Stripe's events: snapshot, thin, both or mixed; with -faults.program always snapshot, because a version of before refuses thin events")
	faultWhere    = flag.String("faults.topologies", "standalone,sentinel,cluster,sentinel-nowait", "how Redis is run, separated by commas")
)

// TestFaults lets simulated people live their sessions at a simulated Stripe while three replicas of
// the server, their Redis and Stripe's API break at random, and then asks the checker whether what
// clients saw keeps the guarantees.
//
// What must make it fail, by guarantee. Each was tried; in brackets is what reported it:
//
//   - G1: verification.judge takes any other second for a newer one, or applyRead drops no read that
//     was overtaken (Converged).
//   - G2: verification.Transition does not look whether it knows the event (an event twice in a
//     history). That lua/commit.lua knows its own commit again is the second of two nets, since the
//     core knows the event: only redisstore's tests see it go.
//   - G3: webhook answers 200 where Apply fails (an acknowledged event that is not in the record, after
//     Redis was paused for longer than a webhook waits).
//   - G4: lua/commit.lua compares no header, so that the later of two writers wins (Ordered,
//     Resumable, NeverBackwards).
//   - G5: rpc.cursor.after leaves out a revision (Gapless, Resumable, SettledEnds).
//   - G6: rpc.startOfFeed begins a resumed watch at the head (Gapless, Resumable).
//   - G7: rpc.cursor.check compares no fingerprint, so that a token of before a FLUSHALL continues
//     (Resumable).
//   - G8: rpc.getStatus does not look at min_revision (NeverBackwards).
//   - G16: ingest answers 2xx for a thin event without a read (an acknowledged event that is not in the record).
//   - G9: verification.GrantRetry does not look whether the failure has its grant (AtMostLimit).
func TestFaults(t *testing.T) {
	seed := *faultSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("TestFaults: -faults.seed=%d\n", seed)
	if _, known := styles[*faultStyle]; !known {
		t.Fatalf("-faults.style: %q is none of %v", *faultStyle, slices.Sorted(maps.Keys(styles)))
	}
	topologies := strings.Split(*faultWhere, ",")
	total := tally{kinds: map[string]int{}}
	var mu sync.Mutex // guards total
	began := time.Now()
	t.Cleanup(func() {
		fmt.Print(total.table())
		fmt.Printf("TestFaults: -faults.seed=%d took %v\n", seed, time.Since(began).Round(time.Second))
		fmt.Printf("%d faults, %d sessions, %d violations\n", total.faults(), total.sessions, total.violations)
	})
	for i, name := range topologies {
		start, known := topologyNames[name]
		if !known {
			t.Fatalf("-faults.topologies: %q is none of %v", name, slices.Sorted(maps.Keys(topologyNames)))
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // people and Redis mostly wait; -parallel=1 if the machine is small
			of := runFaults(t, start(t), plan{
				faults:   share(*faultCount, len(topologies), i),
				sessions: share(*faultSessions, len(topologies), i),
				seed:     seed, stream: streams[name],
			})
			mu.Lock()
			defer mu.Unlock()
			total.add(of)
		})
	}
}

// styles are the styles of events by the names of the flag.
var styles = map[string]stripesim.Style{"snapshot": stripesim.Snapshot, "thin": stripesim.Thin, "both": stripesim.Both, "mixed": stripesim.Mixed}

// streams are the topologies' parts of a seed, so that one of them can be repeated alone.
var streams = map[string]uint64{"standalone": 1, "sentinel": 2, "cluster": 3, "sentinel-nowait": 4}

// share is the i-th of n parts of a whole.
func share(whole, n, i int) int { return whole*(i+1)/n - whole*i/n }

// plan is the plan of one topology.
type plan struct {
	faults, sessions int
	seed, stream     uint64
}

func (p plan) rand(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(p.seed, p.stream<<32|stream))
}

// spread is how long faults and births are spread over.
func (p plan) spread() time.Duration {
	if *faultFor > 0 {
		return *faultFor
	}
	return time.Duration(p.faults) * 2 * time.Second
}

// tally counts what happened in a run.
type tally struct {
	kinds                map[string]int
	sessions, violations int
}

func (t *tally) add(other tally) {
	for kind, n := range other.kinds {
		t.kinds[kind] += n
	}
	t.sessions += other.sessions
	t.violations += other.violations
}

func (t *tally) faults() (n int) {
	for _, of := range t.kinds {
		n += of
	}
	return n
}

func (t *tally) table() string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(t.kinds)) {
		fmt.Fprintf(&b, "| %-62s | %5d |\n", kind, t.kinds[kind])
	}
	return b.String()
}
