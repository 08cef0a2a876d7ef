// Package fair measures how the service treats others while one caller, or an unauthenticated one, takes as
// much as it can get: the time of their calls, the calls that were refused, and the reads that were spent at
// Stripe. It starts the real server over a real Redis, with TLS, client certificates and bearer tokens and
// with every limit at its default, and the example BFF in front of it. Stripe is simulated in this process
// and counts its requests. Attackers are processes of their own: this test program, started again.
//
// It knows the contract and the command lines, and nothing of how the server divides its limits.
package fair

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The long form prints the whole table as Markdown. Run it without the race detector, on a quiet machine. An attacker in the
// world has a machine of its own and takes no processor from the server. So with two processors, give attackers one of them, and
// all else the other:
//
//	taskset -c 0 go test ./server/tests/fair -run TestG15_NobodyShutsOthersOut -v -fair.for=20s -fair.processor=1 -timeout 60m
//
// Without flags it is the short form: one attack of each column.
var (
	runFor = flag.Duration("fair.for", 0, "how long each attack of the whole table lasts; 0: the short form")
	rows   = flag.String("fair.rows", "", "a regular expression of the names of the rows to run; empty: all rows of the form")
	apart  = flag.String("fair.processor", "", "the processor of the attackers, as taskset -c takes it; empty: all processors, at the lowest priority in the long form")
	built  = flag.String("fair.programs", "", "a directory with the programs server and bff, of another version perhaps; empty: they are built")
	seed   = flag.Uint64("fair.seed", 0, "repeats the choices of an earlier run; 0: a new seed")
)

// shortFor is how long an attack of the short form lasts.
const shortFor = time.Second

func TestMain(m *testing.M) {
	if os.Getenv(envIsAttacker) != "" {
		os.Exit(runAttacker(os.Stdin, os.Stdout))
	}
	flag.Parse()
	if testing.Short() {
		fmt.Println("left out: attacks on a whole server while others use it: go test -count=1 ./server/tests/fair")
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removePrograms()
		os.Exit(code)
	}))
}

// TestG15_NobodyShutsOthersOut asserts that no call of others is refused, answered wrongly or later than its deadline, and
// that an attack spends no more reads than its row allows. It prints all other times and does not assert them.
func TestG15_NobodyShutsOthersOut(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-fair.seed=%d", *seed)
	chosen, err := regexp.Compile(*rows)
	if err != nil {
		t.Fatalf("-fair.rows: %v", err)
	}
	printed := &table{}
	if *runFor > 0 {
		for _, r := range allRows() {
			if chosen.MatchString(r.name) {
				t.Run(r.name, func(t *testing.T) {
					p := startFairRig(t)
					printed.undisturbed = append(printed.undisturbed, p.measure(t, *runFor, nil))
					printed.attacked = append(printed.attacked, attacked{r, p.measure(t, max(*runFor, r.least), &r)})
				})
			}
		}
	} else {
		p := startFairRig(t)
		printed.undisturbed = append(printed.undisturbed, p.measure(t, shortFor, nil))
		for _, r := range allRows() {
			if r.short && chosen.MatchString(r.name) {
				t.Run(r.name, func(t *testing.T) {
					printed.attacked = append(printed.attacked, attacked{r, p.measure(t, shortFor, &r)})
				})
			}
		}
	}
	// t.Log would indent the table, which people copy.
	_, _ = io.WriteString(os.Stdout, printed.String())
}

// check asserts that others were served, and that an attack spent no more reads, and got no more links of the BFF, than its row
// allows. Nobody's attack, nil, spends no read.
func check(t *testing.T, m *measurement, attack *row) {
	t.Helper()
	for _, name := range probeNames {
		s := m.series[name]
		if len(s.failures) > 0 {
			t.Errorf("%s: %d of %d calls of others failed, %d of them by their deadline, such as: %s", name, len(s.failures), s.calls(), s.late, s.failures[0])
		}
		if s.calls() == 0 {
			t.Errorf("%s: nobody called", name)
		}
	}
	most := 0
	if attack != nil {
		most = attack.reads(m.took)
	}
	if m.reads > most {
		t.Errorf("the attack spent %d reads at Stripe in %v, want %d at most", m.reads, m.took.Round(time.Millisecond), most)
	}
	if attack == nil || attack.links == nil {
		return
	}
	if most := attack.links(m.took); m.links > most || m.links == 0 {
		t.Errorf("the attack got %d links in %v, want %d at most and one at least", m.links, m.took.Round(time.Millisecond), most)
	}
}

// row is one attack.
type row struct {
	column string
	name   string
	short  bool
	least  time.Duration // of the long form
	// reads is how many reads at Stripe an attack of this length can cost.
	reads func(time.Duration) int
	// links is how many links the BFF gives an attack of this length. nil: the row says nothing about them.
	links func(time.Duration) int
}

func (r row) String() string { return fmt.Sprintf("%s: %s", r.column, r.name) }

// Kinds of bounds of reads.
func noRead(time.Duration) int { return 2 }

// oneSession allows one GET a second, and a few at the start.
func oneSession(d time.Duration) int { return int(d.Seconds()) + 4 }

// share is a quarter of the default of API_READS_PER_DAY, no faster than the rate of 10 a second.
func share(d time.Duration) int { return min(5000/4, int(10*d.Seconds())+20) }

// oneAddress is what the BFF allows the persons at one address: 20 presses at once, and one more every 6 s.
func oneAddress(d time.Duration) int { return 20 + int(d.Seconds()/6) + 2 }

// allRows has the rows that allow no read before the rows that do, because the reads of an attack can end after it.
func allRows() []row {
	const unauthenticated, read, retry, person, tabs, cookies = "unauthenticated", "`read` only", "`retry` only", "one person at the BFF", "honest idle tabs", "free cookies at the BFF"
	return []row{
		{column: unauthenticated, name: "health watches", short: true, reads: noRead},
		{column: unauthenticated, name: "connections", reads: noRead},
		{column: unauthenticated, name: "unary calls", reads: noRead},
		{column: unauthenticated, name: "traceparent", reads: noRead},
		{column: tabs, name: "idle tabs", short: true, least: time.Minute, reads: noRead},
		{column: cookies, name: "sign-ups", short: true, reads: noRead, links: oneAddress},
		{column: read, name: "min_revision waiters", short: true, reads: oneSession},
		{column: read, name: "min_revision loop", reads: oneSession},
		{column: read, name: "all watches", reads: noRead},
		{column: read, name: "unknown ids", reads: share},
		{column: read, name: "unknown references", reads: share},
		{column: retry, name: "verified session", short: true, reads: oneSession},
		{column: retry, name: "many sessions", reads: share},
		{column: retry, name: "unused grant", reads: oneSession},
		{column: retry, name: "300 at once", reads: share},
		{column: person, name: "link loop", short: true, reads: oneSession},
		{column: person, name: "made-up cookies", reads: noRead},
		{column: person, name: "visitors", reads: noRead},
		{column: person, name: "streams", reads: noRead},
		{column: person, name: "slow bodies", reads: oneSession},
		{column: cookies, name: "needed links", reads: oneAddress, links: oneAddress},
	}
}
