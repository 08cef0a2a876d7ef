package fair

import (
	"fmt"
	"strings"
	"time"
)

// table is printed by TestG15_NobodyShutsOthersOut: a line for each attack.
type table struct{ lines []string }

func (d *table) add(r row, undisturbed, disturbed *measurement) {
	cells := []string{r.column, r.name}
	var refused []string
	for _, name := range probeNames {
		before, during := undisturbed.series[name], disturbed.series[name]
		cells = append(cells, during.against(before))
		if n := len(during.failures); n > 0 {
			refused = append(refused, fmt.Sprintf("%s %d of %d (%d late)", name, n, during.calls(), during.late))
		}
	}
	if refused == nil {
		refused = []string{"none"}
	}
	cells = append(cells, strings.Join(refused, ", "), fmt.Sprintf("%d (%d of others)", disturbed.reads, disturbed.othersReads),
		fmt.Sprintf("%d", r.reads(disturbed.took)), disturbed.took.Round(100*time.Millisecond).String())
	d.lines = append(d.lines, "| "+strings.Join(cells, " | ")+" |")
}

// against is the median and the 99th percentile, and how many times that of an undisturbed run this is.
func (s *series) against(undisturbed *series) string {
	p99, before := s.quantile(0.99), undisturbed.quantile(0.99)
	if p99 == 0 || before == 0 {
		return "–"
	}
	return fmt.Sprintf("%s / %s (×%.1f)", short(s.quantile(0.5)), short(p99), p99.Seconds()/before.Seconds())
}

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
}

// String is Markdown.
func (d *table) String() string {
	if len(d.lines) == 0 {
		return ""
	}
	head := append(append([]string{"who attacks", "attack"}, probeNames...), "refused to others, or late", "reads spent", "allowed", "for")
	rule := strings.Repeat("|---", len(head)) + "|"
	return fmt.Sprintf("\nTimes: median / p99 (× p99 of an undisturbed run)\n\n| %s |\n%s\n%s\n\n",
		strings.Join(head, " | "), rule, strings.Join(d.lines, "\n"))
}
