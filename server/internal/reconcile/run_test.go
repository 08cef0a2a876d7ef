package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

func openRedis(t *testing.T, addr string) records {
	t.Helper()
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	if err := kept.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return kept
}

// TestAThousandMissedLives: no webhook came for whole lives. One run brings every record up to date, and a second run
// finds nothing to do.
func TestAThousandMissedLives(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/reconcile")
	}
	for name, test := range map[string]struct {
		sessions int
		open     func(t *testing.T) records
	}{
		"memory":    {300, func(*testing.T) records { return newFakeStore() }},
		"miniredis": {300, func(t *testing.T) records { return openRedis(t, redistest.Imitate(t).Addr()) }},
		"redis":     {1000, func(t *testing.T) records { return openRedis(t, redistest.Start(t).Addr) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStripe(t)
			kept := test.open(t)
			s.live(test.sessions, "")
			r := s.replica(kept, nil)
			r.batchPages = batchPages
			first := r.run()
			s.check(kept)
			emitted := len(s.Events())
			if first.Events != emitted || first.Missed.Sum()+first.Recent != emitted || first.Known != 0 || first.Accounts != 1 {
				t.Errorf("%d events were emitted\n%v", emitted, first)
			}
			second := r.run()
			if second.Missed.Sum()+second.Recent != 0 || second.Known != second.Events || second.Events == 0 || second.Pages > 10 {
				t.Errorf("the second run:\n%v", second)
			}
		})
	}
}

func TestOnlyTheMissedOnesAreDrift(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(40, "")
	r := s.replica(kept, nil)
	missed := 0
	for i, event := range s.events() {
		if i%7 == 3 {
			missed++
			continue
		}
		r.webhook(event)
	}
	s.tick(100) // what is left is not on its way any more
	summary := r.run()
	s.check(kept)
	if summary.Missed.Sum() != missed || summary.Recent != 0 || summary.Known != summary.Events-missed {
		t.Errorf("%d were missed\n%v", missed, summary)
	}
	log := r.logs.String()
	if !strings.Contains(log, "events that were missing") || !strings.Contains(log, "session_ids=") || !strings.Contains(log, fmt.Sprintf("events=%d", missed)) {
		t.Errorf("log:\n%s", log)
	}
}

func TestEventsWhoseWebhookIsOnItsWayAreNoDrift(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(1, "")
	summary := s.replica(kept, nil).run()
	if summary.Missed.Sum() != 0 || summary.Recent != len(s.Events()) {
		t.Errorf("%v", summary)
	}
	s.check(kept)
}

var errStore = fmt.Errorf("%w: planted", store.ErrUnavailable)

// TestARunThatTheStoreEndsIsGoneOnWith: whichever call of the store fails, the run ends with an error, and a new
// process completes the work.
func TestARunThatTheStoreEndsIsGoneOnWith(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/reconcile")
	}
	for _, call := range []string{"update", "setcursor", "cursor", "accounts", "lease", "due"} {
		t.Run(call, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			s.live(moreThanABatch, "")
			if emitted := len(s.Events()); emitted <= 100*smallBatch {
				t.Fatalf("%d events fit into one batch", emitted)
			}
			s.tick(3600)
			for _, after := range []int{0, 1, moreThanABatch} {
				calls := 0
				kept.fail = func(what, _ string) error {
					if what != call {
						return nil
					}
					if calls++; calls > after {
						return errStore
					}
					return nil
				}
				reached := kept.cursor("")
				_, err := s.replica(kept, nil).Run(t.Context())
				if calls > after && !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("after %d calls: error %v", after, err)
				}
				if call == "update" && after < moreThanABatch && kept.cursor("") != reached {
					t.Errorf("after %d calls the cursor has moved to %d", after, kept.cursor(""))
				}
				if kept.holder != "" {
					t.Error("the lease is still held")
				}
			}
			kept.fail = func(string, string) error { return nil }
			s.replica(kept, nil).run()
			s.check(kept)
		})
	}
}

func TestARecordThatCannotBeReadKeepsNoOtherAway(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	ids := s.live(8, "")
	kept.fail = func(call, name string) error {
		if call == "update" && name == ids[0] {
			return store.ErrCorrupt
		}
		return nil
	}
	summary := s.replica(kept, nil).run()
	if summary.Unreadable != 3 {
		t.Errorf("%v", summary)
	}
	for _, id := range ids[1:] {
		if !kept.session(id).Exists() {
			t.Errorf("%s is not here", id)
		}
	}
}

// TestTheBudgetIsKeptAndTheRunContinues: a spent budget stops the run without an error, and the runs of the next days
// complete it.
func TestTheBudgetIsKeptAndTheRunContinues(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(600, "")
	var r *replica
	day := s.now.Load()
	r = s.replica(kept, func(_ *Config, api *stripeapi.Config) {
		api.ReadsPerDay = 45
		api.Clock = func() time.Time { return time.Unix(day, 0) }
	})
	r.batchPages = batchPages
	for n := 1; ; n++ {
		reached := kept.cursor("")
		summary, err := r.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if summary.Stopped == nil {
			if n == 1 {
				t.Error("the budget was never spent")
			}
			break
		}
		if !errors.Is(summary.Stopped, verification.ErrStripeBudget) || summary.Pages > 45 {
			t.Fatalf("%v", summary)
		}
		if kept.cursor("") <= reached && summary.Reread == 0 || n > 20 {
			t.Fatalf("day %d brought nothing: %v", n, summary)
		}
		day += 24 * 60 * 60
	}
	s.check(kept)
}

func TestFaultsOfTheAPI(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]stripesim.APIFaults{
		"429":        {RateLimited: 0.4},
		"500":        {ServerError: 0.4},
		"503":        {Unavailable: 0.4},
		"closed":     {Closed: 0.4},
		"hung":       {Hang: 0.2, Limit: 5},
		"slow":       {Slow: 1, DelayBefore: time.Millisecond, DelayAfter: time.Millisecond},
		"everything": {RateLimited: 0.1, ServerError: 0.1, Unavailable: 0.1, Closed: 0.1, Slow: 0.5, DelayAfter: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			s.live(150, "")
			s.must(s.SetAPIFaults(faults))
			r := s.replica(kept, func(_ *Config, api *stripeapi.Config) { api.Timeout = 300 * time.Millisecond })
			r.batchPages = batchPages
			for n := 0; ; n++ {
				summary, err := r.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if summary.Stopped == nil {
					break
				}
				if !errors.Is(summary.Stopped, verification.ErrStripeUnavailable) || n > 50 {
					t.Fatalf("run %d: %v", n, summary)
				}
			}
			if s.Stats().APIFaults == 0 {
				t.Error("no fault was met")
			}
			s.must(s.SetAPIFaults(stripesim.APIFaults{}))
			s.check(kept)
		})
	}
}

func TestALongOutageOfStripeEndsTheRun(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(3, "")
	s.must(s.SetAPIFaults(stripesim.APIFaults{ServerError: 1}))
	summary, err := s.replica(kept, nil).Run(t.Context())
	if err != nil || !errors.Is(summary.Stopped, verification.ErrStripeUnavailable) || kept.cursor("") != 0 || summary.Events != 0 {
		t.Errorf("error %v, cursor %d, %v", err, kept.cursor(""), summary)
	}
	if !strings.Contains(summary.String(), "stopped early") || s.Stats().APIFaults != tries {
		t.Errorf("%d requests\n%v", s.Stats().APIFaults, summary)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(40, "")
	ctx, cancel := context.WithCancel(t.Context())
	updates := 0
	kept.fail = func(call, _ string) error {
		if call == "update" {
			if updates++; updates == 20 {
				cancel()
			}
		}
		return nil
	}
	if summary, err := s.replica(kept, nil).Run(ctx); !errors.Is(err, context.Canceled) || summary.Events > 20 {
		t.Errorf("error %v, %v", err, summary)
	}
	if kept.holder != "" {
		t.Error("the lease was not given up")
	}
}

// TestTwoReplicasAtOnce: two replicas at once do the same as one, with the lease and without it.
func TestTwoReplicasAtOnce(t *testing.T) {
	for name, lost := range map[string]bool{"with a lease": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			s.live(moreThanABatch, "")
			var mu sync.Mutex
			kept.fail = func(call, _ string) error {
				if call == "lease" && lost { // a store that loses the lease at once
					mu.Lock()
					defer mu.Unlock()
					kept.mu.Lock()
					kept.holder = ""
					kept.mu.Unlock()
				}
				return nil
			}
			summaries := make([]Summary, 2)
			var work sync.WaitGroup
			begin := make(chan struct{})
			for i := range summaries {
				r := s.replica(kept, nil)
				work.Go(func() {
					<-begin
					var err error
					if summaries[i], err = r.Run(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			close(begin)
			await.All(t, &work)
			s.check(kept)
			elsewhere := 0
			for _, summary := range summaries {
				if errors.Is(summary.Stopped, errLeaseElsewhere) {
					elsewhere++
				}
			}
			if lost && elsewhere != 0 {
				t.Error("the lease was kept")
			}
			emitted, applied := len(s.Events()), 0
			for _, summary := range summaries {
				applied += summary.Missed.Sum() + summary.Recent
			}
			if applied != emitted {
				t.Errorf("%d events had an effect, %d were emitted", applied, emitted)
			}
		})
	}
}

func TestALeaseIsHeldProlongedAndLost(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(100, "")
	clock := func() time.Time { return time.Unix(s.now.Add(1), 0) } // each look takes a second
	kept.clock = func() time.Time { return time.Unix(s.now.Load(), 0) }
	other := s.replica(kept, nil)
	var during error
	asked := false
	kept.fail = func(call, name string) error {
		if call == "setcursor" && !asked {
			asked = true
			summary, err := other.Run(context.Background())
			during = errors.Join(err, summary.Stopped)
		}
		return nil
	}
	slow := s.replica(kept, func(c *Config, _ *stripeapi.Config) { c.Clock = clock })
	slow.run()
	if !errors.Is(during, errLeaseElsewhere) {
		t.Errorf("the other one at the same time: %v", during)
	}
	if kept.leased < 5 {
		t.Errorf("the lease was taken %d times: not prolonged", kept.leased)
	}
	if !strings.Contains(slow.logs.String(), "catch-up: in progress") {
		t.Error("a long run tells no progress")
	}
	kept.fail = func(call, _ string) error {
		if call == "update" { // another one takes it over
			kept.mu.Lock()
			defer kept.mu.Unlock()
			kept.holder, kept.until = "another", kept.clock().Add(time.Hour)
		}
		return nil
	}
	summary, err := slow.Run(t.Context())
	if err != nil || !errors.Is(summary.Stopped, errLeaseLost) {
		t.Errorf("error %v, %v", err, summary)
	}
	if kept.holder != "another" {
		t.Error("the other one's lease was released")
	}
}

func TestObserveIsCalledForEachRun(t *testing.T) {
	s, kept := newStripe(t), newFakeStore()
	s.live(2, "")
	var seen []string
	r := s.replica(kept, func(c *Config, _ *stripeapi.Config) {
		c.Observe = func(summary Summary, err error) { seen = append(seen, fmt.Sprint(summary.Events, err)) }
	})
	r.run()
	kept.fail = func(string, string) error { return errStore }
	_, _ = r.Run(t.Context())
	if len(seen) != 2 || seen[0] != fmt.Sprint(len(s.Events()), nil) || !strings.Contains(seen[1], "planted") {
		t.Errorf("observed %q", seen)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	s := newStripe(t)
	good := s.replica(newFakeStore(), nil).config
	for name, change := range map[string]func(*Config){
		"no store":  func(c *Config) { c.Store = nil },
		"no Stripe": func(c *Config) { c.Stripe = nil },
		"no ingest": func(c *Config) { c.Ingest = nil },
		"interval":  func(c *Config) { c.Interval = -1 },
		"overlap":   func(c *Config) { c.Overlap = -1 },
	} {
		config := good
		change(&config)
		if _, err := New(config); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestEventsOfBeforeTheFirstStartAreNoDrift: the first run of an account finds events that are older than the process. Events that came
// after it count, also in a first run: the account might have had no event before.
func TestEventsOfBeforeTheFirstStartAreNoDrift(t *testing.T) {
	for name, tc := range map[string]struct{ before, after int }{"all before": {20, 0}, "all after": {0, 3}, "both": {20, 3}} {
		t.Run(name, func(t *testing.T) {
			s, kept := newStripe(t), newFakeStore()
			s.live(tc.before, "")
			backlog := len(s.Events())
			s.tick(1)
			r := s.replica(kept, nil)
			s.live(tc.after, "")
			late := len(s.Events()) - backlog
			s.tick(100)
			got := r.run()
			if got.Missed.Sum() != backlog+late || got.Backlog != backlog || got.Drift() != late {
				t.Errorf("%d before, %d after: drift %d\n%v", backlog, late, got.Drift(), got)
			}
			if shown := strings.Contains(got.String(), fmt.Sprintf("backlog:  %d ", backlog)); shown != (backlog > 0) {
				t.Errorf("%v", got)
			}
			s.live(2, "")
			s.tick(100)
			missed := len(s.Events()) - backlog - late
			if got := r.run(); got.Drift() != missed || got.Backlog != 0 {
				t.Errorf("%d missed: drift %d\n%v", missed, got.Drift(), got)
			}
		})
	}
}
