package fair

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// table is printed by TestG15_NobodyShutsOthersOut: a line for each attack, and how many of its values mean something.
type table struct {
	undisturbed []*measurement
	attacked    []attacked
}

// attacked is the calls of others during one attack.
type attacked struct {
	row row
	*measurement
}

// twice is the factor above which a p99 is counted.
const twice = 2

// pool returns the calls in all undisturbed runs together, by kind. A single run has too few calls for its p99, which varies by more
// than the factor that the table is about.
func (d *table) pool() map[string]*series {
	pool := map[string]*series{}
	for _, name := range probeNames {
		pool[name] = &series{}
		for _, m := range d.undisturbed {
			pool[name].took = append(pool[name].took, m.series[name].took...)
		}
	}
	return pool
}

// above returns how many kinds of calls have a p99 of more than twice that of the pool.
func (m *measurement) above(pool map[string]*series) (kinds int) {
	for _, name := range probeNames {
		if m.series[name].times99(pool[name]) > twice {
			kinds++
		}
	}
	return kinds
}

// String is Markdown. It is empty if nothing was measured.
func (d *table) String() string {
	if len(d.attacked) == 0 {
		return ""
	}
	pool := d.pool()
	head := append(append([]string{"who attacks", "attack"}, probeNames...), "refused to others, or late", "reads spent", "allowed", "for")
	first, counts := []string{"nobody", "none"}, []string{}
	for _, name := range probeNames {
		first = append(first, pool[name].times())
		counts = append(counts, fmt.Sprintf("%s %d", name, pool[name].calls()))
	}
	lines := []string{line(head...), strings.Repeat("|---", len(head)) + "|", line(append(first, "", "", "", "")...)}
	above, noise := 0, 0
	for _, a := range d.attacked {
		lines = append(lines, a.line(pool))
		above += a.above(pool)
	}
	for _, m := range d.undisturbed {
		noise += m.above(pool)
	}
	return fmt.Sprintf(`
Times: median / p99 (× p99 of all undisturbed runs together)

%s

Of %d values of p99 during attacks, %d are more than %d times that of all undisturbed runs together. So are %d of the %d values of
single undisturbed runs: that is the noise. Calls in all undisturbed runs (%d): %s.

`, strings.Join(lines, "\n"), len(d.attacked)*len(probeNames), above, twice, noise, len(d.undisturbed)*len(probeNames), len(d.undisturbed), strings.Join(counts, ", "))
}

func (a attacked) line(pool map[string]*series) string {
	cells := []string{a.row.column, a.row.name}
	var refused []string
	for _, name := range probeNames {
		s := a.series[name]
		cells = append(cells, fmt.Sprintf("%s (×%.1f)", s.times(), s.times99(pool[name])))
		if n := len(s.failures); n > 0 {
			refused = append(refused, fmt.Sprintf("%s %d of %d (%d late)", name, n, s.calls(), s.late))
		}
	}
	if refused == nil {
		refused = []string{"none"}
	}
	return line(append(cells, strings.Join(refused, ", "), fmt.Sprintf("%d (%d of others)", a.reads, a.othersReads),
		fmt.Sprint(a.row.reads(a.took)), a.took.Round(100*time.Millisecond).String())...)
}

func line(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |" }

// times is the median and the 99th percentile.
func (s *series) times() string {
	if len(s.took) == 0 {
		return "–"
	}
	return short(s.quantile(0.5)) + " / " + short(s.quantile(0.99))
}

// times99 is how many times the 99th percentile of other calls that of these is. It is 0 without calls.
func (s *series) times99(others *series) float64 {
	if len(s.took) == 0 || len(others.took) == 0 {
		return 0
	}
	return s.quantile(0.99).Seconds() / others.quantile(0.99).Seconds()
}

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
}

// TestTableCountsAgainstAllUndisturbedRuns: an attack is compared with the pool, and the undisturbed runs are too.
func TestTableCountsAgainstAllUndisturbedRuns(t *testing.T) {
	calls := func(slow time.Duration) *measurement {
		m := &measurement{series: map[string]*series{}}
		for _, name := range probeNames {
			m.series[name] = &series{took: append(slices.Repeat([]time.Duration{time.Millisecond}, 98), slow, slow)}
		}
		return m
	}
	const ms = time.Millisecond
	d := &table{undisturbed: []*measurement{calls(4 * ms), calls(10 * ms), calls(4 * ms), calls(4 * ms)}} // p99 of the pool: 4 ms
	for _, slow := range []time.Duration{8 * ms, 9 * ms} {
		d.attacked = append(d.attacked, attacked{row{name: "x", reads: noRead}, calls(slow)})
	}
	for _, want := range []string{"1.0 ms / 9.0 ms (×2.2)", "Of 20 values of p99 during attacks, 10 are more", "So are 10 of the 40 values", probeStatus + " 400,"} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, d)
		}
	}
}
