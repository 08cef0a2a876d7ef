package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// listing is a hand-made list of Stripe: small pages, and events that appear late.
type listing struct {
	all   []verification.Event // the oldest first
	page  int
	calls int
	stuck bool // ignores After
}

func (l *listing) Events(_ context.Context, _ string, query verification.EventQuery) (verification.EventPage, error) {
	l.calls++
	page := verification.EventPage{}
	after := query.After == "" || l.stuck
	for i := len(l.all) - 1; i >= 0; i-- {
		e := l.all[i]
		if !after {
			after = e.ID == query.After
			continue
		}
		if e.Second < query.From || query.Before > 0 && e.Second >= query.Before {
			continue
		}
		if len(page.Events) == l.page {
			page.More = true
			break
		}
		page.Events = append(page.Events, e)
		page.Last = e.ID
		page.Newest = max(page.Newest, e.Second)
		if page.Oldest == 0 || e.Second < page.Oldest {
			page.Oldest = e.Second
		}
	}
	return page, nil
}

// applied records the events that are applied, in their order.
type applied struct {
	Ingest
	events []verification.Event
	known  map[string]bool
}

func (a *applied) Apply(_ context.Context, event verification.Event) (verification.Outcome, error) {
	a.events = append(a.events, event)
	if a.known[event.ID] {
		return verification.Outcome{Duplicate: true}, nil
	}
	a.known[event.ID] = true
	return verification.Outcome{Effect: verification.EffectApplied, Write: true}, nil
}

func byHand(stripe Stripe, into Ingest, kept Store, clock func() time.Time) *Reconciler {
	r, err := New(Config{
		Store: kept, Stripe: stripe, Ingest: into, Clock: clock, Overlap: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	r.firstPause = time.Microsecond
	return r
}

func newApplied() *applied { return &applied{known: make(map[string]bool)} }

// TestAnyListIsAppliedWholeAndInOrder: every event is applied, however the events lie in time. Events of an earlier
// second come before those of a later one. The number of pages that are read is at most a few times the number of
// pages in the list. This machine's clock has no influence.
func TestAnyListIsAppliedWholeAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := &listing{page: rapid.IntRange(1, 4).Draw(t, "page")}
		second := int64(1_790_000_000)
		for range rapid.IntRange(0, 12).Draw(t, "clusters") {
			second += rapid.SampledFrom([]int64{0, 1, 2, 60, 3600, 200_000}).Draw(t, "gap")
			step := rapid.SampledFrom([]int64{0, 0, 1, 7}).Draw(t, "step")
			for range rapid.IntRange(1, 120).Draw(t, "size") {
				second += step
				list.all = append(list.all, verification.Event{ID: fmt.Sprintf("evt_%d", len(list.all)), Second: second})
			}
		}
		into, kept := newApplied(), newFakeStore()
		clock := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "clock"), 0)
		kept.clock = func() time.Time { return clock }
		r := byHand(list, into, kept, func() time.Time { return clock })
		if summary, err := r.Run(context.Background()); err != nil || summary.Stopped != nil {
			t.Fatal(err, summary)
		}
		if len(into.known) != len(list.all) {
			t.Fatalf("%d of %d events", len(into.known), len(list.all))
		}
		for i := 1; i < len(into.events); i++ {
			if into.events[i].Second < into.events[i-1].Second {
				t.Fatalf("event %d is older than the one before it", i)
			}
		}
		if n := len(list.all); n > 0 && kept.cursor("") != list.all[n-1].Second {
			t.Fatalf("cursor %d, newest event %d", kept.cursor(""), list.all[n-1].Second)
		}
		// Three times all pages, and for each of at most 22 halvings a batch.
		if pages := len(list.all)/list.page + 1; list.calls > 4*pages+(22+maxCuts)*batchPages {
			t.Fatalf("%d calls for %d pages", list.calls, pages)
		}
		// And again, from the cursor: nothing new, nothing lost, little read.
		before := len(into.events)
		if _, err := r.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, e := range into.events[before:] {
			if e.Second < list.all[len(list.all)-1].Second-10 {
				t.Fatalf("read again, beyond the overlap: %d", e.Second)
			}
		}
	})
}

// TestAMonthOfManyEvents: very many events can neither be held in memory, nor can one window of them be read again
// and again.
func TestAMonthOfManyEvents(t *testing.T) {
	list := &listing{page: 100}
	for i := range 40_000 {
		list.all = append(list.all, verification.Event{ID: fmt.Sprint("evt_", i), Second: 1_790_000_000 + int64(i)*60})
	}
	into, kept := newApplied(), newFakeStore()
	quick := &quickListing{listing: list, into: into}
	if _, err := byHand(quick, into, kept, time.Now).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(into.known) != len(list.all) || quick.calls > 3*400 {
		t.Errorf("%d events, %d calls for 400 pages", len(into.known), quick.calls)
	}
	// A budget of so many reads a day comes to something every day.
	if first := slices.IndexFunc(quick.appliedBy, func(n int) bool { return n > 0 }); first < 0 || first > (maxCuts+22)*batchPages {
		t.Errorf("nothing was applied before call %d", first)
	}
}

// quickListing is a listing of events that are a minute apart.
type quickListing struct {
	*listing
	into      *applied
	appliedBy []int // how many events, by the number of the call
}

func (l *quickListing) Events(_ context.Context, _ string, query verification.EventQuery) (verification.EventPage, error) {
	l.calls++
	l.appliedBy = append(l.appliedBy, len(l.into.events))
	first := l.all[0].Second
	low, high := 0, len(l.all)
	if query.From > first {
		low = int((query.From - first + 59) / 60)
	}
	if query.Before > 0 {
		high = min(high, int((query.Before-first+59)/60))
	}
	if query.After != "" {
		_, _ = fmt.Sscanf(query.After, "evt_%d", &high)
	}
	var page verification.EventPage
	for i := high - 1; i >= low; i-- {
		if len(page.Events) == l.page {
			page.More = true
			break
		}
		e := l.all[i]
		page.Events, page.Last, page.Oldest = append(page.Events, e), e.ID, e.Second
		page.Newest = max(page.Newest, e.Second)
	}
	return page, nil
}

// TestAnEventThatAppearsLate: an event can appear in the list after younger ones were read. The overlap finds it.
func TestAnEventThatAppearsLate(t *testing.T) {
	list := &listing{page: 10}
	for i := range 20 {
		list.all = append(list.all, verification.Event{ID: fmt.Sprint("evt_", i), Second: 1_790_000_000 + int64(i)})
	}
	late := list.all[12]
	list.all = slices.Delete(list.all, 12, 13)
	into := newApplied()
	r := byHand(list, into, newFakeStore(), time.Now)
	for range 2 {
		if _, err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if into.known[late.ID] != slices.Contains(list.all, late) {
			t.Errorf("applied: %v", into.known[late.ID])
		}
		list.all = slices.Insert(list.all, 12, late)[:20]
	}
}

// TestAllInOneSecond: thousands of changes within one second of Stripe's clock do not fit into a batch.
func TestAllInOneSecond(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	var ids []string
	for range 400 {
		made, err := s.Create(stripesim.NewSession{})
		s.must(err)
		ids = append(ids, made.ID)
	}
	for _, id := range ids {
		s.must(s.Submit(id, "verified"))
		s.must(s.FinishProcessing(id))
	}
	summary := s.replica(kept, nil).run()
	s.check(kept)
	if summary.Events != 1200 {
		t.Errorf("%v", summary)
	}
}

// TestClockSkewLosesNothing: this machine's clock can be wrong by any amount in either direction.
func TestClockSkewLosesNothing(t *testing.T) {
	for _, skew := range []int64{-3600, -60, 60, 3600} {
		s, kept := newStripe(t), newFakeStore()
		r := s.replica(kept, nil)
		r.config.Clock = func() time.Time { return time.Unix(s.now.Load()+skew, 0) }
		for range 4 {
			s.live(8, "")
			r.run()
			s.tick(300)
		}
		s.check(kept)
	}
}

func TestAListThatDoesNotContinue(t *testing.T) {
	list := &listing{page: 1, stuck: true, all: []verification.Event{{ID: "evt_1", Second: 5}, {ID: "evt_2", Second: 5}}}
	summary, err := byHand(list, newApplied(), newFakeStore(), time.Now).Run(t.Context())
	if err != nil || summary.Stopped == nil || !strings.Contains(summary.Stopped.Error(), "does not continue") || list.calls > 3 {
		t.Errorf("error %v after %d calls, %v", err, list.calls, summary)
	}
}

type spoiled struct{ *listing }

func (s spoiled) Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	page, err := s.listing.Events(ctx, account, query)
	page.Malformed = []string{"evt_bad", ""}
	return page, err
}

func TestMalformedEventsAreCountedOnce(t *testing.T) {
	list := &listing{page: 1}
	for i := range 25 { // crowded: some pages are read twice
		list.all = append(list.all, verification.Event{ID: fmt.Sprint("evt_", i), Second: 1_790_000_000 + int64(i)})
	}
	into := newApplied()
	summary, err := byHand(spoiled{list}, into, newFakeStore(), time.Now).Run(t.Context())
	if err != nil || len(into.known) != 25 || summary.Malformed != 2*25 || !slices.Contains(summary.MalformedIDs, "evt_bad") {
		t.Errorf("error %v, %v", err, summary)
	}
}
