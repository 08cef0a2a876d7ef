package differential

import (
	"math/rand/v2"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// compareRecords checks in the records what no response shows: they have each of Stripe's events once, and as many grants
// as were counted.
func (r *round) compareRecords() {
	r.awaitCatchUp()
	for _, id := range r.stripe.sessions() {
		s, err := r.replicas[0].store.Get(r.t.Context(), id)
		if err != nil {
			r.violation("the record of %s: %v", id, err)
			continue
		}
		truth := r.stripe.truth(id)
		if truth.Redaction == verification.RedactionNone && (s.Report != truth.Report || s.Reference != truth.Reference) {
			r.violation("%s: report %q of reference %q; at Stripe %q of %q", id, s.Report, s.Reference, truth.Report, truth.Reference)
		}
		if s.Unresolved {
			r.violation("%s: still unresolved after the catch-up", id)
		}
		r.compareHistory(s)
		r.compareGrants(s)
	}
}

// awaitCatchUp waits, for at most convergeWithin, until the catch-up has restored what Redis lost. If nothing was lost it
// does not wait, because every event was acknowledged.
func (r *round) awaitCatchUp() {
	for began := time.Now(); r.losing && time.Since(began) < convergeWithin; _ = pause(r.t.Context(), 250*time.Millisecond) {
		missing := 0
		for _, id := range r.stripe.sessions() {
			if s, err := r.replicas[0].store.Get(r.t.Context(), id); err == nil {
				missing += len(r.missing(s))
			}
		}
		if missing == 0 {
			return
		}
	}
}

// missing returns the events that a record does not have. A full history has let some go.
func (r *round) missing(s verification.Session) (ids []string) {
	has := make(map[string]bool)
	for _, entry := range s.History {
		has[entry.EventID] = true
	}
	for _, event := range r.stripe.events() {
		if event.Object.ID == s.ID && !has[event.ID] && len(s.History) < verification.MaxHistory {
			ids = append(ids, event.ID)
		}
	}
	return ids
}

// compareHistory: after the catch-up, no event is missing.
func (r *round) compareHistory(s verification.Session) {
	for _, id := range r.missing(s) {
		r.violation("%s: event %s is not in the record", s.ID, id)
	}
}

func (r *round) compareGrants(s verification.Session) {
	noted := int32(0)
	for _, failure := range s.Failures {
		if failure.Granted {
			noted++
		}
	}
	if s.Replacement.Granted {
		noted++
	}
	if s.Predecessor == "" && noted != s.RetriesGranted {
		r.violation("%s: %d retries are granted, %d are noted", s.ID, s.RetriesGranted, noted)
	}
}

// compareLists: each list has the sessions that belong there by their records, each once.
func (r *round) compareLists() {
	rng := r.choices.of(6)
	for list := range verification.List(verification.ListCount) {
		listed, err := r.list(list, rng)
		if err != nil {
			r.violation("list %d: %v", list, err)
			continue
		}
		for _, id := range r.stripe.sessions() {
			s, err := r.replicas[0].store.Get(r.t.Context(), id)
			want := 0
			if err == nil && policy().Lists(s).Has(list) {
				want = 1
			}
			if listed[id] != want {
				r.violation("list %d has %s %d times; want %d", list, id, listed[id], want)
			}
		}
	}
}

// list reads a list, page by page from either replica, and counts each session.
func (r *round) list(list verification.List, rng *rand.Rand) (map[string]int, error) {
	listed := make(map[string]int)
	query := store.ListQuery{List: list, Limit: 1 + rng.IntN(20)}
	for {
		page, err := r.replicas[rng.IntN(2)].store.List(r.t.Context(), query)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Sessions {
			listed[s.ID]++
		}
		if page.Next == (store.ListCursor{}) {
			return listed, nil
		}
		query.After = page.Next
	}
}
