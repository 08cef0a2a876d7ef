package ingest

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// old is a closed session whose replacement was granted.
func old(id string) verification.Session {
	return verification.Session{
		ID: id, Revision: 1, Replacement: verification.Replacement{Granted: true},
		State: verification.State{Status: verification.StatusCanceled, FailedAttempts: 2, RetriesGranted: 1},
	}
}

// claims is the first event of a session that claims to replace another one.
func claims(id, replaces string) verification.Event {
	return verification.Event{
		ID: "evt_" + id, Type: verification.EventCreated, Source: verification.SourceWebhook, Second: base,
		Object: verification.Object{ID: id, Status: verification.StatusRequiresInput, Replaces: replaces},
	}
}

func newHeirs(held ...verification.Session) (*records, *Ingest) {
	kept := &records{held: map[string]verification.Session{}}
	for _, s := range held {
		kept.held[s.ID] = s
	}
	return kept, New(Config{Store: kept, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
}

func TestG9_AnEventOfASuccessorBringsTheCounts(t *testing.T) {
	kept, i := newHeirs(old("vs_1"))
	for range 2 {
		if _, err := i.Apply(t.Context(), claims("vs_2", "vs_1")); err != nil {
			t.Fatal(err)
		}
		if s := kept.held["vs_2"]; s.Predecessor != "vs_1" || s.FailedAttempts != 2 || s.RetriesGranted != 1 || kept.held["vs_1"].SupersededBy != "vs_2" {
			t.Errorf("%+v; the old one is superseded by %q", s.State, kept.held["vs_1"].SupersededBy)
		}
	}
}

// What was not done is done by the next copy of the same event, and an event is acknowledged only then.
func TestG9_AnEventIsNotAcknowledgedWhileTheCountsAreDue(t *testing.T) {
	kept, i := newHeirs(old("vs_1"))
	kept.refuse = map[string]error{"vs_1": store.ErrUnavailable}
	if _, err := i.Apply(t.Context(), claims("vs_2", "vs_1")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("acknowledged with %v", err)
	}
	kept.refuse = nil
	outcome, err := i.Apply(t.Context(), claims("vs_2", "vs_1"))
	if s := kept.held["vs_2"]; err != nil || !outcome.Duplicate || s.RetriesGranted != 1 {
		t.Errorf("%v, %+v, %+v", err, outcome, s.State)
	}
}

// A store that loses the successor while its counts are brought has not made it unknown: a caller must try again.
func TestG9_ASuccessorThatIsLostMeanwhileIsAConflict(t *testing.T) {
	_, i := newHeirs(old("vs_1"))
	lost, _ := verification.Transition(verification.Session{}, claims("vs_2", "vs_1"))
	if _, err := i.Inherit(t.Context(), lost); !errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Inherit: %v; want ErrConflict", err)
	}
}

func TestG9_AFalseClaimChangesNothing(t *testing.T) {
	taken, account := old("vs_1"), old("vs_1")
	taken.SupersededBy = "vs_9"
	account.Account = "acct_1"
	for name, test := range map[string]struct {
		held  []verification.Session
		event verification.Event
	}{
		"not known":       {nil, claims("vs_2", "vs_1")},
		"it has another":  {[]verification.Session{taken}, claims("vs_2", "vs_1")},
		"another account": {[]verification.Session{account}, claims("vs_2", "vs_1")},
		"itself":          {[]verification.Session{old("vs_1")}, claims("vs_1", "vs_1")},
		"no grant":        {[]verification.Session{{ID: "vs_1", Revision: 1, State: verification.State{FailedAttempts: 1}}}, claims("vs_2", "vs_1")},
	} {
		kept, i := newHeirs(test.held...)
		if _, err := i.Apply(t.Context(), test.event); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s := kept.held[test.event.Object.ID]; s.Predecessor != "" || test.event.Object.ID != "vs_1" && s.RetriesGranted != 0 {
			t.Errorf("%s: inherited %+v from %q", name, s.Inherited, s.Predecessor)
		}
		for _, before := range test.held {
			if after := kept.held[before.ID]; after.SupersededBy != before.SupersededBy {
				t.Errorf("%s: superseded by %q", name, after.SupersededBy)
			}
		}
	}
}

// Of two that claim each other, and of a predecessor that claims its own successor, neither becomes a circle in
// which a retry would go round.
func TestG9_ClaimsMakeNoCircle(t *testing.T) {
	first, second := old("vs_1"), old("vs_2")
	first.Replaces, second.Replaces = "vs_2", "vs_1"
	kept, i := newHeirs(first, second)
	for _, id := range []string{"vs_1", "vs_2"} {
		if _, err := i.Inherit(t.Context(), kept.held[id]); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := kept.held["vs_1"].SupersededBy, kept.held["vs_2"].SupersededBy; a != "" && b != "" {
		t.Errorf("vs_1 is superseded by %q and vs_2 by %q", a, b)
	}

	first, second = old("vs_1"), old("vs_2")
	first.Replaces, first.SupersededBy = "vs_2", "vs_2"
	second.Predecessor, second.Inherited = "vs_1", verification.Inheritance{RetriesGranted: 1}
	kept, i = newHeirs(first, second)
	if _, err := i.Inherit(t.Context(), first); err != nil || kept.held["vs_2"].SupersededBy != "" {
		t.Errorf("%v; the successor is superseded by %q", err, kept.held["vs_2"].SupersededBy)
	}
}

// Another claim is faster between the look at the predecessor and the commit: the first one stays.
func TestG9_OfTwoClaimsOneCounts(t *testing.T) {
	kept, i := newHeirs(old("vs_1"))
	if _, err := i.Apply(t.Context(), claims("vs_2", "vs_1")); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Apply(t.Context(), claims("vs_3", "vs_1")); err != nil {
		t.Fatal(err)
	}
	if s := kept.held["vs_3"]; kept.held["vs_1"].SupersededBy != "vs_2" || s.Predecessor != "" {
		t.Errorf("superseded by %q; the other has the predecessor %q", kept.held["vs_1"].SupersededBy, s.Predecessor)
	}

	kept, i = newHeirs(old("vs_1"))
	heir := verification.Session{ID: "vs_2", Revision: 1, Replaces: "vs_1"}
	kept.held["vs_2"] = heir
	kept.raced = func(held map[string]verification.Session) {
		s := held["vs_1"]
		s.SupersededBy = "vs_3"
		held["vs_1"] = s
	}
	if got, err := i.Inherit(t.Context(), heir); err != nil || got.Predecessor != "" || kept.held["vs_1"].SupersededBy != "vs_3" {
		t.Errorf("%v: the slower one has the predecessor %q", err, got.Predecessor)
	}
}
