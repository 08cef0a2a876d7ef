package rpc

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/verification"
)

// life is a session after n changes, each of another second.
func life(id string, n int) verification.Session {
	var session verification.Session
	for k := range n {
		session, _ = verification.Transition(session, verification.Event{
			ID: fmt.Sprintf("evt_%d", k), Type: verification.EventRequiresInput, Source: verification.SourceWebhook,
			Second: 1_700_000_000 + int64(k), RecordTime: 1_700_000_000_000 + int64(k),
			Object: verification.Object{
				ID: id, Type: "document", Status: verification.StatusRequiresInput, Report: fmt.Sprintf("vr_%d", k),
				Error: verification.Error{Code: "document_expired", Reason: "It has expired."},
			},
		})
	}
	return session
}

func redacted(session verification.Session, redaction verification.Redaction) verification.Session {
	next, _ := verification.Transition(session, verification.Event{
		ID: "evt_redacted_" + fmt.Sprint(redaction), Type: verification.EventRedacted, Source: verification.SourceWebhook, Second: 1_800_000_000, RecordTime: 1_800_000_000_000,
		Object: verification.Object{ID: session.ID, Status: session.Status, Redaction: redaction},
	})
	return next
}

func TestACursorSendsTheSnapshotFirstThenEveryLaterRevisionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 12).Draw(t, "changes")
		seen, c := int32(0), cursor{ID: "vs_1"}
		for have := 1; have <= total; have++ {
			session := life("vs_1", have)
			if !rapid.Bool().Draw(t, "looks") && have < total {
				continue
			}
			if c.Revision > 0 {
				if err := c.check(session); err != nil {
					t.Fatalf("at %d of %d: %v", c.Revision, have, err)
				}
			}
			for _, change := range c.after(session) {
				if seen > 0 && change.Revision != seen+1 {
					t.Fatalf("revision %d after %d", change.Revision, seen)
				}
				if want := fmt.Sprintf("vr_%d", change.Revision-1); change.State.Report != want {
					t.Fatalf("revision %d shows %s, want %s", change.Revision, change.State.Report, want)
				}
				seen, c = change.Revision, cursorAt(session, change.Revision)
			}
		}
		if seen != int32(total) {
			t.Fatalf("ended at %d of %d", seen, total)
		}
	})
}

func TestG7_ACursorNoticesAStoreThatLostWrites(t *testing.T) {
	whole := life("vs_1", 5)
	other := life("vs_1", 3) // lost two revisions, then went another way
	other, _ = verification.Transition(other, verification.Event{
		ID: "evt_other", Type: verification.EventVerified, Source: verification.SourceWebhook, Second: 1_700_000_900, RecordTime: 1,
		Object: verification.Object{ID: "vs_1", Type: "document", Status: verification.StatusVerified},
	})
	again := whole
	again.History = append([]verification.Entry(nil), whole.History...)
	again.History[4].RecordTime++ // the same event, delivered and recorded again
	trimmed := whole
	trimmed.History = whole.History[3:]
	another := life("vs_2", 5)
	tests := []struct {
		name string
		c    cursor
		now  verification.Session
		good bool
	}{
		{"unchanged", cursorAt(whole, 5), whole, true},
		{"grown", cursorAt(whole, 3), whole, true},
		{"archived", cursorAt(whole, 5), life("vs_1", 4), false},
		{"gone another way, same number", cursorAt(whole, 4), other, false},
		{"gone another way, before that", cursorAt(whole, 3), other, true},
		{"the same again", cursorAt(whole, 5), again, false},
		{"history cut right behind it", cursorAt(whole, 3), trimmed, true},
		{"history cut beyond it", cursorAt(whole, 2), trimmed, false},
		{"another session", cursorAt(whole, 5), another, false},
		{"redacted", cursorAt(whole, 2), redacted(whole, verification.RedactionRedacted), true},
		{"redacted after a loss that shows", cursorAt(whole, 5), redacted(life("vs_1", 2), verification.RedactionRedacted), false},
	}
	for _, test := range tests {
		if err := test.c.check(test.now); (err == nil) != test.good || err != nil && !errors.Is(err, errTokenExpired) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestARedactionCollapsesWhatWasNotYetSent(t *testing.T) {
	whole := life("vs_1", 5)
	erased := redacted(redacted(whole, verification.RedactionProcessing), verification.RedactionRedacted)
	var revisions []int32
	for _, change := range cursorAt(whole, 2).after(erased) {
		revisions = append(revisions, change.Revision)
		if change.State.Error != (verification.Error{}) || change.State.Report != "" {
			t.Errorf("revision %d still tells of the person: %+v", change.Revision, change.State)
		}
	}
	if fmt.Sprint(revisions) != "[6 7]" {
		t.Errorf("revisions %v, want the redaction's two", revisions)
	}
}
