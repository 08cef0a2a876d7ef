package importing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// TestAnImportLeavesReadersOfTheFeedTime: however fast Stripe and the store are, no partition gets more than half of what the feed
// keeps in ten minutes.
func TestAnImportLeavesReadersOfTheFeedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keeps, count = 1000, 9000
		stripe, kept := newFakeStripe(year("", count)...), newFakeStore()
		type write struct {
			at        time.Time
			partition int
		}
		var writes []write
		kept.fail = func(call, name string) error {
			if call == "update" {
				kept.mu.Lock()
				defer kept.mu.Unlock()
				writes = append(writes, write{time.Now(), kept.Partition(name)})
			}
			return nil
		}
		waited := ""
		summary := complete(t, importer(t, kept, stripe, func(c *Config) {
			c.FeedMaxLen = keeps
			c.Progress = func(p Progress) {
				if p.Waiting != "" {
					waited = p.String()
				}
			}
		}))
		check(t, kept, stripe)
		if waited == "" || summary.Waited < 30*time.Minute {
			t.Errorf("waited %v, last report %q", summary.Waited, waited)
		}
		for partition := range partitions {
			first := 0
			var of []write
			for _, w := range writes {
				if w.partition == partition {
					of = append(of, w)
				}
			}
			for last := range of {
				for of[last].at.Sub(of[first].at) > awayFor {
					first++
				}
				if within := last - first + 1; within > keeps/2 {
					t.Fatalf("partition %d: %d changes within %v, want at most %d", partition, within, awayFor, keeps/2)
				}
			}
		}
	})
}

func TestPaceCountsTheChangesOfTenMinutes(t *testing.T) {
	p := newPace(Config{Store: newFakeStore(), FeedMaxLen: 400})
	now := time.Unix(1_790_000_000, 0)
	for range 101 {
		p.add(now, 2, 1)
	}
	for _, step := range []struct {
		after time.Duration
		full  bool
	}{{0, true}, {awayFor, true}, {awayFor + 2*time.Second, false}} {
		if reason := p.full(now.Add(step.after)); (reason != "") != step.full {
			t.Errorf("full after %v: %q, want %v", step.after, reason, step.full)
		}
	}
}

// TestAnImportWaitsForConsumers: no consumer ever has more than half of what the feed keeps to acknowledge, however slow it is. The
// import ends when it has acknowledged, and waits for no consumer that has lost changes already.
func TestAnImportWaitsForConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keeps, count = 1000, 3000
		stripe, kept := newFakeStripe(year("", count)...), newFakeStore()
		kept.consume("quick")
		kept.consume("slow")
		kept.consume("expired")
		delete(kept.read, "expired")
		began, most := time.Now(), 0
		kept.fail = func(call, name string) error {
			if call == "update" {
				kept.mu.Lock()
				defer kept.mu.Unlock()
				for partition, head := range kept.heads() {
					most = max(most, head-kept.read["slow"][partition])
				}
			}
			return nil
		}
		var acknowledging sync.WaitGroup
		for name, every := range map[string]time.Duration{"quick": time.Second, "slow": 40 * time.Minute} {
			acknowledging.Go(func() {
				for range int(3 * time.Hour / every) {
					time.Sleep(every)
					kept.acknowledge(name)
				}
			})
		}
		waited := make(map[string]bool)
		summary := complete(t, importer(t, kept, stripe, func(c *Config) {
			c.FeedMaxLen = keeps
			c.Progress = func(p Progress) { waited[p.Waiting] = true }
		}))
		took := time.Since(began)
		acknowledging.Wait()
		check(t, kept, stripe)
		if most > keeps/2 || most < keeps/4 {
			t.Errorf("a consumer had %d changes of a partition to acknowledge, want at most %d", most, keeps/2)
		}
		// 900 changes of a partition need three acknowledgements at the most, since each lets it add 300 at the least.
		if took < 40*time.Minute || took > 2*time.Hour+time.Minute || summary.Waited < 40*time.Minute {
			t.Errorf("the import took %v, and waited %v", took, summary.Waited)
		}
		for reason := range waited {
			if strings.Contains(reason, "expired") {
				t.Errorf("it waited for this: %s", reason)
			}
		}
		if !waited["the consumer slow of the change feed has not acknowledged half of what the feed keeps; see the command consumers"] {
			t.Errorf("it waited for %v, want the slow consumer", waited)
		}
	})
}

// TestAnImportLooksAtConsumersSeldom: a look costs a round trip for each.
func TestAnImportLooksAtConsumersSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 9000)...), newFakeStore()
		kept.consume("mailer")
		kept.fail = func(call, _ string) error {
			if call == "update" {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		}
		began := time.Now()
		complete(t, importer(t, kept, stripe, nil))
		if most := 2 + int(time.Since(began)/lookEvery); kept.looks > most || kept.looks == 0 {
			t.Errorf("%d looks in %v, want at most %d", kept.looks, time.Since(began), most)
		}
	})
}

// TestAnImportOutlivesAStoreThatDoesNotShowConsumers for a moment.
func TestAnImportOutlivesAStoreThatDoesNotShowConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 100)...), newFakeStore()
		calls := 0
		kept.fail = func(call, _ string) error {
			if call != "consumers" {
				return nil
			}
			if calls++; calls == 1 {
				return store.ErrUnavailable
			}
			return nil
		}
		complete(t, importer(t, kept, stripe, nil))
		check(t, kept, stripe)
		if calls < 2 {
			t.Errorf("%d calls, want at least 2", calls)
		}
	})
}

// TestPaceKnowsWhatConsumersHaveToAcknowledge: by the last look, with what was added since.
func TestPaceKnowsWhatConsumersHaveToAcknowledge(t *testing.T) {
	feed := &behindFeed{}
	p := newPace(Config{Store: newFakeStore(), FeedMaxLen: 1000})
	now := time.Unix(1_790_000_000, 0)
	want := func(what, consumer string) {
		t.Helper()
		if err := p.look(t.Context(), now, feed); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(p.full(now), "the consumer ")
		if got, _, _ = strings.Cut(got, " "); got != consumer {
			t.Errorf("%s: it waits for consumer %q, want %q", what, got, consumer)
		}
	}
	want("without consumers", "")
	now = now.Add(lookEvery)
	feed.set(0, 300)
	want("one with 300 changes", "")
	p.add(now, 2, 100)
	feed.set(0, 400)
	want("100 were added", "")
	p.add(now, 2, 1)
	feed.set(0, 401)
	want("and another one", "c1")
	feed.set(401, 0)
	want("it has acknowledged, but the other one is slow now", "c0")
	feed.set(0, 0)
	want("both have acknowledged", "")
	p.add(now, 2, 401)
	feed.set(0, 401)
	want("one has acknowledged what was added since", "c1")
	feed.set(-1, 0)
	want("the other one is expired", "")
	feed.set(-1, 401)
	now = now.Add(lookEvery)
	want("the one that is not expired is slow again", "c1")
}

// behindFeed has consumers c0, c1 and so on. pending are their changes in partition 2; -1 stands for an expired one.
type behindFeed struct {
	store.Consumers
	pending []int64
}

func (f *behindFeed) set(pending ...int64) { f.pending = pending }

func (f *behindFeed) ListConsumers(context.Context) (all []store.Consumer, err error) {
	for n := range f.pending {
		all = append(all, store.Consumer{Name: fmt.Sprintf("c%d", n), Incarnation: uint64(n), Positions: []store.Position{{Seq: uint64(n)}}})
	}
	return all, nil
}

func (f *behindFeed) Behind(_ context.Context, positions []store.Position) ([]store.Behind, error) {
	behind := make([]store.Behind, partitions)
	if behind[2].Entries = f.pending[positions[0].Seq]; behind[2].Entries < 0 {
		behind[2] = store.Behind{Entries: 1000, Err: store.ErrTrimmed}
	}
	return behind, nil
}

// Runs that are stopped and resumed add no more to the feed than one run.
func TestResumedRunsShareThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keeps = 1000
		stripe, kept := newFakeStripe(year("", 9000)...), newFakeStore()
		began := time.Now()
		for range 6 {
			ctx, cancel := context.WithCancel(t.Context())
			i := importer(t, kept, stripe, func(c *Config) {
				c.FeedMaxLen = keeps
				c.Progress = func(p Progress) {
					if p.Waiting != "" {
						cancel()
					}
				}
			})
			summary, err := i.Run(ctx)
			cancel()
			if !errors.Is(err, ErrInterrupted) {
				t.Fatalf("error %v: %s", err, summary)
			}
		}
		if took := time.Since(began); took >= awayFor {
			t.Fatalf("the six runs took %v, want less than %v", took, awayFor)
		}
		added := make([]int, partitions)
		for id := range kept.sessions {
			added[kept.Partition(id)]++
		}
		if most := slices.Max(added); most > keeps/2 || most == 0 {
			t.Errorf("six runs added %d changes to a partition, want at most %d", most, keeps/2)
		}
		// After ten minutes the next run imports the rest.
		complete(t, importer(t, kept, stripe, func(c *Config) { c.FeedMaxLen = keeps }))
		check(t, kept, stripe)
	})
}

// A read that corrects a record and the replacement of a session add changes too.
func TestThePaceCountsEveryRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(listedSession(0, "", time.Now().Unix()-100), listedSession(4, "", time.Now().Unix()-90)), newFakeStore()
		known := stripe.sessions[0]
		known.Status = "reviewing"
		record, _ := verification.ApplyImport(verification.Session{}, verification.Listed{Object: known, AsOf: known.Created})
		kept.put(record)
		i := importer(t, kept, stripe, nil)
		i.config.Ingest = inheriting{i.config.Ingest, known.ID}
		summary := complete(t, i)
		// The known session is corrected by one revision. The new one is written twice.
		if got := kept.marks[markAdded]; summary.Corrected != 1 || summary.New != 1 || got != 3 {
			t.Errorf("%d changes are counted, want 3: %s", got, summary)
		}
	})
}

// inheriting writes a revision for each session except one.
type inheriting struct {
	Ingest
	except string
}

func (i inheriting) Inherit(_ context.Context, s verification.Session) (verification.Session, error) {
	if s.ID != i.except {
		s.Revision++
	}
	return s, nil
}
