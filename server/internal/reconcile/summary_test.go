package reconcile

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/verification"
)

func TestSummaryText(t *testing.T) {
	s := Summary{
		Took: 1234567890, Accounts: 2, Refused: 1, Pages: 41, Events: 4018, Known: 4000, Recent: 3,
		Missed: Effects{Applied: 9, Stale: 2, Counted: 1, Pending: 3}, Malformed: 2, MalformedIDs: []string{"evt_1", "evt_2"},
		Due: 4, Reread: 3, Changed: 1, Unknown: 1, Unreadable: 1,
	}
	want := `catch-up complete (1.235s)
  accounts: 2 caught up, 1 refused by Stripe
  events:   4018 on 41 pages; 4000 known, 15 missed, 3 too recent to tell, 2 malformed
  missed:   9 applied, 2 stale, 1 counted as failures only, 3 unresolved
  malformed: evt_1 evt_2
  sessions: 4 due; 3 read again, 1 of them changed, 1 unknown to Stripe
  unreadable: 1 records; see the log`
	if got := s.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.Stopped = verification.ErrStripeBudget
	if got := s.String(); !strings.HasPrefix(got, "catch-up stopped early: the day's budget") || !strings.Contains(got, "resumes there") {
		t.Errorf("got\n%s", got)
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "run server reconcile again, without --full, and it resumes") {
		t.Errorf("error %v", err)
	}
	for what, left := range map[string]Summary{
		"an unanswered session": {Unanswered: 1}, "Stripe away": {Stopped: verification.ErrStripeUnavailable},
		"another replica": {Stopped: errLeaseLost}, "too many due": {Stopped: errDueLeft},
	} {
		if err := left.Err(); err == nil || !strings.Contains(err.Error(), "run server reconcile again") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one sentence that says what to do", what, err)
		}
	}
	if err := (Summary{NoAccess: 1, Unknown: 1}).Err(); err != nil {
		t.Errorf("a complete run: error %v", err)
	}
	var line bytes.Buffer
	slog.New(slog.NewTextHandler(&line, nil)).Info("x", "summary", s)
	if !strings.Contains(line.String(), "summary.missed=15") || strings.Count(line.String(), "\n") != 1 {
		t.Errorf("line %s", line.String())
	}
}

func TestSummaryNamesNotTooMany(t *testing.T) {
	var s Summary
	for range 10 {
		s.noteMalformed([]string{"evt_1", "", "evt_2", "evt_3"})
	}
	if s.Malformed != 40 || len(s.MalformedIDs) != maxMalformedIDs {
		t.Errorf("%d, %d named", s.Malformed, len(s.MalformedIDs))
	}
}

func TestEffects(t *testing.T) {
	var e Effects
	for _, effect := range []verification.Effect{1, 2, 3, 4, 0, 1} {
		e.add(effect)
	}
	if e != (Effects{Applied: 2, Stale: 2, Counted: 1, Pending: 1}) || e.Sum() != 6 {
		t.Errorf("%+v", e)
	}
}

func TestSessionSummaryText(t *testing.T) {
	s := SessionSummary{ID: "vs_1", Before: verification.Session{ID: "vs_1", Revision: 2, Unresolved: true}, After: verification.Session{ID: "vs_1", Revision: 2}}
	s.Before.Status, s.After.Status = "processing", "processing"
	s.After.Redaction = verification.RedactionProcessing
	s.After.Reference, s.After.Error.Reason = "planted", "planted"
	want := `vs_1 has changed
  status:          processing
  error:           none
  redaction:       none -> processing
  failed attempts: 0
  revision:        2
  unresolved:      true -> false`
	if got := s.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
