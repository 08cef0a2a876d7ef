package importing

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

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
		if got := p.full(now.Add(step.after)); got != step.full {
			t.Errorf("full after %v: %v, want %v", step.after, got, step.full)
		}
	}
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
