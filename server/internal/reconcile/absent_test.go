package reconcile

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// blind is an Ingest whose reads of some sessions fail with an error, as if Stripe had answered so.
type blind struct {
	Ingest
	err error
	ids []string
	// asked holds the ids of the sessions that were read.
	asked *[]string
}

func (b blind) Reread(ctx context.Context, current verification.Session) (verification.Session, error) {
	if b.asked != nil {
		*b.asked = append(*b.asked, current.ID)
	}
	if slices.Contains(b.ids, current.ID) {
		return current, b.err
	}
	return b.Ingest.Reread(ctx, current)
}

// deletes makes Stripe forget sessions, for one replica.
func (r *replica) deletes(ids ...string) *[]string {
	asked := &[]string{}
	r.config.Ingest = blind{Ingest: r.ingest, err: verification.ErrStripeUnknown, ids: ids, asked: asked}
	return asked
}

func (r *replica) wantAbsent(kept *fakeStore, id, when string, want bool) {
	r.t.Helper()
	if got := kept.session(id).IsAbsent(); got != want {
		r.t.Errorf("%s: %s is absent: %v; want %v", when, id, got, want)
	}
}

// settled makes one session that is verified at Stripe and here.
func settled(s *stripe, r *replica, account string) string {
	s.t.Helper()
	id := s.live(1, account)[0]
	r.webhook(s.events()...)
	return id
}

// TestAbsentSessionsLeaveTheLists: a session that Stripe does not know at three catch-ups in a row, each of which read
// another session of the account, is in no list any more and is not read again.
func TestAbsentSessionsLeaveTheLists(t *testing.T) {
	for name, account := range map[string]string{"platform": "", "connected account": "acct_1"} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			r := s.replica(kept, quiet)
			settled(s, r, account)
			gone := processing(s, r, 2, account)
			asked := r.deletes(gone...)
			for n := range verification.AbsentAfter {
				r.wantAbsent(kept, gone[0], "before the third run", false)
				s.tick(15 * 60)
				want := 0
				if n == verification.AbsentAfter-1 {
					want = 2
				}
				if summary := r.run(); summary.Unknown != 2 || summary.Absent != want {
					t.Errorf("run %d: %d unknown and %d absent; want 2 and %d\n%v", n, summary.Unknown, summary.Absent, want, summary)
				}
			}
			for _, id := range gone {
				r.wantAbsent(kept, id, "after the third run", true)
				if lists := (verification.RetryPolicy{}).Lists(kept.session(id)); lists != 0 {
					t.Errorf("%s is in the lists %b; want none", id, lists)
				}
				if !strings.Contains(r.logs.String(), "session_id="+id) {
					t.Errorf("the log does not name %s", id)
				}
			}
			*asked = nil
			for range 4 * 24 { // a day
				s.tick(15 * 60)
				if summary := r.run(); summary.Due != 0 || summary.Unknown != 0 {
					t.Fatalf("an absent session is due: %v", summary)
				}
			}
			if len(*asked) != 0 {
				t.Errorf("%v were read; want none", *asked)
			}
		})
	}
}

// TestAbsenceIsCountedByAllReplicas: also if each run is one of a new process. Runs that follow each other at once count once.
func TestAbsenceIsCountedByAllReplicas(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	first := s.replica(kept, quiet)
	settled(s, first, "")
	gone := processing(s, first, 1, "")[0]
	for n := range verification.AbsentAfter {
		s.tick(15 * 60)
		first.wantAbsent(kept, gone, "before the run", false)
		for range 3 {
			if times := kept.session(gone).Absence.Times; int(times) > n+1 {
				t.Errorf("counted %d times within %d intervals", times, n+1)
			}
			r := s.replica(kept, quiet)
			r.deletes(gone)
			r.run()
		}
	}
	first.wantAbsent(kept, gone, "after three runs", true)
}

// TestAbsenceNeedsAnotherSession: without a session of the same account that Stripe knows, the key can be of another account.
func TestAbsenceNeedsAnotherSession(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	settled(s, r, "acct_2")
	settled(s, r, "")
	gone := processing(s, r, 2, "acct_1")
	r.deletes(gone...)
	for range 4 * 24 {
		s.tick(15 * 60)
		r.run()
	}
	r.wantAbsent(kept, gone[0], "without another session of the account", false)

	other := settled(s, r, "acct_1")
	r.deletes(gone...)
	for range 3 {
		s.tick(25 * 60 * 60) // longer than any hold-off
		r.run()
	}
	r.wantAbsent(kept, gone[0], "with another session of the account", true)

	last := processing(s, r, 1, "acct_1")[0]
	r.deletes(last, other)
	for range 10 {
		s.tick(25 * 60 * 60)
		r.run()
	}
	r.wantAbsent(kept, last, "when the other session is gone too", false)
}

// TestAbsenceNeedsThreeInARow: a read with success and an event begin the count again.
func TestAbsenceNeedsThreeInARow(t *testing.T) {
	for name, between := range map[string]func(s *stripe, r *replica, id string){
		"a read": func(s *stripe, r *replica, id string) {
			r.deletes()
			s.tick(25 * 60 * 60)
			r.run()
			r.deletes(id)
		},
		"an event": func(s *stripe, r *replica, id string) {
			r.webhook(verification.Event{ID: "evt_late", Type: verification.EventProcessing, Second: s.now.Load(), Object: verification.Object{
				ID: id, Status: verification.StatusProcessing,
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			r := s.replica(kept, quiet)
			settled(s, r, "")
			id := processing(s, r, 1, "")[0]
			r.deletes(id)
			for range 2 {
				s.tick(15 * 60)
				r.run()
			}
			between(s, r, id)
			for n := range 3 {
				r.wantAbsent(kept, id, "before the third run in a row", false)
				s.tick(25 * 60 * 60)
				if summary := r.run(); summary.Unknown != 1 {
					t.Fatalf("run %d: %v", n, summary)
				}
			}
			r.wantAbsent(kept, id, "after the third run in a row", true)
		})
	}
}

// TestAnEventEndsAnAbsence: then the session is in its list again, and is read again when it is due.
func TestAnEventEndsAnAbsence(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	settled(s, r, "")
	id := processing(s, r, 1, "")[0]
	asked := r.deletes(id)
	for range 3 {
		s.tick(15 * 60)
		r.run()
	}
	r.wantAbsent(kept, id, "after three runs", true)
	r.webhook(verification.Event{ID: "evt_late", Type: verification.EventProcessing, Second: s.now.Load() - 10_000, Object: verification.Object{
		ID: id, Status: verification.StatusProcessing,
	}}) // too old to change the status
	r.wantAbsent(kept, id, "after an event", false)
	if !(verification.RetryPolicy{}).Lists(kept.session(id)).Has(verification.ListProcessing) {
		t.Error("the session is not in its list")
	}
	*asked = nil
	s.tick(15 * 60)
	r.run()
	if !slices.Contains(*asked, id) {
		t.Errorf("read: %v; want %s", *asked, id)
	}
}

// TestANewKeyEndsAbsences: of the accounts whose key has changed, and of no other.
func TestANewKeyEndsAbsences(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	var key atomic.Int64
	key.Store(1)
	r := s.replica(kept, func(c *Config, api *stripeapi.Config) {
		quiet(c, api)
		c.KeyID = func(account string) int64 {
			if account == "acct_1" {
				return key.Load()
			}
			return 7
		}
	})
	settled(s, r, "")
	settled(s, r, "acct_1")
	own, theirs := processing(s, r, 1, "")[0], processing(s, r, 1, "acct_1")[0]
	asked := r.deletes(own, theirs)
	for range 3 {
		s.tick(15 * 60)
		r.run()
	}
	r.wantAbsent(kept, own, "after three runs", true)
	r.wantAbsent(kept, theirs, "after three runs", true)
	key.Store(2)
	*asked = nil
	r.run()
	r.wantAbsent(kept, own, "with the old key", true)
	r.wantAbsent(kept, theirs, "with a new key", false)
	if !slices.Contains(*asked, theirs) || slices.Contains(*asked, own) {
		t.Errorf("read: %v; want %s and not %s", *asked, theirs, own)
	}
	*asked = nil
	r.run()
	if len(*asked) != 0 {
		t.Errorf("the next run with the same key read %v; want none", *asked)
	}
}

// TestTwoKeysInTurnEndNoAbsence: replicas can have a key each, and a file with keys is not read again by all of them at once. A
// third key ends the absences.
func TestTwoKeysInTurnEndNoAbsence(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	var key atomic.Int64
	key.Store(1)
	r := s.replica(kept, func(c *Config, api *stripeapi.Config) {
		quiet(c, api)
		c.KeyID = func(string) int64 { return key.Load() }
	})
	settled(s, r, "")
	gone := processing(s, r, 1, "")[0]
	r.deletes(gone)
	s.tick(15 * 60)
	r.run()
	key.Store(2)
	r.run() // a key that no run had
	for range verification.AbsentAfter {
		s.tick(25 * 60 * 60)
		r.run()
	}
	r.wantAbsent(kept, gone, "after three runs", true)
	asked := r.deletes(gone)
	for _, next := range []int64{1, 1, 1, 2, 1, 2, 2} {
		key.Store(next)
		s.tick(15 * 60)
		r.run()
		r.wantAbsent(kept, gone, "with one of the two keys", true)
	}
	if len(*asked) != 0 {
		t.Errorf("read: %v; want none", *asked)
	}
	key.Store(3)
	r.run()
	r.wantAbsent(kept, gone, "with a third key", false)
}

// TestANewKeyEndsOnlyTheHoldOffsOfItsAccount: the reads of other accounts' sessions would be spent for nothing.
func TestANewKeyEndsOnlyTheHoldOffsOfItsAccount(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	var key atomic.Int64
	key.Store(1)
	r := s.replica(kept, func(c *Config, api *stripeapi.Config) {
		quiet(c, api)
		c.KeyID = func(account string) int64 {
			if account == "acct_1" {
				return key.Load()
			}
			return 7
		}
	})
	own, theirs := processing(s, r, 1, "acct_2")[0], processing(s, r, 1, "acct_1")[0]
	asked := r.deletes(own, theirs)
	for range 3 {
		s.tick(25 * 60 * 60)
		r.run() // no other session of the accounts is known: they are held off
	}
	key.Store(2)
	*asked = nil
	r.run()
	if !slices.Equal(*asked, []string{theirs}) {
		t.Errorf("read: %v; want only %s", *asked, theirs)
	}
}

// TestAnAccountWithoutAccess: an account that gives no access is not behind, blocks no other account, and its due sessions
// are neither counted as unknown nor absent. When it gives access again, its events are caught up.
func TestAnAccountWithoutAccess(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	kept.marks[markBehind+"acct_1"] = 1_780_000_000 // a version before called it behind
	first := s.replica(kept, nil)
	own, theirs := processing(s, first, 1, "")[0], processing(s, first, 1, "acct_1")[0]
	s.must(s.FinishProcessing(own))
	s.must(s.FinishProcessing(theirs))
	s.tick(3600)
	r := s.replica(kept, nil)
	r.config.Stripe = refusing{r.config.Stripe, "acct_1", verification.ErrStripeAccountRefused}
	r.config.Ingest = blind{Ingest: r.ingest, err: verification.ErrStripeAccountRefused, ids: []string{theirs}}
	for range 5 {
		summary := r.run()
		if !summary.Complete() || summary.NoAccess != 1 || summary.Refused != 0 || summary.Accounts != 1 || summary.Unknown != 0 {
			t.Errorf("%v; want one account caught up and one without access", summary)
		}
		if since := kept.marks[markBehind+"acct_1"]; since != 0 {
			t.Errorf("the account is stored as behind since %d; want that it is not behind", since)
		}
		if !strings.Contains(summary.String(), "1 without access") {
			t.Errorf("the summary does not say it:\n%v", summary)
		}
		s.tick(3600)
	}
	if got := kept.session(own).Status; got != "verified" {
		t.Errorf("the platform's session is %s; want verified", got)
	}
	if strings.Contains(r.logs.String(), "level=ERROR") {
		t.Errorf("an account without access is an error in the log:\n%s", r.logs)
	}
	r.wantAbsent(kept, theirs, "without access", false)
	back := s.replica(kept, nil)
	if summary := back.run(); summary.NoAccess != 0 || summary.Accounts != 2 {
		t.Errorf("with access again: %v", summary)
	}
	s.check(kept)
}

// TestAccountsWithKeysAreCaughtUpFromTheStart: also if no event of them has come. An organization's key has no platform.
func TestAccountsWithKeysAreCaughtUpFromTheStart(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(8, "")
	named, keyed := s.live(8, "acct_named"), s.live(8, "acct_keyed")
	s.tick(3600)
	asked := &asking{}
	r := s.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Accounts = verification.NewAccounts([]string{"acct_named", "acct_keyed"})
		c.Keyed = func() []string { return []string{"acct_keyed"} }
		c.HasPlatform = func() bool { return false }
	})
	asked.Stripe, r.config.Stripe = r.config.Stripe, asked
	summary := r.run()
	if summary.Accounts != 2 || slices.Contains(asked.accounts, "") {
		t.Errorf("asked for %q\n%v", asked.accounts, summary)
	}
	for _, id := range append(named, keyed...) {
		if !kept.session(id).Exists() {
			t.Errorf("%s was not caught up", id)
		}
	}

	kept = newFakeStore()
	r = s.replica(kept, func(c *Config, _ *stripeapi.Config) { c.Keyed = func() []string { return []string{"acct_keyed"} } })
	if summary := r.run(); summary.Accounts != 2 || !kept.session(keyed[0]).Exists() || kept.session(named[0]).Exists() {
		t.Errorf("without STRIPE_ACCOUNTS: %v; want the platform and acct_keyed", summary)
	}
}

// TestAbsenceAsksForSeveralOtherSessions: a session that was deleted too does not keep the others of its account in the lists,
// whichever it is.
func TestAbsenceAsksForSeveralOtherSessions(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	var others []string
	for range 3 * maxProbes {
		others = append(others, settled(s, r, "acct_1"))
	}
	slices.Sort(others)
	gone := processing(s, r, 1, "acct_1")[0]
	asked := r.deletes(others[0], others[len(others)-1], gone)
	for range verification.AbsentAfter {
		*asked = nil
		s.tick(25 * 60 * 60)
		r.run()
		if len(*asked) > 1+maxProbes {
			t.Errorf("%d sessions were read; want at most %d", len(*asked), 1+maxProbes)
		}
	}
	r.wantAbsent(kept, gone, "after three runs", true)

	last := processing(s, r, 1, "acct_1")[0]
	asked = r.deletes(append(others, gone, last)...)
	s.tick(25 * 60 * 60)
	r.run()
	if got := len(*asked); got != 1+maxProbes {
		t.Errorf("%d sessions were read when all are deleted; want %d", got, 1+maxProbes)
	}
	if times := kept.session(last).Absence.Times; times != 0 {
		t.Errorf("counted %d times without another session", times)
	}
}

// TestASessionThatRequiresInputCanBeAbsent: if a read outside a catch-up did not find it. If Stripe knows it after all, it is not
// asked for again.
func TestASessionThatRequiresInputCanBeAbsent(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	settled(s, r, "")
	var ids []string
	for range 2 {
		made, err := s.Create(stripesim.NewSession{})
		s.must(err)
		ids = append(ids, made.ID)
	}
	r.webhook(s.events()...)
	asked := r.deletes(ids[0])
	s.tick(15 * 60)
	r.run()
	if len(*asked) != 0 {
		t.Errorf("read: %v; want none without a mark", *asked)
	}
	for _, id := range ids {
		if _, err := kept.Update(t.Context(), id, func(current verification.Session) (verification.Session, bool, error) {
			next, changed := verification.NoteUnknown(current)
			return next, changed, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range verification.AbsentAfter {
		r.wantAbsent(kept, ids[0], "before the third run", false)
		s.tick(15 * 60)
		r.run()
	}
	r.wantAbsent(kept, ids[0], "after the third run", true)
	r.wantAbsent(kept, ids[1], "known at Stripe", false)
	*asked = nil
	s.tick(25 * 60 * 60)
	r.run()
	if len(*asked) != 0 {
		t.Errorf("read: %v; want none", *asked)
	}
}
