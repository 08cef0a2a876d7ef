package verification

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var operatorSteps = flag.Int("operator-steps", 5, "how many steps the lives of TestG9_AllOrdersWithOperators have; 6 are 300,000 lives, which take ten seconds")

const desk = "token:desk"

// operatorActs are the steps of a life, in which two kinds of failures, both acts of an operator, and all that can end a session meet.
var operatorActs = []string{"fail", "fail for good", "grant", "allow", "resolve", "decline", "take back", "review", "cancel", "replace", "redact"}

// operatorLife is one session beside its model. It is a value.
type operatorLife struct {
	record Session
	model  operatorModel
	policy RetryPolicy
	second int64
	acts   []string
}

func newOperatorLife(policy RetryPolicy) operatorLife {
	l := operatorLife{policy: policy, second: 1, record: after(created("evt_1", 1))}
	l.model = operatorModel{max: policy.MaxRetries, cooldown: policy.Cooldown > 0, status: StatusRequiresInput}
	l.model.changed(true)
	return l
}

// step does an act. goes is false if the act changes nothing, or cannot happen in this life.
func (l operatorLife) step(act string) (next operatorLife, goes bool, wrong string) {
	before := l.record
	l.second += 10
	l.acts = append(slices.Clip(l.acts), act)
	now, m := at(l.second), &l.model
	changed := true // what the core says
	goes = true     // what the model says
	switch act {
	case "fail", "fail for good":
		code := expired
		if act != "fail" {
			code = Error{Code: "under_supported_age", Reason: "Too young."}
		}
		m.fail(code.Code)
		l.arrive(failed("", l.second, name("vr", m.reports), code))
	case "grant":
		goes = m.grant()
		l.record, _, changed = GrantRetry(l.record, l.policy, now, bff)
	case "allow":
		goes = m.allow()
		l.record, _, changed = AllowRetry(l.record, l.policy, now, desk)
	case "resolve", "decline", "take back":
		kind := map[string]ResolutionKind{"resolve": ResolutionVerifiedElsewhere, "decline": ResolutionDeclined}[act]
		goes = m.resolve(kind, desk, l.second)
		l.record, changed = ResolveVerification(l.record, kind, now, desk)
	case "review":
		if m.status == StatusCanceled || m.redacted {
			return l, false, ""
		}
		m.review()
		o := object(StatusVerified, Error{}, name("vr", m.report))
		if m.status != StatusVerified {
			o = object(StatusRequiresInput, expired, name("vr", m.report))
		}
		l.record, _ = ApplyRead(l.record, read(l.record, l.second, o))
	case "cancel":
		if m.status == StatusCanceled {
			return l, false, ""
		}
		m.status, m.shown = StatusCanceled, 0
		m.changed(true)
		l.arrive(canceled("", l.second, ""))
	case "replace":
		if m.status != StatusCanceled {
			return l, false, ""
		}
		goes = !m.superseded && m.replacementDenial() == DenialNone
		if goes {
			m.use()
			m.changed(false)
			m.superseded = true
			m.changed(false)
		}
		if !m.superseded || goes {
			l.record, _, changed = GrantReplacement(l.record, l.policy, now, bff, backTo)
		}
		if changed = changed && l.record.Replacement.Granted; changed {
			l.record, changed = Supersede(l.record, "vs_2", now)
			wrong = l.heir()
		}
	case "redact":
		if m.redacted {
			return l, false, ""
		}
		m.redact()
		l.arrive(redacted("", l.second, m.status, RedactionRedacted))
	}
	switch {
	case changed != goes:
		return l, goes, fmt.Sprintf("changed is %v; want %v", changed, goes)
	case !goes && (l.record.State != before.State || l.record.Revision != before.Revision || len(l.record.History) != len(before.History)):
		return l, goes, "an act that changes nothing changed the record"
	case wrong == "" && goes:
		wrong = m.wrong(l.record, l.policy, now)
	}
	return l, goes, wrong
}

// arrive applies an event of Stripe, with Stripe's answer if the order is ambiguous.
func (l *operatorLife) arrive(e Event) {
	e.ID = name("evt", int(l.second))
	next, outcome := Transition(l.record, e)
	if outcome.Ambiguous {
		next, _ = Resolve(l.record, e, read(l.record, l.second, e.Object))
	}
	l.record = next
}

// heir checks what a replacement inherits.
func (l *operatorLife) heir() string {
	first := created("evt_heir", l.second)
	first.Object.ID = "vs_2"
	heir, changed := Inherit(after(first), l.record, at(l.second))
	if !changed || heir.FailedAttempts != int32(len(l.model.failures)) || heir.RetriesGranted != l.model.granted ||
		l.policy.Remaining(heir.State) != l.model.remaining() || heir.OverrideOpen() {
		return fmt.Sprintf("the heir has %+v, inherited %+v; want %+v", heir.State, heir.Inherited, l.model)
	}
	return ""
}

// TestG9_AllOrdersWithOperators tries all orders of the acts. An act that changes nothing ends its branch: what follows it is tried
// without it. There are at most MAX_RETRIES grants, and one more for each allowance.
func TestG9_AllOrdersWithOperators(t *testing.T) {
	lives := 0
	var try func(l operatorLife, steps int)
	try = func(l operatorLife, steps int) {
		for _, act := range operatorActs {
			next, goes, wrong := l.step(act)
			if wrong != "" {
				t.Fatalf("with %+v after %s: %s", l.policy, strings.Join(next.acts, ", "), wrong)
			}
			if !goes {
				continue
			}
			lives++
			allowances := int32(0)
			for _, act := range next.acts {
				if act == "allow" {
					allowances++
				}
			}
			if next.record.RetriesGranted > l.policy.MaxRetries+allowances {
				t.Fatalf("with %+v after %s: %d grants", l.policy, strings.Join(next.acts, ", "), next.record.RetriesGranted)
			}
			if steps > 1 {
				try(next, steps-1)
			}
		}
	}
	for _, policy := range []RetryPolicy{{MaxRetries: 0}, {MaxRetries: 1}, {MaxRetries: 2}, {MaxRetries: 2, Cooldown: time.Hour}} {
		policy.DenyCodes = DefaultDenyCodes()
		try(newOperatorLife(policy), *operatorSteps)
	}
	t.Logf("%d lives", lives)
}
