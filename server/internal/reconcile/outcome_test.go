package reconcile

import (
	"maps"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// outcomes returns the name of each session's outcome.
func (m *fakeStore) outcomes() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make(map[string]string)
	for id, session := range m.sessions {
		names[id] = session.OutcomeKey().ID.String()
	}
	return names
}

// TestG13_OutcomesKeepTheirNamesAfterALoss: the store lost writes. The sessions learn their outcomes from Stripe's events again,
// before they are read, so that the names are the same: also if the session was overridden, and if the store is empty.
func TestG13_OutcomesKeepTheirNamesAfterALoss(t *testing.T) {
	for name, lose := range map[string]func(*replica, *fakeStore, map[string]verification.Session, []string){
		"the newest writes": func(r *replica, kept *fakeStore, before map[string]verification.Session, ids []string) {
			kept.sessions = before
			r.Lost(ids...)
		},
		"some records": func(r *replica, kept *fakeStore, _ map[string]verification.Session, ids []string) {
			for _, id := range ids {
				delete(kept.sessions, id)
			}
			r.Lost(ids...)
		},
		"the newest writes, and another replica has the lease": func(r *replica, kept *fakeStore, before map[string]verification.Session, ids []string) {
			kept.sessions = before
			if held, err := kept.Lease(t.Context(), leaseName, "another", leaseFor); err != nil || !held {
				t.Fatal(held, err)
			}
			r.Lost(ids...)
		},
		"everything, and another replica has the lease": func(r *replica, kept *fakeStore, _ map[string]verification.Session, ids []string) {
			kept.loseAll()
			another := r.stripe.replica(kept, nil)
			if held, err := kept.Lease(t.Context(), leaseName, another.config.Holder, leaseFor); err != nil || !held {
				t.Fatal(held, err)
			}
			r.Lost(ids...)
			if _, err := r.pass(t.Context()); err != nil || len(r.lost.ids) != len(ids) {
				t.Errorf("without events, %d sessions are queued, %v; want %d", len(r.lost.ids), err, len(ids))
			}
			another.LostAll()
			another.run()
		},
		"everything, and a run of before has stored its cursor": func(r *replica, kept *fakeStore, _ map[string]verification.Session, ids []string) {
			r.stripe.tick(2 * 60 * 60)
			kept.loseAll()
			for _, account := range []string{"", "acct_1"} {
				if err := kept.SetCursor(t.Context(), account, r.config.Clock().Unix()); err != nil {
					t.Fatal(err)
				}
			}
			if held, err := kept.Lease(t.Context(), leaseName, "another", leaseFor); err != nil || !held {
				t.Fatal(held, err)
			}
			r.Lost(ids...)
			r.LostAll()
			for range 2 { // in the second pass the store knows of the loss
				if _, err := r.pass(t.Context()); err != nil || len(r.lost.ids) != len(ids) {
					t.Errorf("without events, %d sessions are queued, %v; want %d", len(r.lost.ids), err, len(ids))
				}
			}
			if err := kept.Release(t.Context(), leaseName, "another"); err != nil {
				t.Fatal(err)
			}
		},
		"everything": func(r *replica, kept *fakeStore, _ map[string]verification.Session, ids []string) {
			kept.loseAll()
			r.Lost(ids...)
			r.LostAll()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			r := s.replica(kept, nil)
			r.run() // before it, all events are a backlog
			var before map[string]verification.Session
			known := make(map[string]bool)
			deliver := func() {
				for _, event := range s.events() {
					if !known[event.ID] {
						known[event.ID] = true
						r.webhook(event)
					}
				}
			}
			ids := append(s.live(10, ""), s.live(4, "acct_1")...)
			deliver()
			r.run()
			before = maps.Clone(kept.sessions)
			for i, id := range ids { // each step arrives before the next one happens
				s.tick(1)
				switch kept.sessions[id].Status {
				case "requires_input":
					s.step(id, "verified")
					deliver()
					if i%2 == 0 {
						s.step(id, "override")
						deliver()
						s.step(id, "verified")
						deliver()
					}
				case "verified":
					if kept.sessions[id].Redaction == 0 {
						s.step(id, "override")
						deliver()
					}
				}
			}
			want := kept.outcomes()
			s.tick(60)
			lose(r, kept, before, ids)
			if _, err := r.pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(r.lost.ids) > 0 {
				t.Errorf("%d sessions are still queued", len(r.lost.ids))
			}
			s.check(kept)
			for id, name := range kept.outcomes() {
				if name != want[id] {
					t.Errorf("%s: the outcome is named %s; want %s; history %+v", id, name, want[id], kept.sessions[id].History)
				}
			}
		})
	}
}

// TestG13_LostSessionsAreReadEvenIfStripeListsNoEvents: the name of the outcome can differ then, but not the state.
func TestG13_LostSessionsAreReadEvenIfStripeListsNoEvents(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	ids := s.live(4, "")
	r := s.replica(kept, nil)
	r.run()
	clear(kept.sessions)
	r.Lost(ids...)
	r.config.Stripe = refusing{r.config.Stripe, "", verification.ErrStripeUnauthorized}
	if _, err := r.pass(t.Context()); err == nil {
		t.Error("no error of the list")
	}
	for _, id := range ids {
		if _, err := store.Store(kept).Get(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
