package importing

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/verification"
)

func TestSinceLeavesOutOlderSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 500)...), newFakeStore()
		since := stripe.sessions[120].Created
		complete(t, importer(t, kept, stripe, func(c *Config) { c.Since = since }))
		for _, o := range stripe.sessions {
			if _, known := kept.sessions[o.ID]; known != (o.Created >= since) {
				t.Errorf("%s, created %d s after since: imported %v", o.ID, o.Created-since, known)
			}
		}
	})
}

// An unfinished import is resumed only by one that wants the same. Otherwise sessions would be left out.
func TestAnotherSinceBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 2500)...), newFakeStore()
		for _, o := range year("acct_1", 50) {
			stripe.add(o)
		}
		late := stripe.sessions[len(stripe.sessions)/2].Created
		only := func(since int64, reads int, names ...string) func(*Config) {
			return func(c *Config) { c.Since, c.Reads, c.Only = since, reads, names }
		}
		if summary, err := importer(t, kept, stripe, only(late, 16, "", "acct_1")).Run(t.Context()); !errors.Is(err, ErrReads) || summary.New == 0 {
			t.Fatalf("error %v: %s", err, summary)
		}
		if summary, err := importer(t, kept, stripe, only(0, 12, "")).Run(t.Context()); !errors.Is(err, ErrReads) || summary.Resumed {
			t.Fatalf("error %v: %s", err, summary)
		}
		// acct_1 has a position of the first job, which left out the older half.
		if summary := complete(t, importer(t, kept, stripe, only(0, 0, "", "acct_1"))); !summary.Resumed {
			t.Errorf("not resumed: %s", summary)
		}
		check(t, kept, stripe)
	})
}

// A restored backup holds the position of an unfinished import. Sessions before it have changed at Stripe since the backup: Again compares
// them too, and a run without Again resumes that one.
func TestAgainBeginsFromTheFirstSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 2500)...), newFakeStore()
		if summary, err := importer(t, kept, stripe, func(c *Config) { c.Reads = 16 }).Run(t.Context()); !errors.Is(err, ErrReads) || summary.New == 0 {
			t.Fatalf("error %v: %s", err, summary)
		}
		again := func(reads int) func(*Config) { return func(c *Config) { c.Again, c.Reads = true, reads } }
		if summary, err := importer(t, kept, stripe, again(16)).Run(t.Context()); !errors.Is(err, ErrReads) || summary.Resumed || summary.Known == 0 {
			t.Fatalf("error %v: %s; want the sessions before the position too", err, summary)
		}
		if summary := complete(t, importer(t, kept, stripe, nil)); !summary.Resumed {
			t.Errorf("not resumed: %s", summary)
		}
		check(t, kept, stripe)
	})
}

// A job whose marks were only partly stored is not resumed as another one.
func TestAJobWhoseMarksAreIncomplete(t *testing.T) {
	for stopAt := 1; stopAt <= 4; stopAt++ {
		synctest.Test(t, func(t *testing.T) {
			stripe, kept := newFakeStripe(year("", 1500)...), newFakeStore()
			late := stripe.sessions[300].Created
			if _, err := importer(t, kept, stripe, func(c *Config) { c.Since, c.Reads = late, 2 }).Run(t.Context()); !errors.Is(err, ErrReads) {
				t.Fatalf("error %v", err)
			}
			marks := 0
			kept.fail = func(call, _ string) error {
				if call == "setmark" {
					if marks++; marks >= stopAt {
						return errors.New("the process ends here")
					}
				}
				return nil
			}
			if _, err := importer(t, kept, stripe, nil).Run(t.Context()); err == nil {
				t.Fatal("the run ended without an error")
			}
			kept.fail = func(string, string) error { return nil }
			complete(t, importer(t, kept, stripe, nil))
			check(t, kept, stripe)
		})
	}
}

func TestWhichAccountsAreImported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := listedSession(1, "acct_known", time.Now().Unix()-50)
		other := listedSession(1, "acct_other", time.Now().Unix()-50)
		for name, test := range map[string]struct {
			accepted, only []string
			want           []string
			change         func(*Config)
		}{
			"by default":        {nil, nil, []string{"", "acct_known", "acct_other"}, nil},
			"those with a key":  {[]string{"acct_known", "acct_new"}, nil, []string{"", "acct_known", "acct_new"}, func(c *Config) { c.Keyed = []string{"acct_new", "acct_other"} }},
			"no platform":       {nil, nil, []string{"acct_known", "acct_key", "acct_other"}, func(c *Config) { c.NoPlatform, c.Keyed = true, []string{"acct_key"} }},
			"those named":       {[]string{"acct_known", "acct_new"}, nil, []string{"", "acct_known", "acct_new"}, nil},
			"only one":          {nil, []string{"acct_new"}, []string{"acct_new"}, nil},
			"only the platform": {nil, []string{""}, []string{""}, nil},
			"one twice":         {nil, []string{"acct_new", "", "acct_new"}, []string{"", "acct_new"}, nil},
		} {
			stripe, kept := newFakeStripe(known, other), newFakeStore()
			for _, o := range stripe.sessions {
				s, _ := verification.ApplyImport(verification.Session{}, verification.Listed{Object: o, AsOf: o.Created})
				kept.put(s)
			}
			complete(t, importer(t, kept, stripe, func(c *Config) {
				c.Accepted, c.Only = verification.NewAccounts(test.accepted), test.only
				if test.change != nil {
					test.change(c)
				}
			}))
			slices.Sort(test.want)
			if !slices.Equal(stripe.shown, test.want) {
				t.Errorf("%s: pages of %q, want of %q", name, stripe.shown, test.want)
			}
		}
	})
}

func TestAConfigThatIsNotValid(t *testing.T) {
	stripe, kept := newFakeStripe(), newFakeStore()
	valid := Config{Store: kept, Stripe: stripe, Ingest: noIngest{}, FeedMaxLen: 1}
	for name, change := range map[string]func(*Config){
		"no store": func(c *Config) { c.Store = nil }, "no Stripe": func(c *Config) { c.Stripe = nil }, "no ingest": func(c *Config) { c.Ingest = nil },
		"no length of the feed": func(c *Config) { c.FeedMaxLen = 0 }, "negative reads": func(c *Config) { c.Reads = -1 }, "a negative since": func(c *Config) { c.Since = -1 },
	} {
		config := valid
		change(&config)
		if _, err := New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(valid); err != nil {
		t.Errorf("a valid one: %v", err)
	}
}

// An import of some accounts does not end an unfinished import of everything, and ends one of some accounts.
func TestAnImportOfSomeAccountsLeavesTheJobOfEverything(t *testing.T) {
	for name, test := range map[string]struct {
		first, second, third []string // empty: everything
		resumed              bool     // the third run resumes what the first one began
	}{
		"one account after a part of everything":            {nil, []string{"acct_x"}, nil, true},
		"one account after a part of others":                {[]string{"", "acct_x"}, []string{"acct_x"}, nil, true},
		"what is left of everything":                        {nil, []string{"", "acct_x"}, nil, false},
		"what is left of some":                              {[]string{""}, []string{""}, nil, false},
		"everything after a part of some, then one account": {[]string{""}, nil, []string{"acct_x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stripe, kept := newFakeStripe(year("", 3000)...), newFakeStore()
				stripe.add(listedSession(1, "acct_x", time.Now().Unix()-5000))
				run := func(only []string, reads int) (Summary, error) {
					return importer(t, kept, stripe, func(c *Config) {
						c.Only, c.Reads, c.Accepted = only, reads, verification.NewAccounts([]string{"acct_x"})
					}).Run(t.Context())
				}
				if summary, err := run(test.first, 25); !errors.Is(err, ErrReads) || summary.New == 0 {
					t.Fatalf("error %v: %s", err, summary)
				}
				job := kept.marks[markJob]
				if summary, err := run(test.second, 0); err != nil || !summary.Resumed {
					t.Fatalf("error %v: %s", err, summary)
				}
				if kept.marks[markJob] != 0 && kept.marks[markJob] != job {
					t.Errorf("job %d, want %d", kept.marks[markJob], job)
				}
				if summary, err := run(test.third, 0); err != nil || summary.Resumed != test.resumed {
					t.Errorf("error %v, resumed %v, want %v: %s", err, summary.Resumed, test.resumed, summary)
				}
				check(t, kept, stripe)
				if kept.marks[markJob] != 0 {
					t.Error("the job is unfinished")
				}
			})
		})
	}
}

// An organization's key has no sessions of its own. Without a named account there is nothing to import.
func TestNothingToImport(t *testing.T) {
	for _, only := range [][]string{nil, {""}} {
		synctest.Test(t, func(t *testing.T) {
			stripe, kept := newFakeStripe(year("acct_1", 20)...), newFakeStore()
			summary, err := importer(t, kept, stripe, func(c *Config) { c.NoPlatform, c.Only = true, only }).Run(t.Context())
			if !errors.Is(err, ErrNoAccounts) || !errors.Is(summary.Stopped, ErrNoAccounts) || kept.marks[markJob] != 0 {
				t.Errorf("%q: error %v, marks %v: %s", only, err, kept.marks, summary)
			}
		})
	}
}
