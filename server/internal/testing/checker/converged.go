package checker

import (
	"fmt"
	"math"
	"slices"

	"example.com/verification-status/server/internal/verification"
)

// checkConverged checks Converged for each session whose final state at Stripe was recorded.
func (c *checking) checkConverged() {
	for _, s := range c.sorted {
		if s.truth == nil {
			continue
		}
		if s.last == nil || s.last.fact == nil {
			code := "was never called"
			if s.last != nil {
				code = "answered " + s.last.code
			}
			c.violation(Converged, s, c.end, nil, "the last GetStatus %s", code)
			continue
		}
		shown := s.last.fact
		for _, wrong := range c.compare(s, shown.content) {
			c.violation(Converged, s, s.last.moment, []string{shown.String()}, "%s", wrong)
		}
	}
}

// compare returns the differences of a status from the state at Stripe.
func (c *checking) compare(s *session, shown content) []string {
	var wrong []string
	differs := func(what string, got, want any) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %v, at Stripe %v", what, got, want))
		}
	}
	code := s.truth.Error.Code
	hasError := !s.truth.Error.IsZero()
	// A redaction erases the error in the service, and a cancel erases it at Stripe.
	if s.truth.Redaction > verification.RedactionNone || s.truth.Status == verification.StatusCanceled {
		code, hasError = "", false
	}
	differs("status", shown.stripeStatus, s.truth.Status)
	differs("the error's presence", shown.failed, hasError)
	differs("the error's code", shown.stripeCode, code)
	differs("redaction", int(shown.redaction), int(s.truth.Redaction))
	least, most := c.inherited(s)
	if own := int32(len(s.failures)); shown.attempts < own+least || shown.attempts > own+most {
		wrong = append(wrong, fmt.Sprintf("failed_attempts is %d; Stripe emitted %d failures, %d to %d were inherited", shown.attempts, own, least, most))
	}
	return wrong
}

// inherited returns bounds of the failed attempts that a session has from the one it replaced. After a loss the record of the
// replaced session can lack what it passed on.
func (c *checking) inherited(s *session) (least, most int32) {
	if len(c.predecessors[s]) > 0 && len(c.eras) > 0 {
		most = math.MaxInt16
	}
	for _, old := range c.predecessors[s] {
		if old.last == nil || old.last.fact == nil {
			continue
		}
		final := old.last.fact
		exact := final.supersededBy == s.id && !c.lossSince(old, final.created) && !c.lossSince(s, final.created)
		most = max(most, final.attempts)
		for _, f := range old.facts {
			if exact && f.granted < final.granted {
				least = max(least, f.attempts) // the last grant is the replacement's
			}
		}
	}
	return least, most
}

// lossSince returns whether a loss that affects the session was not over at a Unix second.
func (c *checking) lossSince(s *session, second int64) bool {
	return slices.ContainsFunc(c.eras, func(e *era) bool {
		return e.concerns(s) && (e.end.seq == 0 || e.end.at/1000 >= second)
	})
}

// findPredecessors returns for each session the sessions that it replaced, directly or over others. It finds them by
// superseded_by, and by calls that were answered with another session than the call named.
func (c *checking) findPredecessors() map[*session][]*session {
	found := make(map[*session][]*session)
	add := func(successor, old *session) {
		if successor != old && !slices.Contains(found[successor], old) {
			found[successor] = append(found[successor], old)
		}
	}
	for _, s := range c.sorted {
		for _, f := range s.facts {
			if f.supersededBy != "" {
				add(c.session(f.supersededBy), s)
			}
		}
	}
	for _, call := range c.retries {
		if call.fact != nil {
			add(call.fact.session, call.session)
		}
	}
	return found
}

// replacements returns the number of sessions before this one in its chain.
func (c *checking) replacements(s *session) int32 {
	chain := []*session{s}
	for i := 0; i < len(chain); i++ {
		for _, old := range c.predecessors[chain[i]] {
			if !slices.Contains(chain, old) {
				chain = append(chain, old)
			}
		}
	}
	return int32(len(chain) - 1)
}
