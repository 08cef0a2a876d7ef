package checker

import (
	"cmp"
	"slices"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// outcome is what a Verification shows that a server of a version before does not know.
type outcome struct {
	revision int32 // outcome_revision
	id       string
	replaces string
}

// shownOutcome is an outcome that a fact was seen with.
type shownOutcome struct {
	outcome
	seen []sighting // the first, and the first after each begin and end of a loss since
}

// sawOutcome adds the outcome of a sighting of the fact. A server that does not know outcomes shows revision 0.
func (f *fact) sawOutcome(v *verificationv1.Verification, now sighting, turned uint64) {
	shown := outcome{v.GetOutcomeRevision(), v.GetOutcomeId(), v.GetReplaces()}
	if shown.revision == 0 {
		return
	}
	for _, o := range f.outcomes {
		if o.outcome != shown {
			continue
		}
		if o.seen[len(o.seen)-1].seq < turned {
			o.seen = append(o.seen, now)
		}
		return
	}
	f.outcomes = append(f.outcomes, &shownOutcome{shown, []sighting{now}})
}

// told is an outcome of a revision in one era.
type told struct {
	*fact
	outcome
	at moment
}

// checkOutcomes checks OneOutcome.
func (c *checking) checkOutcomes() {
	for _, s := range c.sorted {
		eras := make([][]told, len(c.eras)+1)
		for _, f := range s.facts {
			for _, o := range f.outcomes {
				for _, seen := range o.seen {
					if era := c.life(s, seen.moment); era >= 0 {
						eras[era] = append(eras[era], told{f, o.outcome, seen.moment})
					}
				}
			}
		}
		for _, era := range eras {
			slices.SortStableFunc(era, func(a, b told) int { return cmp.Compare(a.fact.revision, b.fact.revision) })
			for i, now := range era {
				if now.outcome.revision < 0 || now.outcome.revision > now.fact.revision || len(now.id) != 22 {
					c.wrongOutcome(now, now, "the outcome of revision %d is said to be of revision %d and named %q", now.fact.revision, now.outcome.revision, now.id)
				}
				if i > 0 {
					c.checkOutcome(era[i-1], now)
				}
			}
		}
	}
}

// checkOutcome compares the outcome of a revision with that of the one seen before it, or of the same.
func (c *checking) checkOutcome(before, now told) {
	moved := now.outcome.revision > before.fact.revision
	same := before.outcome.revision == now.outcome.revision && before.id == now.id
	switch {
	case before.fact.revision == now.fact.revision:
		if before.outcome != now.outcome {
			c.wrongOutcome(before, now, "revision %d shows the outcomes %v and %v", now.fact.revision, before.outcome, now.outcome)
		}
	case !moved && !same:
		c.wrongOutcome(before, now, "revision %d shows the outcome %v after %v of revision %d", now.fact.revision, now.outcome, before.outcome, before.fact.revision)
	case !moved && before.stripeStatus != now.stripeStatus:
		c.wrongOutcome(before, now, "the status changed from revision %d to %d and the outcome did not", before.fact.revision, now.fact.revision)
	case now.fact.revision == before.fact.revision+1 && moved != brings(before.content, now.content) && !archives(before.content, now.content):
		c.wrongOutcome(before, now, "revision %d brings another outcome: %t; it is said to be of revision %d", now.fact.revision, !moved, now.outcome.revision)
	}
}

func (c *checking) wrongOutcome(before, now told, format string, arguments ...any) {
	c.violation(OneOutcome, now.session, now.at, []string{before.String(), now.String()}, format, arguments...)
}

// brings reports whether a content shows another outcome than the one before. What a redaction erases is no difference.
func brings(before, now content) bool {
	if now.redacted() {
		return before.stripeStatus != now.stripeStatus
	}
	return before.stripeStatus != now.stripeStatus || before.failed != now.failed || before.stripeCode != now.stripeCode ||
		before.reason != now.reason || before.report != now.report
}

// archives reports whether the archive explains the difference between two contents: it erases details of a settled session, and
// is no redaction.
func archives(before, now content) bool {
	return before.stripeStatus == now.stripeStatus && now.settled && !now.redacted() && !now.failed && now.report == "" && now.reference == ""
}
