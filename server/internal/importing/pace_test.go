package importing

import (
	"testing"
	"testing/synctest"
	"time"
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
		p.add(now, 2)
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
