package checker

import (
	"cmp"
	"slices"
)

// checkFresh checks Fresh for the answers to GetStatus by id.
func (c *checking) checkFresh() {
	bound := c.options.Freshness.Milliseconds()
	type asked struct {
		server  string
		session *session
		life    int
	}
	answers := make(map[asked][]get)
	for _, g := range c.gets {
		if g.session == nil || g.fact == nil || g.fact.session != g.session {
			continue
		}
		if f := c.newerThan(g, bound); f != nil {
			c.violation(Fresh, g.session, g.moment, []string{f.String(), g.fact.String()}, "GetStatus was answered with revision %d by %s, and %d was seen more than %v before", g.fact.revision, g.by(), f.revision, c.options.Freshness)
		}
		if life := c.life(g.session, g.moment); g.server != "" && life >= 0 && life == c.life(g.session, g.asked) {
			of := asked{g.server, g.session, life}
			answers[of] = append(answers[of], g)
		}
	}
	for _, of := range answers {
		c.checkAnswers(of)
	}
}

// newerThan returns a fact newer than the answer that the store had for longer than bound, in milliseconds, when the call came.
// It returns nil if there is none or bound is 0.
func (c *checking) newerThan(g get, bound int64) *fact {
	if bound == 0 {
		return nil
	}
	for _, f := range g.session.facts {
		if f.revision <= g.fact.revision {
			continue
		}
		for _, seen := range f.sightings() {
			if seen.seq < g.asked.seq && g.asked.at-seen.at > bound && !c.lost(f, seen.moment, g.moment) {
				return f
			}
		}
	}
	return nil
}

// checkAnswers checks that no answer of a server is older than one of its own that was complete when the call came. The answers
// are of one era, in the order in which they came.
func (c *checking) checkAnswers(answers []get) {
	newest := make([]get, 0, len(answers)) // of those up to each
	for i, g := range answers {
		before, _ := slices.BinarySearchFunc(answers, g.asked.seq, func(other get, seq uint64) int { return cmp.Compare(other.seq, seq) })
		if before > 0 && newest[before-1].fact.revision > g.fact.revision {
			c.violation(Fresh, g.session, g.moment, []string{newest[before-1].fact.String(), g.fact.String()}, "%s answered with revision %d after %d", g.by(), g.fact.revision, newest[before-1].fact.revision)
		}
		if i > 0 && newest[i-1].fact.revision > g.fact.revision {
			g = newest[i-1]
		}
		newest = append(newest, g)
	}
}

func (g get) by() string {
	if g.server == "" {
		return "a server"
	}
	return g.server
}
