package checker

// checkContents checks NeverBackwards for the contents that were seen, and of SettledEnds the flag.
func (c *checking) checkContents() {
	for _, s := range c.sorted {
		known := make(map[[2]*fact]bool) // pairs of contents that were found to differ
		for _, life := range c.lives(s) {
			c.checkSame(life, known)
			c.checkRising(life)
		}
		for _, f := range s.facts {
			if f.settled != f.ended() {
				c.violation(SettledEnds, s, f.first.moment, []string{f.String()}, "settled is %t", f.settled)
			}
		}
	}
}

// checkSame checks that a revision looks the same wherever it is seen in an era.
func (c *checking) checkSame(life []*fact, known map[[2]*fact]bool) {
	for i := 1; i < len(life); i++ {
		a, b := life[i-1], life[i]
		if pair := [2]*fact{a, b}; a.revision == b.revision && !known[pair] {
			known[pair] = true
			c.violation(NeverBackwards, a.session, b.first.moment, []string{a.String(), b.String()}, "revision %d shows different %s", a.revision, differences(a.content, b.content))
		}
	}
}

// checkRising checks the fields that must not fall with rising revisions.
func (c *checking) checkRising(life []*fact) {
	for i := 1; i < len(life); i++ {
		a, b := life[i-1], life[i]
		if a.revision == b.revision {
			continue
		}
		var fell string
		switch {
		case b.updated < a.updated:
			fell = "update_time"
		case b.redaction < a.redaction:
			fell = "redaction"
		case b.attempts < a.attempts:
			fell = "failed_attempts"
		case b.granted < a.granted:
			fell = "retries_granted"
		default:
			continue
		}
		c.violation(NeverBackwards, a.session, b.first.moment, []string{a.String(), b.String()}, "%s fell from revision %d to %d", fell, a.revision, b.revision)
	}
}

// checkGets checks NeverBackwards for GetStatus.
func (c *checking) checkGets() {
	for _, g := range c.gets {
		switch {
		case g.fact != nil && g.fact.revision < g.least:
			c.violation(NeverBackwards, g.fact.session, g.moment, []string{g.fact.String()}, "GetStatus with min_revision %d was answered with revision %d", g.least, g.fact.revision)
		case g.code == codeOutOfRange, g.code == codeNotFound:
			if f := c.proven(g.session, max(1, g.least), g.asked, g.moment); f != nil {
				c.violation(NeverBackwards, g.session, g.moment, []string{f.String()}, "GetStatus with min_revision %d was answered with %s, and nothing was lost", g.least, g.code)
			}
		}
	}
}

// proven returns a fact that proves that the store had a revision from one moment to another: a client saw it before, and no loss
// since can have taken it. It returns nil if there is none.
func (c *checking) proven(s *session, revision int32, from, to moment) *fact {
	if s == nil {
		return nil
	}
	for _, f := range s.facts {
		for _, seen := range f.sightings() {
			if f.revision >= revision && seen.seq < from.seq && !c.lost(f, seen.moment, to) {
				return f
			}
		}
	}
	return nil
}
