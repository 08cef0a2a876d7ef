package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Options are the settings of the service that the rules need.
type Options struct {
	// MaxRetries is the service's MAX_RETRIES.
	MaxRetries int32
	// Trimmed says that the feed or histories were trimmed during the run: OUT_OF_RANGE then needs no loss.
	Trimmed bool
	// Freshness is the greatest age of an answer to GetStatus, by the recorder's clock. Zero allows any age.
	Freshness time.Duration
}

// Violation is one breach of a rule.
type Violation struct {
	Rule Rule
	// Session is the id of the session. It is empty if the violation is about a whole stream.
	Session string
	// Text is what is wrong.
	Text string
	// Evidence is what was seen, oldest first, with the recorder's time in UTC.
	Evidence []string

	at moment
}

func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", v.Rule, v.Session, v.Text)
	for _, line := range v.Evidence {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	return b.String()
}

// Report has all violations, ordered by rule, session and time.
type Report []Violation

// String returns the count of violations of each rule, and the first ones in full.
func (r Report) String() string {
	const most = 5 // of each rule, in full
	var b strings.Builder
	fmt.Fprintf(&b, "%d violations\n", len(r))
	for _, rule := range rules {
		of := slices.DeleteFunc(slices.Clone(r), func(v Violation) bool { return v.Rule != rule })
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d\n", rule, len(of))
		for _, v := range of[:min(most, len(of))] {
			b.WriteString("  " + strings.ReplaceAll(strings.TrimSpace(v.String()), "\n", "\n  ") + "\n")
		}
		if len(of) > most {
			fmt.Fprintf(&b, "  … and %d more\n", len(of)-most)
		}
	}
	return b.String()
}

// Check compares everything recorded so far with the rules. The recorder stays usable. Call it when all is quiet: every fault
// is over, the final GetStatus and Truth of each session are recorded, and each watch of all sessions had the time to show
// everything.
func (r *Recorder) Check(options Options) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &checking{
		Recorder: r, options: options, end: r.now(),
		factLives: make(map[*fact][]bool), sessionEras: make(map[*session][]*era),
	}
	c.sorted = slices.SortedFunc(maps.Values(r.sessions), func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	c.predecessors = c.findPredecessors()
	for _, w := range r.watches {
		c.checkStreams(w)
		for i, chain := range w.chains() {
			if w.all {
				c.checkFeed(w, chain, i == len(w.chains())-1)
			} else {
				c.checkSubject(w, chain)
			}
		}
	}
	c.checkContents()
	c.checkOutcomes()
	c.checkGets()
	c.checkFresh()
	c.checkConverged()
	c.checkGrants()
	c.checkRetries()
	slices.SortStableFunc(c.found, func(a, b Violation) int {
		return cmp.Or(
			cmp.Compare(slices.Index(rules, a.Rule), slices.Index(rules, b.Rule)),
			cmp.Compare(a.Session, b.Session), cmp.Compare(a.at.seq, b.at.seq), cmp.Compare(a.Text, b.Text),
		)
	})
	return c.found
}

// checking is one run of the rules. It holds the recorder's lock.
type checking struct {
	*Recorder
	options      Options
	end          moment // of the record
	sorted       []*session
	predecessors map[*session][]*session // by successor: the sessions that it replaced
	factLives    map[*fact][]bool
	sessionEras  map[*session][]*era
	found        Report
}

func (c *checking) violation(rule Rule, s *session, at moment, evidence []string, format string, arguments ...any) {
	v := Violation{Rule: rule, Text: fmt.Sprintf(format, arguments...), Evidence: evidence, at: at}
	if s != nil {
		v.Session = s.id
	}
	c.found = append(c.found, v)
}

// inWatch adds a violation within a watch.
func (c *checking) inWatch(rule Rule, w *Watch, s *session, at moment, format string, arguments ...any) {
	if s == nil && w.id != "" {
		s = c.session(w.id)
	}
	c.violation(rule, s, at, w.evidence(s, at), w.name+": "+format, arguments...)
}

// collapsed returns whether a redaction explains the hole between two revisions, the second of which was shown at the moment
// shown: the second must be the revision that records the redaction.
func (c *checking) collapsed(before, next *fact, shown moment) bool {
	if !next.redacted() || before != nil && before.redacted() {
		return false
	}
	return !slices.ContainsFunc(next.session.facts, func(f *fact) bool {
		return f.revision == next.revision-1 && f.redacted() && !c.between(f.session, f.first.moment, shown)
	})
}
