package importing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/verification"
)

// year returns the sessions of an account over a year: quiet and busy weeks, a gap, and 1,500 sessions in one second.
func year(account string, count int) []verification.Object {
	rng := rand.New(rand.NewPCG(1, uint64(count)))
	end := time.Now().Unix() - 60
	begin := end - 365*day
	var sessions []verification.Object
	for n := range count {
		created := begin + rng.Int64N(365*day)
		switch {
		case n%2 == 0:
			created = begin + 200*day + rng.Int64N(7*day)
		case n%7 == 0:
			created = begin + 300*day + 17
		case created > begin+50*day && created < begin+150*day:
			created += 100 * day
		}
		sessions = append(sessions, listedSession(n, account, created))
	}
	return sessions
}

func TestEverySessionIsImportedOnceOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const platform, connected = 12_000, 250
		stripe, kept := newFakeStripe(year("", platform)...), newFakeStore()
		for _, session := range year("acct_1", connected) {
			stripe.add(session)
		}
		summary := complete(t, importer(t, kept, stripe, func(c *Config) { c.Accepted = verification.NewAccounts([]string{"acct_1", "acct_2"}) }))
		check(t, kept, stripe)
		if summary.New != platform+connected || summary.Known+summary.Reread+summary.Malformed != 0 || summary.Accounts != 3 || summary.Redacted < platform/6 {
			t.Errorf("summary: %s", summary)
		}
		// 123 pages hold all of them. The others are the search for the first session of each account, the pages that are not
		// full, and two windows that are listed twice because the busy week is forty times busier than the week before.
		if summary.Reads != stripe.requests || summary.Reads > 240 {
			t.Errorf("%d reads, %d requests; want at most 240", summary.Reads, stripe.requests)
		}
		// Within a step the order is open.
		created := func(id string) int64 { return kept.sessions[id].Created }
		for i := stepSize; i < platform; i++ {
			if created(kept.written[i]) < created(kept.written[i-stepSize]) {
				t.Fatalf("%s was imported before %s, which is older", kept.written[i-stepSize], kept.written[i])
			}
		}
		for id, session := range kept.sessions {
			if len(session.History) != 1 || session.History[0].Source != verification.SourceImport || session.Revision != 1 {
				t.Fatalf("%s has the history %+v", id, session.History)
			}
		}
		writes := len(kept.written)
		if again := complete(t, importer(t, kept, stripe, nil)); again.New != 0 || again.Known != platform+connected || len(kept.written) != writes || again.Resumed {
			t.Errorf("a second import writes %d records: %s", len(kept.written)-writes, again)
		}
	})
}

func TestAFewSessionsCostOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 100)...), newFakeStore()
		if summary := complete(t, importer(t, kept, stripe, nil)); summary.New != 100 || summary.Reads != 1 {
			t.Errorf("summary: %s", summary)
		}
		check(t, kept, stripe)
	})
}

// Sessions that are created while the import runs are imported too.
func TestSessionsThatAppearMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 1000)...), newFakeStore()
		made := 0
		kept.fail = func(call, _ string) error {
			if call == "setmark" && made < 300 {
				for range 60 {
					stripe.add(listedSession(5000+made, "", time.Now().Unix()))
					made++
				}
				time.Sleep(3 * time.Second)
			}
			return nil
		}
		complete(t, importer(t, kept, stripe, nil))
		check(t, kept, stripe)
	})
}

// TestAnImportThatIsStoppedAnywhereIsResumed: each run ends at some request or write. Together they import each session once, and do
// not begin again from the start.
func TestAnImportThatIsStoppedAnywhereIsResumed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 3000).Draw(t, "sessions")
		span := rapid.SampledFrom([]int64{1, 100, 5000, 40 * day, 900 * day}).Draw(t, "span")
		seed := rapid.Uint64().Draw(t, "seed")
		clock := time.Unix(1_790_000_000, 0)
		rng := rand.New(rand.NewPCG(seed, 0))
		stripe, kept := newFakeStripe(), newFakeStore()
		for n := range count {
			stripe.add(listedSession(n, []string{"", "acct_1"}[n%2], clock.Unix()-rng.Int64N(span)-1))
		}
		writes, stopAt := 0, 0
		var stop context.CancelFunc
		kept.fail = func(string, string) error {
			kept.mu.Lock()
			defer kept.mu.Unlock()
			if writes++; writes == stopAt {
				stop()
			}
			return nil
		}
		finished := false
		var total Summary
		for range 4 {
			var ctx context.Context
			ctx, stop = context.WithCancel(context.Background())
			writes, stopAt = 0, 1+rng.IntN(count)
			i, err := New(Config{Store: kept, Stripe: stripe, Ingest: noIngest{}, Only: []string{"", "acct_1"}, FeedMaxLen: 1_000_000, Clock: func() time.Time { return clock }})
			if err != nil {
				t.Fatal(err)
			}
			summary, err := i.Run(ctx)
			stop()
			total.New, total.Reads = total.New+summary.New, total.Reads+summary.Reads
			if finished = err == nil; finished {
				break
			}
			if !errors.Is(err, ErrInterrupted) {
				t.Fatalf("error %v", err)
			}
		}
		if !finished {
			stopAt = 0
			i, _ := New(Config{Store: kept, Stripe: stripe, Ingest: noIngest{}, Only: []string{"", "acct_1"}, FeedMaxLen: 1_000_000, Clock: func() time.Time { return clock }})
			summary, err := i.Run(context.Background())
			if err != nil {
				t.Fatalf("error %v", err)
			}
			total.New, total.Reads = total.New+summary.New, total.Reads+summary.Reads
		}
		check(t, kept, stripe)
		if sorted := slices.Sorted(slices.Values(kept.written)); len(slices.Compact(sorted)) != count || len(kept.written) != count {
			t.Errorf("%d writes for %d sessions", len(kept.written), count)
		}
		// Each stop can repeat a window; each account can cost a search for its first session.
		if most := 2*count/pageSize + 2*40 + 4*(max(windowHolds, count)/pageSize+5); total.Reads > most {
			t.Errorf("%d reads for %d sessions, want at most %d", total.Reads, count, most)
		}
	})
}

// noIngest is for imports in which no session was known before.
type noIngest struct{}

func (noIngest) Reread(_ context.Context, s verification.Session) (verification.Session, error) {
	return s, errors.New("a session is read again")
}

func (noIngest) Inherit(_ context.Context, s verification.Session) (verification.Session, error) {
	return s, nil
}

func TestAKnownSessionThatDiffersIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 50)...), newFakeStore()
		equal, differs := stripe.sessions[3], stripe.sessions[7]
		for _, o := range []verification.Object{equal, differs} {
			s, _ := verification.ApplyImport(verification.Session{}, verification.Listed{Object: o, AsOf: o.Created + 5})
			kept.put(s)
		}
		stripe.change(differs.ID, func(o *verification.Object) { o.Status, o.Report = "canceled", "vr_new" })
		summary := complete(t, importer(t, kept, stripe, nil))
		check(t, kept, stripe)
		if summary.New != 48 || summary.Known != 1 || summary.Reread != 1 || summary.Corrected != 1 || summary.Reads != 2 || stripe.gets() != 1 {
			t.Errorf("%d GETs, summary: %s", stripe.gets(), summary)
		}
		entry := kept.sessions[differs.ID].History[1]
		if entry.Source != verification.SourceStripeAPI || entry.Revision != 2 {
			t.Errorf("the read's entry is %+v", entry)
		}
	})
}

func TestReadsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 3000)...), newFakeStore()
		limited := func() *Importer { return importer(t, kept, stripe, func(c *Config) { c.Reads = 25 }) }
		runs := 0
		for last := -1; ; runs++ {
			summary, err := limited().Run(t.Context())
			if summary.Reads > 25 {
				t.Fatalf("%d reads, want at most 25", summary.Reads)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, ErrReads) || len(kept.written) <= last || runs > 10 {
				t.Fatalf("run %d: error %v, %d sessions, %d before", runs, err, len(kept.written), last)
			}
			last = len(kept.written)
		}
		check(t, kept, stripe)
		if runs < 1 {
			t.Error("one run was enough: the limit had no effect")
		}
	})
}

// A read of a known session counts too. The session is not skipped: the next run reads it.
func TestReadsOfSessionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 20)...), newFakeStore()
		for _, o := range stripe.sessions {
			o.Status = "reviewing"
			s, _ := verification.ApplyImport(verification.Session{}, verification.Listed{Object: o, AsOf: o.Created})
			kept.put(s)
		}
		i := importer(t, kept, stripe, func(c *Config) { c.Reads = 8 })
		for {
			summary, err := i.Run(t.Context())
			if summary.Reads > 8 {
				t.Fatalf("%d reads", summary.Reads)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, ErrReads) || stripe.gets() > 100 {
				t.Fatalf("error %v after %d GETs", err, stripe.gets())
			}
		}
		differing := 0
		for _, o := range stripe.sessions {
			if kept.sessions[o.ID].Differs(o) {
				differing++
			}
		}
		if differing > 0 {
			t.Errorf("%d sessions still differ", differing)
		}
	})
}

// Webhooks arrive while the import runs, for sessions that it has imported and for others that it has not. In the end each
// record is what Stripe has, and each failure is counted once.
func TestWebhooksThatArriveMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 1200
		stripe, kept := newFakeStripe(year("", count)...), newFakeStore()
		i := importer(t, kept, stripe, nil)
		in := i.config.Ingest.(*ingest.Ingest)
		events := 0
		i.config.Progress = func(Progress) {
			for range 15 {
				time.Sleep(time.Second)
				changed := stripe.change(fmt.Sprintf("vs_%06d", (events*7)%count), func(o *verification.Object) {
					if o.Status == "canceled" || o.Redaction > 0 {
						return
					}
					o.Status, o.Error = "requires_input", verification.Error{Code: "selfie_face_mismatch", Reason: "No."}
					o.Report = fmt.Sprintf("vr_new_%d", events)
				})
				events++
				if changed.Status == "canceled" || changed.Redaction > 0 {
					continue
				}
				event := verification.Event{
					ID: fmt.Sprintf("evt_%d", events), Type: verification.EventRequiresInput, Source: verification.SourceWebhook,
					Second: time.Now().Unix(), Object: changed,
				}
				if _, err := in.Apply(t.Context(), event); err != nil {
					t.Fatal(err)
				}
			}
		}
		complete(t, i)
		check(t, kept, stripe)
		for id, session := range kept.sessions {
			failures := map[string]bool{}
			for _, entry := range session.History {
				if entry.Error.Code != "" && entry.Result.Report != "" {
					failures[entry.Result.Report] = true
				}
			}
			if int(session.FailedAttempts) != len(failures) && !session.Tombstone() {
				t.Errorf("%s: %d failures, want %d", id, session.FailedAttempts, len(failures))
			}
		}
		if events < 100 {
			t.Errorf("only %d events arrived", events)
		}
	})
}

// A page that ends in this second is newer than its own time. The run must get past it.
func TestManySessionsOfThisSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 200)...), newFakeStore()
		for n := range 250 {
			stripe.add(listedSession(1000+n, "", time.Now().Unix()))
		}
		complete(t, importer(t, kept, stripe, func(c *Config) { c.Reads = 100 }))
		check(t, kept, stripe)
	})
}

// A session can be deleted between the list and its read.
func TestASessionThatStripeNoLongerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := newFakeStripe(year("", 10)...), newFakeStore()
		gone := stripe.sessions[4]
		known, _ := verification.ApplyImport(verification.Session{}, verification.Listed{Object: gone, AsOf: gone.Created})
		kept.put(known)
		stripe.change(gone.ID, func(o *verification.Object) { o.Status = "reviewing" })
		i := importer(t, kept, stripe, nil)
		i.config.Ingest = deleted{i.config.Ingest}
		if summary := complete(t, i); summary.Unknown != 1 || summary.New != 9 || summary.Reread != 0 {
			t.Errorf("summary: %s", summary)
		}
	})
}

type deleted struct{ Ingest }

func (deleted) Reread(_ context.Context, s verification.Session) (verification.Session, error) {
	return s, verification.ErrStripeUnknown
}
