package reconcile

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Summary says what a Run did.
type Summary struct {
	// Took is how long it ran.
	Took time.Duration
	// Stopped is why it ended early, for example verification.ErrStripeBudget; nil: it went through all
	// accounts and all sessions that were due.
	Stopped error
	// Behind are the accounts whose events are not caught up, the longest behind first; nil: not known,
	// because the run failed before it had gone through them. After a run of another replica they are
	// what that one has noted.
	Behind []Behind

	// Accounts were caught up, the platform's own among them; Refused are those whose events Stripe
	// would not list.
	Accounts, Refused int
	// Pages of Stripe's list were read, and Events gone through. Known ones had come before.
	Pages, Events, Known int
	// Missed events had not come before, though their webhook was due: the drift.
	Missed Effects
	// Recent events had not come before either, but are so young that their webhook may be on its way.
	Recent int
	// Malformed events cannot be used; MalformedIDs names the first of them.
	Malformed    int
	MalformedIDs []string

	// Due sessions asked to be read again; Reread ones were, and Changed by it. Of Unknown ones Stripe
	// would not tell. The rest was read to no avail lately, and is left alone for a while.
	Due, Reread, Changed, Unknown int
	// Unanswered sessions were due, and Stripe gave no answer about them though it told of others.
	Unanswered int
	// Unreadable counts what was left because a stored record cannot be read by this version, or was
	// written again and again meanwhile.
	Unreadable int
}

// Complete says whether all that Stripe lists has been applied.
func (s Summary) Complete() bool {
	return s.Stopped == nil && len(s.Behind) == 0 && s.Unanswered == 0
}

// Err returns an error that says how many accounts are behind; nil: none is known to be.
func (s Summary) Err() error {
	if len(s.Behind) == 0 {
		return nil
	}
	return fmt.Errorf("%d accounts are behind, the first one since %s: %s", len(s.Behind), second(s.Behind[0].Since), s.Behind[0].Name())
}

func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxBehind bounds the accounts that a summary names.
const maxBehind = 20

// Effects counts events by what they did.
type Effects struct{ Applied, Stale, Counted, Pending int }

// Sum is the number of all.
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

// maxMalformedIDs bounds what a summary names.
const maxMalformedIDs = 20

func (s *Summary) noteMalformed(ids []string) {
	s.Malformed += len(ids)
	for _, id := range ids {
		if id != "" && len(s.MalformedIDs) < maxMalformedIDs {
			s.MalformedIDs = append(s.MalformedIDs, id)
		}
	}
}

// String is several lines of plain text, without a newline at the end.
func (s Summary) String() string {
	var b strings.Builder
	state := "complete"
	switch {
	case s.Stopped != nil:
		state = "stopped early: " + s.Stopped.Error() + ". The next run goes on from there"
	case !s.Complete():
		state = "ended, but not complete"
	}
	fmt.Fprintf(&b, "catch-up %s (%v)\n", state, s.Took.Round(time.Millisecond))
	fmt.Fprintf(&b, "  accounts: %d caught up, %d refused by Stripe\n", s.Accounts, s.Refused)
	for n, behind := range s.Behind {
		if n == maxBehind {
			fmt.Fprintf(&b, "  behind:   %d more\n", len(s.Behind)-n)
			break
		}
		fmt.Fprintf(&b, "  behind:   %s since %s%s\n", behind.Name(), second(behind.Since), behind.because())
	}
	fmt.Fprintf(&b, "  events:   %d on %d pages; %d known, %d missed, %d of the last minute, %d malformed\n",
		s.Events, s.Pages, s.Known, s.Missed.Sum(), s.Recent, s.Malformed)
	if m := s.Missed; m.Sum() > 0 {
		fmt.Fprintf(&b, "  missed:   %d applied, %d too late to matter, %d counted as failures only, %d in doubt\n", m.Applied, m.Stale, m.Counted, m.Pending)
	}
	if len(s.MalformedIDs) > 0 {
		fmt.Fprintf(&b, "  malformed: %s\n", strings.Join(s.MalformedIDs, " "))
	}
	fmt.Fprintf(&b, "  sessions: %d due; %d read again, %d of them changed, %d unknown to Stripe", s.Due, s.Reread, s.Changed, s.Unknown)
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

// LogValue is the summary as fields.
func (s Summary) LogValue() slog.Value {
	fields := []slog.Attr{slog.Duration("took", s.Took), slog.Int("accounts", s.Accounts), slog.Int("refused", s.Refused),
		slog.Int("pages", s.Pages), slog.Int("events", s.Events), slog.Int("known", s.Known), slog.Int("missed", s.Missed.Sum()),
		slog.Int("recent", s.Recent), slog.Int("malformed", s.Malformed), slog.Int("due", s.Due), slog.Int("reread", s.Reread),
		slog.Int("changed", s.Changed), slog.Int("unknown", s.Unknown), slog.Int("unanswered", s.Unanswered),
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

// SessionSummary says what reading one session again has changed.
type SessionSummary struct {
	ID string
	// Before and After are its records; a zero Before was not known here.
	Before, After verification.Session
}

// String is several lines of plain text, without a newline at the end and without personal data.
func (s SessionSummary) String() string {
	var b strings.Builder
	before, after := s.Before, s.After
	switch {
	case !before.Exists():
		fmt.Fprintf(&b, "%s was not known here", s.ID)
	case before.Revision == after.Revision && before.Pending == after.Pending:
		fmt.Fprintf(&b, "%s is as Stripe says: nothing changed", s.ID)
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
	line("in doubt", before.Pending, after.Pending)
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
