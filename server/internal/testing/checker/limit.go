package checker

import "fmt"

// checkGrants checks AtMostLimit for the counts that sessions show.
func (c *checking) checkGrants() {
	for _, s := range c.sorted {
		for _, f := range s.facts {
			c.checkCounts(f)
		}
		c.checkSuccessor(s)
		for _, life := range c.lives(s) {
			c.checkGrowth(life)
		}
	}
}

func (c *checking) checkCounts(f *fact) {
	replaced := c.replacements(f.session)
	allowed := f.attempts + replaced
	if f.canceled() || f.supersededBy != "" {
		allowed++ // its own replacement
	}
	lost := c.mayInherit(f.session)
	switch {
	// A successor that lost its inheritance can have grants of its own when it inherits again.
	case f.granted > c.options.MaxRetries && (!lost || replaced == 0):
		c.violation(AtMostLimit, f.session, f.first.moment, []string{f.String()}, "%d retries were granted, %d is the limit", f.granted, c.options.MaxRetries)
	case f.granted > allowed && !lost:
		c.violation(AtMostLimit, f.session, f.first.moment, []string{f.String()}, "%d retries were granted for %d failures and %d replacements", f.granted, f.attempts, allowed-f.attempts)
	}
}

// mayInherit returns whether a session can have a predecessor that no client saw, or one whose record lost the replacement.
func (c *checking) mayInherit(s *session) bool {
	return len(c.eras) > 0 && (c.replacements(s) > 0 || c.lossSince(nil, s.facts[0].created))
}

func (c *checking) checkSuccessor(s *session) {
	var first *fact
	for _, f := range s.facts {
		switch {
		case f.supersededBy == "":
		case first == nil:
			first = f
		case f.supersededBy != first.supersededBy:
			c.violation(AtMostLimit, s, f.first.moment, []string{first.String(), f.String()}, "it has two successors")
		}
	}
}

// checkGrowth checks that an era has at most one grant for each failure shown and one for the replacement. While "abandoned" is
// shown, a grant is for the newest failure counted. Only steps from one revision to the next are checked. A successor inherits
// once, at one revision.
func (c *checking) checkGrowth(life []*fact) {
	replaced := c.replacements(life[0].session) > 0
	inherits := replaced || c.mayInherit(life[0].session)
	granted := make(map[string]*fact) // by the purpose of the grant
	counted := make(map[int32]*fact)  // for a failure, by the number counted
	for i := 1; i < len(life); i++ {
		a, b := life[i-1], life[i]
		grown := b.granted - a.granted
		if b.revision != a.revision+1 || grown <= 0 {
			continue
		}
		purpose := ""
		switch {
		case b.canceled():
			purpose = "the replacement"
		case b.abandoned() && b.attempts > 0:
			purpose = fmt.Sprintf("the newest of %d counted failures", b.attempts)
			granted[purpose] = counted[b.attempts]
		case b.failed && b.report != "":
			purpose = "the failure of " + b.report
		case b.failed:
			purpose = fmt.Sprintf("the failure %s at %d", b.stripeCode, b.updated)
		}
		earlier := granted[purpose]
		granted[purpose] = b
		if !b.canceled() {
			counted[b.attempts] = b
		}
		evidence := []string{a.String(), b.String()}
		switch {
		case inherits && (purpose == "" || replaced && (grown > 1 || earlier != nil)):
			inherits = false
			granted[purpose] = earlier
		case purpose == "":
			c.violation(AtMostLimit, b.session, b.first.moment, evidence, "a retry was granted at revision %d, which shows no failure", b.revision)
		case grown > 1:
			c.violation(AtMostLimit, b.session, b.first.moment, evidence, "%d retries were granted at once, for %s", grown, purpose)
		case earlier != nil:
			c.violation(AtMostLimit, b.session, b.first.moment, append([]string{earlier.String()}, evidence...), "a second retry was granted for %s", purpose)
		}
	}
}

// checkRetries checks AtMostLimit for answered calls: each has a link of its own.
func (c *checking) checkRetries() {
	calls := make(map[uint64]retry)
	for _, call := range c.retries {
		if call.secret == 0 && call.url == 0 {
			c.violation(AtMostLimit, call.session, call.moment, []string{call.String()}, "an answered retry has no link")
		}
		for _, part := range []struct {
			name string
			hash uint64
		}{{"client_secret", call.secret}, {"url", call.url}} {
			if part.hash == 0 {
				continue
			}
			if earlier, given := calls[part.hash]; given {
				c.violation(AtMostLimit, call.session, call.moment, []string{earlier.String(), call.String()}, "a %s was given before", part.name)
			}
			calls[part.hash] = call
		}
	}
}

func (r retry) String() string {
	return fmt.Sprintf("%v a retry of %s was answered", r.moment, r.session.id)
}
