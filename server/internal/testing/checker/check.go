package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Options are what the rules must know of the service's settings.
type Options struct {
	// MaxRetries is the service's MAX_RETRIES.
	MaxRetries int32
	// Trimmed says that the feed or histories were cut during the run: OUT_OF_RANGE then needs no loss.
	Trimmed bool
	// Freshness is how old an answer to GetStatus may be, by the recorder's clock; 0: any.
	Freshness time.Duration
}

// Violation is one breach of a rule.
type Violation struct {
	Rule Rule
	// Session is the one concerned; empty where a whole stream is.
	Session string
	// Text says what is wrong.
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

// Report is all violations, by rule, session and time.
type Report []Violation

// String is for people: how many there are of each rule, and the first ones in full.
func (r Report) String() string {
	const most = 5 // of each rule in full
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

// Check holds everything recorded so far against the rules; the recorder stays usable. Call it once all
// is quiet: every fault over, the final GetStatus and Truth of each session recorded, and each watch of
// all sessions given the time to tell everything.
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

// checking is one run of the rules, under the recorder's lock.
type checking struct {
	*Recorder
	options      Options
	end          moment // of the record
	sorted       []*session
	predecessors map[*session][]*session // by successor: whom it replaced
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

// inWatch is a violation met in a watch.
func (c *checking) inWatch(rule Rule, w *Watch, s *session, at moment, format string, arguments ...any) {
	if s == nil && w.id != "" {
		s = c.session(w.id)
	}
	c.violation(rule, s, at, w.evidence(s, at), w.name+": "+format, arguments...)
}

// collapsed reports whether redaction explains that nothing was told between two revisions: the
// second, told at that moment, is the one that records it.
func (c *checking) collapsed(before, next *fact, told moment) bool {
	if !next.redacted() || before != nil && before.redacted() {
		return false
	}
	return !slices.ContainsFunc(next.session.facts, func(f *fact) bool {
		return f.revision == next.revision-1 && f.redacted() && !c.between(f.session, f.first.moment, told)
	})
}
