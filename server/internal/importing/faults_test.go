package importing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestAnAccountThatStripeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 30)...), newFakeStore()
		for n, account := range []string{"acct_1", "acct_2"} {
			stripe.add(listedSession(n, account, time.Now().Unix()-100))
		}
		refused := verification.ErrStripeUnauthorized
		stripe.fail = func(_ int, account string, _ verification.SessionQuery) error {
			if account == "acct_1" {
				return refused
			}
			return nil
		}
		three := func(c *Config) { c.Accepted = verification.NewAccounts([]string{"acct_1", "acct_2"}) }
		summary, err := importer(t, kept, stripe, three).Run(t.Context())
		if err == nil || !slices.Equal(summary.Refused, []string{"acct_1"}) || summary.Accounts != 2 || len(kept.sessions) != 31 {
			t.Fatalf("error %v, %d sessions, summary: %s", err, len(kept.sessions), summary)
		}
		if !strings.Contains(err.Error(), "acct_1") || kept.marks[markJob] != 0 {
			t.Errorf("error %v, job %d; want acct_1 named, and no unfinished job", err, kept.marks[markJob])
		}
		refused = nil
		if summary := complete(t, importer(t, kept, stripe, func(c *Config) { c.Only = []string{"acct_1"} })); summary.Resumed || summary.New != 1 {
			t.Errorf("summary: %s", summary)
		}
		check(t, kept, stripe)
	})
}

func TestWhatEndsARun(t *testing.T) {
	for name, test := range map[string]struct {
		stripe error
		mark   error
		update error
		want   error
	}{
		"the key is refused":               {stripe: verification.ErrStripeUnauthorized, want: verification.ErrStripeUnauthorized},
		"Stripe is away":                   {stripe: verification.ErrStripeUnavailable, want: verification.ErrStripeUnavailable},
		"the store is away":                {update: store.ErrUnavailable, want: store.ErrUnavailable},
		"the marks cannot be stored":       {mark: store.ErrUnavailable, want: store.ErrUnavailable},
		"the budget of all reads is spent": {stripe: verification.ErrStripeBudget, want: verification.ErrStripeBudget},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stripe, kept := newFakeStripe(year("", 300)...), newFakeStore()
				failing := true
				stripe.fail = func(int, string, verification.SessionQuery) error {
					if !failing {
						return nil
					}
					return test.stripe
				}
				kept.fail = func(call, _ string) error {
					switch {
					case !failing:
						return nil
					case call == "setmark":
						return test.mark
					default:
						return test.update
					}
				}
				began := time.Now()
				summary, err := importer(t, kept, stripe, nil).Run(t.Context())
				if !errors.Is(err, test.want) || !errors.Is(summary.Stopped, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if took := time.Since(began); took > 2*time.Minute {
					t.Errorf("it took %v to give up", took)
				}
				failing = false
				complete(t, importer(t, kept, stripe, nil))
				check(t, kept, stripe)
			})
		})
	}
}

// A run that is resumed does not list the accounts that are done.
func TestAnAccountThatIsDoneIsNotListedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 30)...), newFakeStore()
		stripe.add(listedSession(0, "acct_1", time.Now().Unix()-100))
		stripe.fail = func(_ int, account string, _ verification.SessionQuery) error {
			if account == "acct_1" {
				return verification.ErrStripeUnavailable
			}
			return nil
		}
		two := func(c *Config) { c.Only = []string{"", "acct_1"} }
		if summary, err := importer(t, kept, stripe, two).Run(t.Context()); !errors.Is(err, verification.ErrStripeUnavailable) || summary.Accounts != 1 {
			t.Fatalf("error %v, summary: %s", err, summary)
		}
		stripe.fail = func(int, string, verification.SessionQuery) error { return nil }
		stripe.shown = nil
		if summary := complete(t, importer(t, kept, stripe, two)); !summary.Resumed || summary.Accounts != 2 || !slices.Equal(stripe.shown, []string{"acct_1"}) {
			t.Errorf("pages of %q, want of acct_1 alone; summary: %s", stripe.shown, summary)
		}
		check(t, kept, stripe)
	})
}

// What passes within half a minute does not end a run.
func TestAFailureThatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 700)...), newFakeStore()
		failures := 0
		stripe.fail = func(request int, _ string, _ verification.SessionQuery) error {
			if request%4 != 0 {
				failures++
				return verification.ErrStripeUnavailable
			}
			return nil
		}
		complete(t, importer(t, kept, stripe, nil))
		check(t, kept, stripe)
		if failures == 0 {
			t.Error("nothing failed")
		}
	})
}

// Between two pages the session at which the list continues can be deleted.
func TestACursorThatStripeDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 900)...), newFakeStore()
		dropped := 0
		stripe.fail = func(_ int, _ string, query verification.SessionQuery) error {
			if query.After != "" && dropped < 2 {
				dropped++
				return verification.ErrStripeUnknown
			}
			return nil
		}
		complete(t, importer(t, kept, stripe, nil))
		check(t, kept, stripe)
		if dropped != 2 {
			t.Errorf("%d cursors were dropped, want 2", dropped)
		}
	})
}

func TestBrokenAndMalformedSessionsAreSkippedAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 150)...), newFakeStore()
		broken, malformed := stripe.sessions[10].ID, stripe.sessions[20].ID
		stripe.bad = []string{malformed}
		kept.fail = func(call, name string) error {
			if name == broken {
				return store.ErrCorrupt
			}
			return nil
		}
		summary, err := importer(t, kept, stripe, nil).Run(t.Context())
		if err == nil || summary.Broken != 1 || summary.New != 148 || summary.Malformed != 1 {
			t.Errorf("error %v, summary: %s", err, summary)
		}
		if diff := cmp.Diff([]string{malformed}, summary.MalformedIDs); diff != "" {
			t.Errorf("malformed (-want +got):\n%s", diff)
		}
	})
}

// What is left out for ever makes the exit code 1. A session that was deleted meanwhile does not: nothing of it is left.
func TestWhatMakesAnImportIncomplete(t *testing.T) {
	for want, summary := range map[string]Summary{
		"": {Unknown: 2, New: 1},
		"1 session of Stripe's list cannot be used": {Malformed: 1},
		"2 sessions of Stripe's list cannot":        {Malformed: 2},
		"1 session could not be stored":             {Broken: 1},
		"refuses to return 3 sessions":              {Unread: 3},
		"refuses 1 account: acct_1":                 {Refused: []string{"acct_1"}},
	} {
		err := summary.incomplete()
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if complete := strings.HasPrefix(summary.String(), "import complete"); complete != (want == "") {
			t.Errorf("complete %v: %s", complete, summary)
		}
	}
	for refusal, want := range map[error]Summary{
		verification.ErrStripeUnknown:      {Unknown: 1},
		verification.ErrStripeUnauthorized: {Unread: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			stripe, kept := newFakeStripe(listedSession(0, "acct_1", time.Now().Unix()-100)), newFakeStore()
			before := stripe.sessions[0]
			before.Status = "reviewing"
			known, _ := verification.ApplyImport(verification.Session{}, verification.Listed{Object: before, AsOf: before.Created})
			kept.put(known)
			i := importer(t, kept, stripe, func(c *Config) { c.Only = []string{"acct_1"} })
			i.config.Ingest = refusing{i.config.Ingest, refusal}
			summary, err := i.Run(t.Context())
			if summary.Unknown != want.Unknown || summary.Unread != want.Unread || (err != nil) != (want.Unread > 0) {
				t.Errorf("error %v: %s", err, summary)
			}
		})
	}
}

// refusing is an Ingest whose reads fail.
type refusing struct {
	Ingest
	err error
}

func (r refusing) Reread(_ context.Context, s verification.Session) (verification.Session, error) {
	return s, r.err
}

// A reference that is too long is left out, and a line of the log names the session but not the reference.
func TestAReferenceThatIsTooLongIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := listedSession(0, "", time.Now().Unix()-100)
		long.Reference, long.ReferenceTooLong = "", true
		stripe, kept := newFakeStripe(long, listedSession(6, "", time.Now().Unix()-50)), newFakeStore()
		var log bytes.Buffer
		for range 2 {
			complete(t, importer(t, kept, stripe, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }))
		}
		if text := log.String(); strings.Count(text, "over 255 bytes") != 1 || strings.Count(text, long.ID) != 1 {
			t.Errorf("want one line about %s:\n%s", long.ID, text)
		}
	})
}

func TestOneImportAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 10)...), newFakeStore()
		_, _ = kept.Lease(t.Context(), "import", "another", 10*time.Minute)
		summary, err := importer(t, kept, stripe, nil).Run(t.Context())
		if !errors.Is(err, ErrElsewhere) || stripe.requests != 0 {
			t.Errorf("error %v after %d requests: %s", err, stripe.requests, summary)
		}
		// A process that was killed holds its lease for a minute.
		_, _ = kept.Lease(t.Context(), "import", "another", time.Minute)
		complete(t, importer(t, kept, stripe, nil))
		check(t, kept, stripe)
		if kept.holder != "" {
			t.Errorf("%s still holds the lease", kept.holder)
		}
	})
}

func TestALeaseThatIsLostEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 2000)...), newFakeStore()
		stripe.fail = func(request int, _ string, _ verification.SessionQuery) error {
			if request == 6 {
				time.Sleep(2 * time.Minute)
				_, _ = kept.Lease(t.Context(), "import", "another", time.Hour)
			}
			return nil
		}
		if _, err := importer(t, kept, stripe, nil).Run(t.Context()); err == nil || stripe.requests > 7 {
			t.Errorf("error %v after %d requests", err, stripe.requests)
		}
	})
}

// The answer to a commit can be lost although the commit is done. The session is new, and it counts in the pace.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 20)...), newFakeStore()
		lossy := &lostAnswers{fakeStore: kept, lost: map[string]bool{}}
		i := importer(t, kept, stripe, func(c *Config) { c.Store = lossy })
		if summary := complete(t, i); summary.New != 20 || summary.Known != 0 || len(lossy.lost) != 20 {
			t.Errorf("%d answers were lost: %s", len(lossy.lost), summary)
		}
		if got := kept.marks[markAdded]; got == 0 {
			t.Error("the pace counts no change")
		}
		check(t, kept, stripe)
	})
}

// lostAnswers loses the answer to the first update of each session.
type lostAnswers struct {
	*fakeStore
	mu   sync.Mutex
	lost map[string]bool
}

func (l *lostAnswers) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	session, err := l.fakeStore.Update(ctx, id, fn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost[id] {
		l.lost[id], err = true, store.ErrUnavailable
	}
	return session, err
}

// The run prolongs its lease between the tries of a step, which together take longer than the lease.
func TestALeaseIsKeptBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 10)...), newFakeStore()
		i := importer(t, kept, stripe, nil)
		i.config.Stripe = hanging{i.config.Stripe, kept, t}
		if _, err := i.Run(t.Context()); !errors.Is(err, verification.ErrStripeUnavailable) {
			t.Errorf("error %v, want %v", err, verification.ErrStripeUnavailable)
		}
	})
}

// hanging answers no request until its time is over. Meanwhile another holder wants the lease.
type hanging struct {
	Stripe
	store *fakeStore
	t     *testing.T
}

func (h hanging) Sessions(ctx context.Context, _ string, _ verification.SessionQuery) (verification.SessionPage, error) {
	<-ctx.Done()
	if held, _ := h.store.Lease(h.t.Context(), leaseName, "another", time.Minute); held {
		h.t.Error("another import got the lease meanwhile")
	}
	return verification.SessionPage{}, verification.ErrStripeUnavailable
}

// A summary names where the next run resumes only if a position is stored and the same command can succeed.
func TestWhereARunResumes(t *testing.T) {
	for name, test := range map[string]struct {
		fails  int // the number of the first request that fails
		with   error
		hint   string
		resume bool
	}{
		"a wrong key at the first request": {1, verification.ErrStripeUnauthorized, "stopped early (", false},
		"a key that ended meanwhile":       {40, verification.ErrStripeUnauthorized, "stopped early (", false},
		"before a position":                {1, verification.ErrStripeUnavailable, "run the same command again", false},
		"after a position":                 {40, verification.ErrStripeUnavailable, "run the same command again", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stripe, kept := newFakeStripe(year("", 3000)...), newFakeStore()
				stripe.fail = func(request int, _ string, _ verification.SessionQuery) error {
					if request >= test.fails {
						return test.with
					}
					return nil
				}
				summary, err := importer(t, kept, stripe, nil).Run(t.Context())
				if text := summary.String(); !errors.Is(err, test.with) || !strings.Contains(text, test.hint) || strings.Contains(text, "resumes:") != test.resume {
					t.Errorf("error %v: %s", err, text)
				}
			})
		})
	}
}

// The log says what Stripe refuses: the list of an account, and not a session.
func TestTheLogOfAListThatStripeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(), newFakeStore()
		stripe.fail = func(int, string, verification.SessionQuery) error { return verification.ErrStripeUnknown }
		var log bytes.Buffer
		_, err := importer(t, kept, stripe, func(c *Config) {
			c.Only, c.Logger = []string{"acct_1"}, slog.New(slog.NewTextHandler(&log, nil))
		}).Run(t.Context())
		if text := log.String(); err == nil || !strings.Contains(text, "acct_1") || !strings.Contains(text, errList.Error()) || strings.Contains(text, "no such session") {
			t.Errorf("error %v, log:\n%s", err, text)
		}
	})
}
