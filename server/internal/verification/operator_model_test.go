package verification

import (
	"fmt"
	"slices"
	"time"
)

// operatorModel says what callers see of one session, by the rules of operators and of retries alone. It knows no inputs that are
// late and no reads. It is a value.
type operatorModel struct {
	max      int32
	cooldown bool // every failure is younger than the cooldown

	status                string
	failures              []modelFailure
	shown, newest         int // positions in failures, from 1; 0 for none
	granted, overrides    int32
	given                 bool // an allowance was given and no grant has used it
	allowed               int  // the failure that it is for
	forReplacement        bool
	superseded, redacted  bool
	kind                  ResolutionKind
	by                    string
	when                  int64
	revision, outcome     int32
	reports               int
	report                int // the report of the verified state
	oldest                int // the first of views that is still told
	views                 []operatorView
	operators, principals int // entries that the history tells
}

type modelFailure struct {
	code    string
	report  int
	granted bool
}

// operatorView is what callers see of one revision.
type operatorView struct {
	status                     string
	failed, granted, remaining int32
	denial                     Denial
	open, settled              bool
	resolution                 Resolution
	superseded                 bool
	redaction                  Redaction
	outcome                    int32
}

func (m *operatorModel) judged() int {
	if m.shown != 0 {
		return m.shown
	}
	return m.newest
}

// waits reports whether the failure that is judged has no grant.
func (m *operatorModel) waits() bool {
	return m.judged() != 0 && !m.failures[m.judged()-1].granted
}

func (m *operatorModel) open() bool {
	return m.given && !m.superseded && !m.redacted && m.allowed == m.judged() && (m.forReplacement || m.waits())
}

func (m *operatorModel) remaining() int32 { return max(0, m.max-(m.granted-m.overrides)) }

func (m *operatorModel) denial() Denial {
	switch {
	case m.superseded:
		return DenialSuperseded
	case m.redacted:
		return DenialRedacted
	case m.status == StatusCanceled:
		return DenialCanceled
	case m.status == StatusVerified:
		return DenialAlreadyVerified
	case m.kind != ResolutionNone:
		return DenialResolved
	case !m.waits(), m.open():
		return DenialNone
	case m.failures[m.judged()-1].code != expired.Code:
		return DenialNotRetryable
	case m.remaining() == 0:
		return DenialLimitReached
	case m.cooldown:
		return DenialCooldown
	}
	return DenialNone
}

// replacementDenial is denial for the replacement of a canceled session without a successor.
func (m *operatorModel) replacementDenial() Denial {
	switch {
	case m.redacted:
		return DenialRedacted
	case m.kind != ResolutionNone:
		return DenialResolved
	case m.open():
		return DenialNone
	case m.waits() && m.failures[m.judged()-1].code != expired.Code:
		return DenialNotRetryable
	case m.remaining() == 0:
		return DenialLimitReached
	case m.waits() && m.cooldown:
		return DenialCooldown
	}
	return DenialNone
}

// lists returns the lists of the session. A resolved or allowed session is in none by denial.
func (m *operatorModel) lists() (in Lists) {
	if m.redacted {
		return in
	}
	in = in.with(map[string]List{StatusRequiresInput: ListRequiresInput, StatusVerified: ListVerified, StatusCanceled: ListCanceled}[m.status])
	switch m.denial() {
	case DenialLimitReached:
		in = in.with(ListLimitReached)
	case DenialNotRetryable:
		in = in.with(ListNotRetryable)
	}
	return in
}

func (m *operatorModel) view() operatorView {
	v := operatorView{
		status: m.status, failed: int32(len(m.failures)), granted: m.granted, remaining: m.remaining(), denial: m.denial(), open: m.open(),
		resolution: Resolution{m.kind, m.by, m.when}, superseded: m.superseded, outcome: m.outcome,
		settled: m.status == StatusVerified || m.status == StatusCanceled || m.redacted || m.kind != ResolutionNone,
	}
	if m.redacted {
		v.redaction = RedactionRedacted
	}
	return v
}

// changed ends a change that callers see.
func (m *operatorModel) changed(outcome bool) {
	m.revision++
	if outcome {
		m.outcome = m.revision
	}
	m.views = append(slices.Clip(m.views), m.view())
}

func (m *operatorModel) fail(code string) {
	m.reports++
	m.failures = append(slices.Clip(m.failures), modelFailure{code: code, report: m.reports})
	m.newest = len(m.failures)
	brings := m.status != StatusCanceled && (!m.redacted || m.status != StatusRequiresInput)
	if m.status != StatusCanceled {
		m.status, m.shown = StatusRequiresInput, m.newest
	}
	m.changed(brings)
}

// review is a reviewer at Stripe: what was not verified becomes verified, and what was becomes failed, by the same report.
func (m *operatorModel) review() {
	if m.status != StatusVerified {
		m.report = m.reports + 1
		if m.shown != 0 {
			m.report = m.failures[m.shown-1].report
		}
		m.reports = max(m.reports, m.report)
		m.status, m.shown = StatusVerified, 0
		m.changed(true)
		return
	}
	m.failures = slices.Clone(m.failures)
	at := slices.IndexFunc(m.failures, func(f modelFailure) bool { return f.report == m.report })
	if at < 0 {
		at = len(m.failures)
		m.failures = append(m.failures, modelFailure{report: m.report})
	}
	m.failures[at].code = expired.Code
	m.status, m.shown, m.newest = StatusRequiresInput, at+1, at+1
	m.changed(true)
}

func (m *operatorModel) grant() bool {
	if m.denial() != DenialNone || !m.waits() {
		return false
	}
	m.use()
	m.failures = slices.Clone(m.failures)
	m.failures[m.judged()-1].granted = true
	m.changed(false)
	return true
}

// use counts a grant.
func (m *operatorModel) use() {
	if m.open() {
		m.given = false
		m.overrides++
	}
	m.granted++
}

func (m *operatorModel) allow() bool {
	denial, closed := m.denial(), m.status == StatusCanceled && !m.superseded
	if closed {
		denial = m.replacementDenial()
	}
	if denial != DenialLimitReached && denial != DenialNotRetryable && denial != DenialCooldown {
		return false
	}
	m.given, m.allowed, m.forReplacement = true, m.judged(), closed
	m.operators, m.principals = m.operators+1, m.principals+1
	m.changed(false)
	return true
}

func (m *operatorModel) resolve(kind ResolutionKind, by string, when int64) bool {
	if m.kind == kind {
		return false
	}
	m.kind, m.by, m.when = kind, by, when
	if kind == ResolutionNone {
		m.by, m.when = "", 0
	}
	m.operators++
	if m.redacted {
		m.by = ""
	} else {
		m.principals++
	}
	m.changed(false)
	return true
}

func (m *operatorModel) redact() {
	m.redacted, m.by, m.operators, m.principals = true, "", 0, 0
	m.changed(false)
	m.oldest = len(m.views) - 1
}

// wrong compares the record with the model. It returns "" if they agree.
func (m *operatorModel) wrong(s Session, policy RetryPolicy, now time.Time) string {
	seen := func(change Change) operatorView {
		state := change.State
		return operatorView{
			state.Status, state.FailedAttempts, state.RetriesGranted, policy.Remaining(state), policy.Judge(state, now).Denial,
			state.OverrideOpen(), state.Settled(), state.Resolution, state.SupersededBy != "", state.Redaction, change.Outcome.Revision,
		}
	}
	want := m.views[m.oldest:]
	changes := s.ChangesAfter(0)
	if s.Revision != m.revision || len(changes) != len(want) || int(changes[0].Revision) != m.oldest+1 {
		return fmt.Sprintf("revision %d with %d told; want %d with %d", s.Revision, len(changes), m.revision, len(want))
	}
	for n, change := range append(changes, s.Current()) {
		if got, want := seen(change), want[min(n, len(want)-1)]; got != want {
			return fmt.Sprintf("revision %d is %+v\nwant %+v", change.Revision, got, want)
		}
	}
	if got, want := policy.Lists(s), m.lists(); got != want {
		return fmt.Sprintf("in the lists %07b; want %07b", got, want)
	}
	operators, principals := 0, 0
	for _, entry := range s.History {
		if entry.Source == SourceOperator {
			operators++
			if entry.Operation == OperationNone {
				return "an operator's entry does not say what the operator did"
			}
			if entry.Principal != "" {
				principals++
			}
		}
	}
	if operators != m.operators || principals != m.principals {
		return fmt.Sprintf("%d entries of operators, %d with a name; want %d and %d", operators, principals, m.operators, m.principals)
	}
	return ""
}
