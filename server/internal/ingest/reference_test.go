package ingest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// archiveRig is an archived session of a person, and a Stripe that still shows the reference.
type archiveRig struct {
	*Ingest
	kept   *records
	stripe *stripe
	now    time.Time
	found  verification.Object // what Stripe's list says
	read   verification.Object // what a GET says
	fail   error               // of the list
}

func newArchive(t *testing.T) *archiveRig {
	t.Helper()
	r := &archiveRig{kept: &records{}, now: time.Unix(base+1_000_000_000, 0), found: passed}
	r.found.Reference = "person"
	r.read = r.found
	r.stripe = &stripe{
		find: func(context.Context, string) (verification.Retrieved, error) {
			return verification.Retrieved{Object: r.found, AsOf: base + 60}, r.fail
		},
		retrieve: func(context.Context, int) (verification.Retrieved, error) {
			return verification.Retrieved{Object: r.read, AsOf: base + 60}, nil
		},
	}
	r.Ingest = New(Config{
		Store: r.kept, Stripe: r.stripe, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return r.now },
	})
	t.Cleanup(r.Close)
	apply(t, r.Ingest, event(1, 1, r.found))
	r.edit(t, func(current verification.Session) verification.Session {
		next, changed := verification.Archive(current, time.Hour, r.now.Add(100*time.Hour))
		if !changed {
			t.Fatal("nothing was archived")
		}
		return next
	})
	return r
}

func (r *archiveRig) edit(t *testing.T, change func(verification.Session) verification.Session) {
	t.Helper()
	if _, err := r.kept.Update(t.Context(), sessionID, func(current verification.Session) (verification.Session, bool, error) {
		return change(current), true, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// ask asks by reference, and wants the archived session after so many searches and GETs in all.
func (r *archiveRig) ask(t *testing.T, what string, finds, gets int) {
	t.Helper()
	session, err := r.ReadUnknownReference(t.Context(), "person")
	if err != nil || session.ID != sessionID || !session.IsArchived() || session.Reference != "" {
		t.Errorf("%s: %+v, %v; want the archived session", what, session, err)
	}
	r.asked(t, what, finds, gets)
}

func (r *archiveRig) asked(t *testing.T, what string, finds, gets int) {
	t.Helper()
	if r.stripe.finds != finds || r.stripe.count() != gets {
		t.Errorf("%s: Stripe was asked %d times for the reference and %d times for the session; want %d and %d",
			what, r.stripe.finds, r.stripe.count(), finds, gets)
	}
}

func (r *archiveRig) unknown(t *testing.T, what string, finds int) {
	t.Helper()
	if session, err := r.ReadUnknownReference(t.Context(), "person"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%s: %+v, %v; want ErrNotFound", what, session, err)
	}
	if r.stripe.finds != finds {
		t.Errorf("%s: %d searches at Stripe, want %d", what, r.stripe.finds, finds)
	}
}

// TestAnArchivedSessionIsAskedForAtStripeOnce in a while, and the record stays without the reference.
func TestAnArchivedSessionIsAskedForAtStripeOnce(t *testing.T) {
	r := newArchive(t)
	for range 20 {
		r.ask(t, "at once", 1, 0)
	}
	r.now = r.now.Add(archiveFor - time.Second)
	r.ask(t, "just before the end", 1, 0)
	r.now = r.now.Add(time.Second)
	r.ask(t, "after a while", 2, 0)
	r.ask(t, "again", 2, 0)
}

// TestStripeAwayDoesNotTakeAnArchivedAnswer: what Stripe said within a day is answered, and Stripe is not
// asked each time.
func TestStripeAwayDoesNotTakeAnArchivedAnswer(t *testing.T) {
	for _, fault := range []error{verification.ErrStripeUnavailable, verification.ErrStripeBudget, verification.ErrStripeUnauthorized} {
		r := newArchive(t)
		r.ask(t, "at first", 1, 0)
		r.fail = fault
		r.now = r.now.Add(archiveFor)
		r.ask(t, "away", 2, 0)
		r.now = r.now.Add(missFor[0] - time.Second)
		r.ask(t, "away, again", 2, 0)
		r.now = r.now.Add(time.Second)
		r.ask(t, "away, later", 3, 0)
		r.now = r.now.Add(archiveWithoutStripe)
		if _, err := r.ReadUnknownReference(t.Context(), "person"); !errors.Is(err, fault) {
			t.Errorf("after a day: %v, want %v", err, fault)
		}
		r.fail = nil
		r.ask(t, "back", 5, 0)
	}
}

// TestAnEventOfTheReferenceEndsWhatIsKnownOfIt: Stripe may know a newer session since.
func TestAnEventOfTheReferenceEndsWhatIsKnownOfIt(t *testing.T) {
	r := newArchive(t)
	r.ask(t, "at first", 1, 0)
	newer := open
	newer.ID, newer.Reference = "vs_2", "person"
	apply(t, r.Ingest, event(2, 2, newer))
	r.ask(t, "after the event", 2, 0)

	r.found.Reference = "another"
	r.fail = verification.ErrStripeUnknown
	r.now = r.now.Add(archiveFor)
	r.unknown(t, "gone at Stripe", 3)
	r.unknown(t, "gone at Stripe, again", 3)
	newer.ID = "vs_3"
	apply(t, r.Ingest, event(3, 3, newer))
	r.unknown(t, "after another event", 4)
}

// TestWhatIsKnownOfAReferenceEndsWithTheRecord: redacted, in life with another reference, or gone.
func TestWhatIsKnownOfAReferenceEndsWithTheRecord(t *testing.T) {
	t.Run("redacted", func(t *testing.T) {
		r := newArchive(t)
		r.ask(t, "at first", 1, 0)
		r.edit(t, func(s verification.Session) verification.Session {
			s.Redaction = verification.RedactionRedacted
			return s
		})
		r.found.Redaction = verification.RedactionRedacted
		r.unknown(t, "redacted", 2)
		r.unknown(t, "redacted, again", 2)
	})
	t.Run("another reference", func(t *testing.T) {
		r := newArchive(t)
		r.ask(t, "at first", 1, 0)
		r.edit(t, func(s verification.Session) verification.Session {
			other := passed
			other.Reference = "another"
			next, _ := verification.Transition(s, event(2, 2, other))
			return next
		})
		r.read.Reference = "another" // Stripe's list is behind
		r.unknown(t, "another's", 2)
		r.unknown(t, "another's, again", 2)
		r.asked(t, "another's", 2, 1)
	})
	t.Run("gone", func(t *testing.T) {
		r := newArchive(t)
		r.ask(t, "at first", 1, 0)
		delete(r.kept.held, sessionID)
		session, err := r.ReadUnknownReference(t.Context(), "person")
		if err != nil || session.Reference != "person" || session.Revision != 1 {
			t.Errorf("%+v, %v; want what Stripe knows", session, err)
		}
	})
}

// TestAListThatSaysMoreThanTheRecordIsFollowedByAGet, whose answer counts: a change of the reference, a
// redaction, and an override whose webhooks did not come.
func TestAListThatSaysMoreThanTheRecordIsFollowedByAGet(t *testing.T) {
	t.Run("the reference", func(t *testing.T) {
		r := newArchive(t)
		r.edit(t, func(verification.Session) verification.Session {
			other := passed
			other.Reference = "another"
			next, _ := verification.Transition(verification.Session{}, event(1, 1, other))
			return next
		})
		session, err := r.ReadUnknownReference(t.Context(), "person")
		if err != nil || session.Reference != "person" || session.Revision != 2 {
			t.Errorf("%+v, %v; want the reference corrected", session, err)
		}
		r.asked(t, "corrected", 1, 1)
	})
	t.Run("a redaction", func(t *testing.T) {
		r := newArchive(t)
		r.found.Redaction, r.read.Redaction = verification.RedactionRedacted, verification.RedactionRedacted
		r.unknown(t, "redacted", 1)
		if !r.kept.session(t).Tombstone() {
			t.Error("the redaction was not kept")
		}
	})
	t.Run("an override", func(t *testing.T) {
		r := newArchive(t)
		r.read = failed
		r.read.Reference = "person"
		r.found = r.read
		session, err := r.ReadUnknownReference(t.Context(), "person")
		if err != nil || session.Status != verification.StatusRequiresInput || session.Reference != "person" {
			t.Errorf("%+v, %v; want the override", session, err)
		}
	})
}

// TestMissesOfTwoAccountsAndReferencesAreApart: no two questions have one key, whatever their texts are.
func TestMissesOfTwoAccountsAndReferencesAreApart(t *testing.T) {
	questions := []question{
		{account: "a", id: "bc"}, {account: "ab", id: "c"}, {id: "abc"}, {reference: "abc"}, {account: "abc"},
		{id: `a" "b`}, {account: "a", id: "b"}, {account: `" "`}, {reference: "id:abc"}, {id: "reference:abc"}, {},
	}
	seen := map[string]question{}
	for _, q := range questions {
		if other, ok := seen[q.String()]; ok {
			t.Errorf("%+v and %+v are both %s", q, other, q)
		}
		seen[q.String()] = q
	}
}
