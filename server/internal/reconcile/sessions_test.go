package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// silent lists no events. Only a read can find a change for which Stripe sent no event.
type silent struct{}

func (silent) Events(context.Context, string, verification.EventQuery) (verification.EventPage, error) {
	return verification.EventPage{}, nil
}

func quiet(c *Config, _ *stripeapi.Config) { c.Stripe = silent{} }

// processing creates sessions of which this service knows only the submission.
func processing(s *stripe, r *replica, count int, account string) (ids []string) {
	for range count {
		s.tick(1)
		made, err := s.Create(stripesim.NewSession{Account: account})
		s.must(err)
		s.must(s.Submit(made.ID, "verified"))
		ids = append(ids, made.ID)
	}
	r.webhook(s.events()...)
	return ids
}

func TestSessionsStuckInProcessingAreReadAgain(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	ids := append(processing(s, r, 5, ""), processing(s, r, 2, "acct_1")...)
	for _, id := range ids {
		s.must(s.FinishProcessing(id))
	}
	s.tick(verification.StuckAfter - 10)
	if summary := r.run(); summary.Due != 0 || summary.Reread != 0 {
		t.Errorf("too soon: %v", summary)
	}
	s.tick(11)
	if summary := r.run(); summary.Due != 7 || summary.Reread != 7 || summary.Changed != 7 || summary.Unknown != 0 {
		t.Errorf("%v", summary)
	}
	s.check(kept)
	if log := r.logs.String(); strings.Count(log, "a session differed from Stripe and was corrected") != 7 || !strings.Contains(log, "session_id="+ids[0]) {
		t.Errorf("log:\n%s", log)
	}
	if summary := r.run(); summary.Due != 0 {
		t.Errorf("settled ones are due: %v", summary)
	}
}

func TestUnresolvedSessionsAreReadAgain(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	made, err := s.Create(stripesim.NewSession{})
	s.must(err)
	s.must(s.Submit(made.ID, "document_expired")) // all within one second
	s.must(s.FinishProcessing(made.ID))
	s.must(s.SetAPIFaults(stripesim.APIFaults{ServerError: 1}))
	r.webhook(s.events()...)
	if !kept.session(made.ID).Unresolved {
		t.Fatal("the session is not unresolved")
	}
	summary, err := r.Run(t.Context())
	if err != nil || !errors.Is(summary.Stopped, verification.ErrStripeUnavailable) || summary.Due != 1 || summary.Reread != 0 {
		t.Errorf("with Stripe away: %v, %v", err, summary)
	}
	s.must(s.SetAPIFaults(stripesim.APIFaults{}))
	if summary := r.run(); summary.Reread != 1 {
		t.Errorf("%v", summary)
	}
	s.check(kept)
}

// TestReadsToNoAvailBecomeRare: a session that stays due after a read must not use up the day's budget. Its reads
// become rarer and rarer.
func TestReadsToNoAvailBecomeRare(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	stuck := processing(s, r, 1, "")[0]
	kept.sessions["vs_nowhere"] = verification.Session{ID: "vs_nowhere", Account: "acct_1", Revision: 1, State: verification.State{Status: "processing", UpdateTime: 1_790_000_000}}
	reads := 0
	for range 4 * 24 { // a day
		s.tick(15 * 60)
		summary := r.run()
		if summary.Due != 2 || summary.Changed != 0 || summary.Reread != summary.Unknown {
			t.Fatalf("%v", summary)
		}
		reads += summary.Reread
	}
	if reads < 3 || reads > 10 {
		t.Errorf("%d reads a day of a session that stays as it is", reads)
	}
	s.must(s.FinishProcessing(stuck))
	s.tick(24 * 60 * 60)
	if summary := r.run(); summary.Changed != 1 {
		t.Errorf("%v", summary)
	}
	s.check(kept)
}

func TestADueRecordThatCannotBeRead(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, quiet)
	ids := processing(s, r, 2, "")
	s.must(s.FinishProcessing(ids[1]))
	s.tick(3600)
	kept.fail = func(call, name string) error {
		if call == "get" && name == ids[0] {
			return fmt.Errorf("%w: planted", store.ErrCorrupt)
		}
		return nil
	}
	if summary := r.run(); summary.Unreadable != 1 || summary.Reread != 1 {
		t.Errorf("%v", summary)
	}
}

func TestOneSession(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	own, theirs := s.live(3, "")[2], s.live(2, "acct_1")[1]
	r := s.replica(kept, quiet)
	missed, err := r.Session(t.Context(), own)
	if err != nil || missed.Before.Exists() || missed.After.Status != "verified" || !strings.Contains(missed.String(), "was not known") {
		t.Errorf("error %v\n%v", err, missed)
	}
	again, err := r.Session(t.Context(), own)
	if err != nil || again.Before.Revision != again.After.Revision || !strings.Contains(again.String(), "nothing changed") {
		t.Errorf("error %v\n%v", err, again)
	}
	s.step(own, "override")
	changed, err := r.Session(t.Context(), own)
	if text := changed.String(); err != nil || !strings.Contains(text, "verified -> requires_input") ||
		!strings.Contains(text, "none -> document_unverified_other") || strings.Contains(text, changed.After.Error.Reason) {
		t.Errorf("error %v\n%v", err, text)
	}

	// Nobody knows whose an unknown one is. The account is known by another session.
	if _, err := r.Session(t.Context(), theirs); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("error %v", err)
	}
	kept.sessions["vs_other"] = verification.Session{ID: "vs_other", Account: "acct_1", Revision: 1}
	if found, err := r.Session(t.Context(), theirs); err != nil || found.After.Account != "acct_1" || found.After.Status != "requires_input" {
		t.Errorf("error %v\n%v", err, found)
	}
	if _, err := r.Session(t.Context(), "vs_nowhere"); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("error %v", err)
	}
	if _, err := r.Session(t.Context(), "../x"); err == nil || !strings.Contains(err.Error(), "vs_") {
		t.Errorf("error %v", err)
	}
	kept.fail = func(string, string) error { return errStore }
	if _, err := r.Session(t.Context(), own); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// TestLostSessions: a failover lost the newest writes. The reads restore the status and the events restore the
// counts.
func TestLostSessions(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	ids := append(s.live(20, ""), s.live(4, "acct_1")...)
	r := s.replica(kept, nil)
	r.webhook(s.events()...)
	r.run()
	for _, id := range ids[:18] {
		delete(kept.sessions, id)
	}
	r.Lost(ids...)
	r.Lost(ids[0])
	if len(r.lost.ids) != len(ids) {
		t.Errorf("%d are queued", len(r.lost.ids))
	}
	s.must(s.SetAPIFaults(stripesim.APIFaults{ServerError: 1}))
	if err := r.rereadLost(t.Context()); !errors.Is(err, verification.ErrStripeUnavailable) || len(r.lost.ids) != len(ids) {
		t.Errorf("error %v, %d are queued", err, len(r.lost.ids))
	}
	s.must(s.SetAPIFaults(stripesim.APIFaults{}))
	if summary, err := r.pass(t.Context()); err != nil || summary.Stopped != nil || len(r.lost.ids) != 0 {
		t.Errorf("error %v, %d are queued, %v", err, len(r.lost.ids), summary)
	}
	s.check(kept)
}

// TestAFullRun: if it is not known what was lost, or if it is too much, Stripe's whole list is read again, whatever
// the cursor says, and over several runs if necessary.
func TestAFullRun(t *testing.T) {
	for name, ask := range map[string]func(*replica){
		"all lost": func(r *replica) { r.LostAll() },
		"too many": func(r *replica) {
			var ids []string
			for i := range maxLost + 1 {
				ids = append(ids, fmt.Sprint("vs_", i))
			}
			r.Lost(ids...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			s.live(moreThanABatch, "")
			s.tick(5 * 24 * 60 * 60)
			s.live(8, "")
			r := s.replica(kept, func(c *Config, _ *stripeapi.Config) { c.Overlap = 10 * time.Second })
			r.run()
			clear(kept.sessions) // the cursor is on another master, and survived
			if r.run(); len(kept.sessions) > moreThanABatch/3 {
				t.Fatal("nothing was lost")
			}
			ask(r)
			updates := 0
			kept.fail = func(call, _ string) error {
				if updates++; call == "update" && updates > 4*moreThanABatch {
					return errStore
				}
				return nil
			}
			if _, err := r.pass(t.Context()); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
			reached := kept.marks[markFull]
			if reached == 0 {
				t.Error("how far it came is not kept")
			}
			kept.fail = func(string, string) error { return nil }
			next := s.replica(kept, func(c *Config, _ *stripeapi.Config) { c.Overlap = 10 * time.Second }) // another process, such as the next command
			second := next.run()
			s.check(kept)
			if second.Events >= len(s.Events()) {
				t.Errorf("it began again: %v", second)
			}
			if third := next.run(); third.Events > 100 {
				t.Errorf("the full run is done, and still: %v", third)
			}
		})
	}
}

// TestTheProgressOfAFullRunBelongsToItsLoss: another loss begins at the first event, whatever the run before had reached.
func TestTheProgressOfAFullRunBelongsToItsLoss(t *testing.T) {
	const second = 4_102_444_800 // in the year 2100
	of := state{loss: 1<<62 + 12345, progress: packFull(1<<62+12345, second)}
	if got := of.fullCursor(); got != second {
		t.Errorf("it has come to %d, want %d", got, second)
	}
	for _, loss := range []int64{1<<62 + 12346, 1, 0} {
		of.loss = loss
		if got := of.fullCursor(); got != 0 {
			t.Errorf("for the loss %d it has come to %d, want 0", loss, got)
		}
	}
	if got := (state{loss: 1}).fullCursor(); got != 0 {
		t.Errorf("before it began: %d", got)
	}
}

func TestAWishDuringAFullRunBeginsAgain(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(30, "")
	s.tick(24 * 60 * 60)
	s.live(1, "")
	r := s.replica(kept, nil)
	r.LostAll()
	kept.fail = func(call, _ string) error {
		if call == "setcursor" && r.full.requested == 1 {
			r.LostAll()
		}
		return nil
	}
	r.run()
	if again := r.run(); again.Events != len(s.Events()) {
		t.Errorf("%d events were emitted, %v", len(s.Events()), again)
	}
	if third := r.run(); third.Events == len(s.Events()) {
		t.Errorf("%v", third)
	}
}

// TestThoseThatStayDueDoNotStarveTheOthers: more sessions stay due than one call lists. The other due sessions are
// read all the same.
func TestThoseThatStayDueDoNotStarveTheOthers(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	r := s.replica(kept, func(c *Config, api *stripeapi.Config) {
		quiet(c, api)
		c.Accounts = verification.NewAccounts([]string{"acct_1"})
	})
	id := processing(s, r, 1, "")[0] // listed behind the others, by its id
	s.must(s.FinishProcessing(id))
	for n := range 20 * dueAtOnce {
		other := fmt.Sprintf("vs_!%d", n) // before any id of Stripe's
		if partitionOf(other) != partitionOf(id) {
			continue
		}
		kept.sessions[other] = verification.Session{ID: other, Account: "acct_2", Revision: 1, State: verification.State{Status: "processing", UpdateTime: 1_790_000_000}}
	}
	s.tick(3600)
	if summary := r.run(); summary.Due != 1 || summary.Changed != 1 {
		t.Errorf("%v", summary)
	}
	s.check(kept)
}
