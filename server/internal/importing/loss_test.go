package importing

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Redis can lose what an import has stored while the import runs: it restarts without its data, or a replica takes over that is
// behind. The run then imports the lost sessions again before it says that it is complete.
func TestAStoreThatLosesItsDataMeanwhile(t *testing.T) {
	type saved struct {
		sessions map[string]verification.Session
		marks    map[string]int64
	}
	for name, test := range map[string]struct {
		saveAt, loseAt int // sessions done. What was stored between the two is lost
	}{
		"all is lost in the first account":  {0, 2500},
		"all is lost in the second account": {0, 5100},
		"a part of the first account":       {700, 4200},
		"the end of the first account":      {4000, 5050},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stripe, kept := newFakeStripe(year("", 5000)...), newFakeStore()
				for n := range 300 {
					stripe.add(listedSession(n, "acct_1", time.Now().Unix()-1000))
				}
				var save *saved
				lost := false
				i := importer(t, kept, stripe, func(c *Config) {
					c.Only = []string{"", "acct_1"}
					c.Progress = func(p Progress) {
						kept.mu.Lock()
						defer kept.mu.Unlock()
						if save == nil && p.Done >= test.saveAt {
							save = &saved{maps.Clone(kept.sessions), maps.Clone(kept.marks)}
							if test.saveAt == 0 {
								save = &saved{map[string]verification.Session{}, map[string]int64{}}
							}
						}
						if !lost && p.Done >= test.loseAt {
							lost, kept.sessions, kept.marks = true, save.sessions, save.marks
						}
					}
				})
				if summary := complete(t, i); !lost || summary.Accounts != 2 {
					t.Errorf("lost %v: %s", lost, summary)
				}
				check(t, kept, stripe)
				if kept.marks[markJob] != 0 {
					t.Error("the job is unfinished")
				}
			})
		})
	}
}

// A store that loses its data again and again ends the run. The next one resumes.
func TestAStoreThatKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 1000)...), newFakeStore()
		losing := true
		i := importer(t, kept, stripe, func(c *Config) {
			c.Progress = func(p Progress) {
				if losing && p.Done > 0 {
					kept.mu.Lock()
					defer kept.mu.Unlock()
					clear(kept.sessions)
					clear(kept.marks)
				}
			}
		})
		if summary, err := i.Run(t.Context()); err == nil || summary.Stopped == nil {
			t.Errorf("error %v: %s", err, summary)
		}
		losing = false
		complete(t, i)
		check(t, kept, stripe)
	})
}
