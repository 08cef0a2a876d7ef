package reconcile

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Summary is what a Run did.
type Summary struct {
	// Took is how long the Run took.
	Took time.Duration
	// Stopped is why the Run stopped early, for example verification.ErrStripeBudget. It is nil if the Run tried all
	// accounts and all due sessions.
	Stopped error
	// Behind holds the accounts that are behind, the longest first. It is nil if the Run failed before it had tried all
	// accounts. If another replica holds the lease, it is what that replica has stored.
	Behind []Behind

	// Accounts is the number of accounts that were caught up, including the platform. Refused is the number of accounts
	// whose events Stripe refused to list. NoAccess is the number of connected accounts that give no access at Stripe.
	Accounts, Refused, NoAccess int
	// Pages and Events count what was read of Stripe's list. Known counts the events that the sessions had before.
	Pages, Events, Known int
	// Missed counts the new events whose webhook should have come: the drift.
	Missed Effects
	// Backlog counts the events of Missed that the first run of an account found and that are older than this process. No webhook of
	// theirs was due here.
	Backlog int
	// Wished is true if the Run only served the wishes of thin events.
	Wished bool
	// Announced counts the new events whose change a thin event had announced, and Unlisted the thin events that a read had
	// answered and whose snapshot event Stripe does not list.
	Announced, Unlisted int
	// Recent counts the new events that are so young that their webhook can still be on its way.
	Recent int
	// Malformed counts the events that cannot be used. MalformedIDs holds the ids of the first ones.
	Malformed    int
	MalformedIDs []string

	// Due counts the sessions that were due, Reread those that were read again, Changed those that a read changed, and
	// Unknown those that Stripe refused to return. The other due sessions are held off.
	Due, Reread, Changed, Unknown int
	// Absent counts the sessions that left the lists, because Stripe did not know them for several runs.
	Absent int
	// Unanswered counts the due sessions for which Stripe gave no answer although it answered for others.
	Unanswered int
	// Unreadable counts the events and sessions that were skipped because this version cannot read the record, or because
	// other writers were always faster.
	Unreadable int
}

// Complete reports whether the Run applied all events that Stripe lists and read all due sessions.
func (s Summary) Complete() bool {
	return s.Stopped == nil && len(s.Behind) == 0 && s.Unanswered == 0
}

// Drift returns the number of events that a webhook should have brought to this installation.
func (s Summary) Drift() int { return s.Missed.Sum() - s.Backlog }

// Err returns an error that says, for people, what is left to do and how. It returns nil if Complete returns true.
func (s Summary) Err() error {
	var left []error
	switch {
	case s.Stopped == nil:
	case errors.Is(s.Stopped, errLeaseElsewhere), errors.Is(s.Stopped, errLeaseLost):
		left = append(left, fmt.Errorf("the catch-up is not done, because %w: run server reconcile again when that replica has ended its own", s.Stopped))
	case errors.Is(s.Stopped, verification.ErrStripeBudget):
		left = append(left, fmt.Errorf("the catch-up is not done, because %w: run server reconcile again, without --full, and it resumes; with a greater API_READS_PER_DAY it needs fewer runs", s.Stopped))
	default:
		left = append(left, fmt.Errorf("the catch-up is not done, because %w: run server reconcile again, without --full, and it resumes", s.Stopped))
	}
	if len(s.Behind) > 0 {
		left = append(left, fmt.Errorf("%d accounts are behind; %s has been behind longest, since %s", len(s.Behind), s.Behind[0].Name(), second(s.Behind[0].Since)))
	}
	if s.Unanswered > 0 {
		left = append(left, fmt.Errorf("%d sessions that are due got no answer from Stripe: run server reconcile again", s.Unanswered))
	}
	return errors.Join(left...)
}

func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxBehind bounds the accounts that a summary's text names.
const maxBehind = 20

// Effects counts events by their effect.
type Effects struct{ Applied, Stale, Counted, Pending int }

// Sum returns the number of all events.
func (e Effects) Sum() int { return e.Applied + e.Stale + e.Counted + e.Pending }

func (e *Effects) add(effect verification.Effect) {
	switch effect {
	case verification.EffectApplied:
		e.Applied++
	case verification.EffectCounted:
		e.Counted++
	case verification.EffectPending:
		e.Pending++
	default:
		e.Stale++
	}
}

// maxMalformedIDs bounds the malformed events that a summary names.
const maxMalformedIDs = 20

func (s *Summary) noteMalformed(ids []string) {
	s.Malformed += len(ids)
	for _, id := range ids {
		if id != "" && len(s.MalformedIDs) < maxMalformedIDs {
			s.MalformedIDs = append(s.MalformedIDs, id)
		}
	}
}

// String returns several lines of plain text, without a newline at the end.
func (s Summary) String() string {
	var b strings.Builder
	state := "complete"
	switch {
	case s.Stopped != nil:
		state = "stopped early: " + s.Stopped.Error() + ". The next run resumes there"
	case !s.Complete():
		state = "ended, but not complete"
	}
	fmt.Fprintf(&b, "catch-up %s (%v)\n", state, s.Took.Round(time.Millisecond))
	fmt.Fprintf(&b, "  accounts: %d caught up, %d refused by Stripe", s.Accounts, s.Refused)
	if s.NoAccess > 0 {
		fmt.Fprintf(&b, ", %d without access", s.NoAccess)
	}
	b.WriteByte('\n')
	for n, behind := range s.Behind {
		if n == maxBehind {
			fmt.Fprintf(&b, "  behind:   %d more\n", len(s.Behind)-n)
			break
		}
		fmt.Fprintf(&b, "  behind:   %s since %s%s\n", behind.Name(), second(behind.Since), behind.because())
	}
	fmt.Fprintf(&b, "  events:   %d on %d pages; %d known, %d missed, %d too recent to tell, %d malformed\n",
		s.Events, s.Pages, s.Known, s.Missed.Sum(), s.Recent, s.Malformed)
	if s.Announced > 0 || s.Unlisted > 0 {
		fmt.Fprintf(&b, "  thin:     %d events announced by thin events, %d thin events without an event\n", s.Announced, s.Unlisted)
	}
	if m := s.Missed; m.Sum() > 0 {
		fmt.Fprintf(&b, "  missed:   %d applied, %d stale, %d counted as failures only, %d unresolved\n", m.Applied, m.Stale, m.Counted, m.Pending)
	}
	if s.Backlog > 0 {
		fmt.Fprintf(&b, "  backlog:  %d of the missed events are older than the service\n", s.Backlog)
	}
	if len(s.MalformedIDs) > 0 {
		fmt.Fprintf(&b, "  malformed: %s\n", strings.Join(s.MalformedIDs, " "))
	}
	fmt.Fprintf(&b, "  sessions: %d due; %d read again, %d of them changed, %d unknown to Stripe", s.Due, s.Reread, s.Changed, s.Unknown)
	if s.Absent > 0 {
		fmt.Fprintf(&b, ", %d of them for the third time and no longer listed", s.Absent)
	}
	if s.Unanswered > 0 {
		fmt.Fprintf(&b, ", %d without an answer", s.Unanswered)
	}
	if s.Unreadable > 0 {
		fmt.Fprintf(&b, "\n  unreadable: %d records; see the log", s.Unreadable)
	}
	return b.String()
}

func (b Behind) because() string {
	if b.Reason == nil {
		return ""
	}
	return ": " + b.Reason.Error()
}

// LogValue returns the summary as a group of attributes.
func (s Summary) LogValue() slog.Value {
	fields := []slog.Attr{slog.Duration("took", s.Took), slog.Int("accounts", s.Accounts), slog.Int("refused", s.Refused), slog.Int("no_access", s.NoAccess),
		slog.Int("pages", s.Pages), slog.Int("events", s.Events), slog.Int("known", s.Known), slog.Int("missed", s.Missed.Sum()),
		slog.Int("recent", s.Recent), slog.Int("announced", s.Announced), slog.Int("unlisted", s.Unlisted), slog.Int("malformed", s.Malformed), slog.Int("due", s.Due), slog.Int("reread", s.Reread),
		slog.Int("changed", s.Changed), slog.Int("unknown", s.Unknown), slog.Int("absent", s.Absent), slog.Int("unanswered", s.Unanswered),
		slog.Int("unreadable", s.Unreadable), slog.Int("behind", len(s.Behind))}
	if len(s.Behind) > 0 {
		var names []string
		for _, behind := range s.Behind[:min(len(s.Behind), maxBehind)] {
			names = append(names, behind.Name())
		}
		fields = append(fields, slog.String("behind_accounts", strings.Join(names, " ")), slog.String("behind_since", second(s.Behind[0].Since)))
	}
	return slog.GroupValue(fields...)
}

// SessionSummary is what a read of one session changed.
type SessionSummary struct {
	ID string
	// Before and After are the records before and after the read. Before is zero if the session was not known.
	Before, After verification.Session
}

// String returns several lines of plain text, without a newline at the end and without personal data.
func (s SessionSummary) String() string {
	var b strings.Builder
	before, after := s.Before, s.After
	switch {
	case !before.Exists():
		fmt.Fprintf(&b, "%s was not known", s.ID)
	case before.Revision == after.Revision && before.Unresolved == after.Unresolved:
		fmt.Fprintf(&b, "%s equals Stripe's session: nothing changed", s.ID)
	default:
		fmt.Fprintf(&b, "%s has changed", s.ID)
	}
	line := func(name string, before, after any) {
		if before == after {
			fmt.Fprintf(&b, "\n  %-16s %v", name+":", after)
		} else {
			fmt.Fprintf(&b, "\n  %-16s %v -> %v", name+":", before, after)
		}
	}
	line("status", orNone(before.Status), orNone(after.Status))
	line("error", orNone(before.Error.Code), orNone(after.Error.Code))
	line("redaction", redactions[before.Redaction], redactions[after.Redaction])
	line("failed attempts", before.FailedAttempts, after.FailedAttempts)
	line("revision", before.Revision, after.Revision)
	line("unresolved", before.Unresolved, after.Unresolved)
	return b.String()
}

var redactions = map[verification.Redaction]string{
	verification.RedactionNone: "none", verification.RedactionProcessing: "processing", verification.RedactionRedacted: "redacted",
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
