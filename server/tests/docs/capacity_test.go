package docs

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/testing/document"
)

const (
	measurementsPage, capacityPage = "server/docs/measurements.md", "server/docs/capacity.md"

	// feedPartitions is the number of streams in which the feed is, each bounded by FEED_MAX_LEN.
	feedPartitions = 16
	// moreHeadroom is what the garbage collector leaves with a GOMEMLIMIT of 900 MiB, an eighth of it, beyond the 48 MiB of the measurements.
	moreHeadroom = 900<<20/8 - 48<<20
	// lifeEvents is the number of events of a session in the measurements, and so of its entries in the feed.
	lifeEvents = 5
	// fullShare is the share of maxmemory at which the first alert comes.
	fullShare = 0.8
)

// The tables of sizes are calculated from the measurements. A new measurement changes them: UPDATE_DOCS=1 writes them.
func TestCapacityFollowsTheMeasurements(t *testing.T) {
	m := readMeasured(t)
	m.checkProse(t)
	document.Hold(t, capacityPage, "capacity-watches", m.watches())
	document.Hold(t, capacityPage, "capacity-redis", m.redis(t))
	document.Hold(t, capacityPage, "capacity-feed", m.feed())
	document.Hold(t, capacityPage, "capacity-events", m.events())
}

// measured is the figures of the measurements that sizes depend on.
type measured struct {
	base           float64 // resident bytes of a replica with connections and no watch
	watch          float64 // resident bytes of an idle watch that shares a connection
	busyWatch      float64 // the same with traffic
	ownConnection  float64 // the same with a connection of its own
	session        float64 // bytes of Redis, of a million
	entry          float64 // bytes of Redis of an entry of the feed
	feedMaxLen     float64 // the default
	stored         map[float64]float64
	server, redisC float64 // µs of processor time for an event, as many as can be
	most           float64 // events a second then
	few            [4]float64
	watched        float64 // cores at 1,000 events a second with 100,000 watches
}

func readMeasured(t *testing.T) (m measured) {
	t.Helper()
	page := document.Text(t, measurementsPage)
	find := func(pattern string) []float64 { return figures(t, page, pattern) }
	m.base = find(`(?m)^\| ready, with 200 connections and no stream \| ([\d.]+) MiB`)[0] * (1 << 20)
	m.watch = find(`(?m)^\| each stream when every one has read without a wake-up once \| .*, ([\d.]+) kB resident`)[0] * 1000
	m.busyWatch = (find(`(?m)^\| after 20,000 webhooks, 970 a second \| ([\d.]+) MiB`)[0]*(1<<20) - m.base) / 20_000
	m.ownConnection = figures(t, document.Text(t, "server/docs/limits.md"), `A watch with a connection of its own takes\s+([\d.]+) KB`)[0] * 1000
	m.stored = map[float64]float64{}
	for _, sessions := range []string{"1,000", "100,000", "1,000,000"} {
		row := find(`(?m)^\| ` + sessions + ` \| [\d.]+ MB \| ([\d.]+) MB \| (\d+) B \| ([\d,]+) entries, ([\d.]+) MB \|`)
		m.stored[number(t, sessions)], m.session, m.entry = row[0]*1e6, row[1], row[3]*1e6/row[2]
	}
	for _, setting := range config.Table() {
		if setting.Env == "FEED_MAX_LEN" {
			m.feedMaxLen = number(t, setting.Default)
		}
	}
	speed := document.Section(t, measurementsPage, "speed")
	m.most = ours(t, speed, "Ingest", "calls/s")
	m.server, m.redisC = ours(t, speed, "Ingest", "server-µs/op"), ours(t, speed, "Ingest", "redis-µs/op")
	for i, consumers := range []string{"none", "50"} {
		cores := find(`(?m)^\| ` + consumers + ` \|.*\| ([\d.]+) \| ([\d.]+) \| [\d.]+ \|$`)
		m.few[2*i], m.few[2*i+1] = cores[0], cores[1]
	}
	m.watched = find(`(?m)^\| 20,000 webhooks for random sessions, 1,000 a second \|.*; ([\d.]+) of a core`)[0]
	return m
}

// checkProse compares the sizes that the page recommends with those that the tables ask for.
func (m measured) checkProse(t *testing.T) {
	t.Helper()
	page := document.Text(t, capacityPage)
	recommended := figures(t, page, "`maxmemory` of ([\\d.]+) GB on a machine with ([\\d.]+) GB. It is enough for a million sessions")
	const million = 1e6
	total := million*m.session + min(lifeEvents*million, feedPartitions*m.feedMaxLen)*m.entry
	if maxmemory, machine := recommended[0]*1e9, recommended[1]*1e9; maxmemory < total/fullShare || machine < 2*maxmemory {
		t.Errorf("a million sessions take %s, and Redis up to twice its maxmemory; the page recommends %v GB on a machine with %v GB", size(total), recommended[0], recommended[1])
	}
	request := figures(t, page, `The manifests request (\d+)Mi`)[0] * (1 << 20)
	if need := m.base + 20_000*m.busyWatch + moreHeadroom; request < need {
		t.Errorf("the page says that the manifests request %s; 20,000 watches with traffic take %s", size(request), size(need))
	}
}

func (m measured) watches() string {
	var b strings.Builder
	b.WriteString("| open watches on a replica | with shared connections | with a connection each | shared connections, with traffic: the request |\n|---|---|---|---|\n")
	for _, n := range []float64{0, 1000, 5000, 20_000, 100_000} {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", grouped(n), size(m.base+n*m.watch), size(m.base+n*m.ownConnection), size(m.base+n*m.busyWatch+moreHeadroom))
	}
	return b.String()
}

// redis also compares the sums with what was measured: Redis' other memory must not be forgotten.
func (m measured) redis(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| sessions | their records | the feed | total | `maxmemory`, at least |\n|---|---|---|---|---|\n")
	for _, sessions := range []float64{10_000, 100_000, 1_000_000, 10_000_000} {
		records, feed := sessions*m.session, min(lifeEvents*sessions, feedPartitions*m.feedMaxLen)*m.entry
		total := records + feed
		if known := m.stored[sessions]; known != 0 && math.Abs(total-known) > 0.05*known {
			t.Errorf("%s sessions are calculated to take %s, and took %s", grouped(sessions), size(total), size(known))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", grouped(sessions), size(records), size(feed), size(total), size(total/fullShare))
	}
	return b.String()
}

func (m measured) feed() string {
	var b strings.Builder
	b.WriteString("| `FEED_MAX_LEN` | changes in all | memory when it is full | at 10 events a second | at 100 | at 500 |\n|---|---|---|---|---|---|\n")
	for _, length := range []float64{m.feedMaxLen, 3 * m.feedMaxLen, 10 * m.feedMaxLen} {
		changes := feedPartitions * length
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", grouped(length), grouped(changes), size(changes*m.entry),
			span(changes/10), span(changes/100), span(changes/500))
	}
	return b.String()
}

func (m measured) events() string {
	var b strings.Builder
	row := func(rate float64, beside, server, redis, source string) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", grouped(rate), beside, server, redis, source)
	}
	cores := func(n float64) string { return fmt.Sprintf("%.2f", n) }
	b.WriteString("| events a second | beside them | replicas | Redis | from |\n|---|---|---|---|---|\n")
	row(500, "100 calls of `GetStatus` a second, two replicas", cores(m.few[0]), cores(m.few[1]), "[consumers](measurements.md#under-load): none")
	row(500, "the same, two replicas, and 50 consumers of all changes", cores(m.few[2]), cores(m.few[3]), "[consumers](measurements.md#under-load): 50")
	row(1000, "100,000 watches, to which they are delivered", cores(m.watched), "", "[watches](measurements.md#under-load)")
	row(m.most, "nothing: as many as can be", cores(m.most*m.server/1e6), cores(m.most*m.redisC/1e6), "[speed](measurements.md#speed)")
	bound := math.Floor(1e3/m.redisC) * 1e3
	row(bound, "more replicas, Redis alone on a core", cores(bound*m.server/1e6)+" in all", cores(bound*m.redisC/1e6), "calculated")
	return b.String()
}

// ours returns the median of this server in a table of .ci/bench.
func ours(t *testing.T, tables, benchmark, unit string) float64 {
	t.Helper()
	_, table, found := strings.Cut(tables, "| "+benchmark+" |")
	table, _, _ = strings.Cut(table, "\n\n")
	lines := strings.Split(table, "\n")
	for column, name := range strings.Split(lines[0], "|") {
		if strings.TrimSpace(name) != "ours" {
			continue
		}
		for _, line := range lines[1:] {
			// The heading's first cell was cut off: its columns are one cell and one bar further on.
			if cells := strings.Split(line, "|"); len(cells) > column+2 && strings.TrimSpace(cells[1]) == unit {
				median, _, _ := strings.Cut(strings.TrimSpace(cells[column+2]), " ")
				return number(t, median)
			}
		}
	}
	t.Fatalf("the tables of %s have no %s of this server (found: %v)", benchmark, unit, found)
	return 0
}

// figures returns the numbers that a pattern finds in a page.
func figures(t *testing.T, page, pattern string) (found []float64) {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(page)
	if match == nil {
		t.Fatalf("no line is like %s", pattern)
	}
	for _, text := range match[1:] {
		found = append(found, number(t, text))
	}
	return found
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func grouped(n float64) string {
	text := strconv.FormatFloat(n, 'f', 0, 64)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// size is a number of bytes as an operator writes it, with two digits.
func size(bytes float64) string {
	for _, unit := range []string{"B", "kB", "MB"} {
		if bytes < 995 {
			return fmt.Sprintf("%.0f %s", twoDigits(bytes), unit)
		}
		bytes /= 1000
	}
	return fmt.Sprintf("%.1f GB", bytes)
}

func twoDigits(n float64) float64 {
	if n < 10 {
		return math.Round(n)
	}
	step := math.Pow(10, math.Floor(math.Log10(n))-1)
	return math.Round(n/step) * step
}

// span is a number of seconds as an operator says it.
func span(seconds float64) string {
	switch {
	case seconds < 2*3600:
		return fmt.Sprintf("%.0f minutes", seconds/60)
	case seconds < 2*86400:
		return fmt.Sprintf("%.0f hours", seconds/3600)
	}
	return fmt.Sprintf("%.0f days", seconds/86400)
}
