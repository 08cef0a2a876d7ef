package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

var listPolicy = verification.RetryPolicy{MaxRetries: 0, DenyCodes: verification.DefaultDenyCodes()}

// entriesOf returns all entries of all lists, as "list session second", sorted. It reads them directly from Redis.
func entriesOf(t *testing.T, s *Store, raw *redis.Client) []string {
	t.Helper()
	var all []string
	for partition := range partitions {
		for list := range verification.List(verification.ListCount) {
			for _, z := range raw.ZRangeWithScores(testContext(t), s.keys.list(partition, list), 0, -1).Val() {
				all = append(all, fmt.Sprintf("%s %s %.0f", listNames[list], z.Member, z.Score))
			}
		}
	}
	slices.Sort(all)
	return all
}

// truth returns what entriesOf should return according to the records.
func truth(t *testing.T, s *Store) []string {
	t.Helper()
	var all []string
	err := s.Walk(testContext(t), func(_ context.Context, session verification.Session) error {
		for list := range verification.List(verification.ListCount) {
			if s.policy.Lists(session).Has(list) {
				all = append(all, fmt.Sprintf("%s %s %d", listNames[list], session.ID, session.UpdateTime))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func wantTruth(t *testing.T, s *Store, raw *redis.Client) {
	t.Helper()
	if got, want := entriesOf(t, s, raw), truth(t, s); !slices.Equal(got, want) {
		t.Errorf("the lists hold\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func proceed(context.Context) error { return nil }

func repair(t testing.TB, s *Store) store.ListRepair {
	t.Helper()
	found, err := s.RepairLists(testContext(t), proceed)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestListChangesTouchOnlyWhatChanges(t *testing.T) {
	s := openStore(t, Options{Addrs: []string{"127.0.0.1:1"}, Policy: listPolicy})
	open := verification.Session{ID: "vs_a", Revision: 1, History: []verification.Entry{{Revision: 1}}}
	open.Status, open.UpdateTime = verification.StatusRequiresInput, 100
	with := func(change func(*verification.Session)) verification.Session {
		session := open
		change(&session)
		return session
	}
	checked := with(func(s *verification.Session) { s.Status, s.UpdateTime = verification.StatusProcessing, 101 })
	nowhere := "requires_input -/100 processing -/- verified -/- canceled -/- limit_reached -/- not_retryable -/- in_doubt -/-"
	blocked := with(func(s *verification.Session) { s.ShownFailure = 1 })
	erased := with(func(s *verification.Session) { s.Redaction = verification.RedactionProcessing })
	for name, c := range map[string]struct {
		before, after verification.Session
		want          string
	}{
		"begins":                  {verification.Session{}, open, "requires_input 100/-"},
		"stays":                   {open, open, ""},
		"moves to another list":   {open, checked, "requires_input -/100 processing 101/-"},
		"enters one more":         {open, blocked, "limit_reached 100/-"},
		"leaves one":              {blocked, open, "limit_reached -/100"},
		"another second":          {blocked, with(func(s *verification.Session) { s.ShownFailure, s.UpdateTime = 1, 102 }), "requires_input 102/100 limit_reached 102/100"},
		"is redacted":             {open, erased, nowhere},
		"hears more, as redacted": {erased, erased, strings.ReplaceAll(nowhere, "100", "-")},
	} {
		var got []string
		for _, change := range s.listChanges(c.before, c.after) {
			got = append(got, listNames[change.list], change.second+"/"+change.former)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v; want %s", name, got, c.want)
		}
	}
}

// TestRepairPutsListsRight: entries of an older version, of another policy or of an accident are not returned and are
// removed. A repair adds missing entries too.
func TestRepairPutsListsRight(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr), testContext(t)
		for n := range 40 {
			apply(t, s, event(fmt.Sprintf("vs_%02d", n), n, failing))
		}
		apply(t, s, event("vs_gone", 0, failing))
		apply(t, s, event("vs_erased", 0, failing))
		apply(t, s, event("vs_erased", 1, redacted))
		wantTruth(t, s, raw)

		blocked := func(id string) string { return s.keys.list(partitionOf(id), verification.ListLimitReached) }
		raw.Del(ctx, s.keys.record("vs_gone"))
		raw.ZRem(ctx, blocked("vs_00"), "vs_00")
		raw.ZAdd(ctx, blocked("vs_01"), redis.Z{Score: 17, Member: "vs_01"})
		raw.ZAdd(ctx, s.keys.list(partitionOf("vs_02"), verification.ListVerified), redis.Z{Score: 17, Member: "vs_02"})
		raw.ZAdd(ctx, blocked("vs_erased"), redis.Z{Score: 17, Member: "vs_erased"})
		found := repair(t, s)
		if want := (store.ListRepair{Sessions: 41, Added: 2, Removed: 2 + 2}); found != want {
			t.Errorf("found %+v; want %+v", found, want) // vs_gone was in two lists
		}
		wantTruth(t, s, raw)

		for _, key := range raw.Keys(ctx, "*:l:*").Val() { // as an older version would have left it
			raw.Del(ctx, key)
		}
		if found := repair(t, s); found != (store.ListRepair{Sessions: 41, Added: 80}) {
			t.Errorf("found %+v; want 80 missing", found)
		}
		wantTruth(t, s, raw)
		if found := repair(t, s); found != (store.ListRepair{Sessions: 41}) {
			t.Errorf("once more: %+v; want nothing", found)
		}

		other := openStore(t, Options{Addrs: []string{addr}, Policy: verification.RetryPolicy{MaxRetries: 1, DenyCodes: []string{"document_expired"}}})
		if last, _, err := other.ListsRepaired(ctx); err != nil || last != 0 {
			t.Errorf("under another policy repaired at %d, %v; want never", last, err)
		}
		if found := repair(t, other); found != (store.ListRepair{Sessions: 41, Added: 40, Removed: 40}) {
			t.Errorf("under another policy: %+v; want 40 from one list to another", found)
		}
		wantTruth(t, other, raw)
		if last, first, err := other.ListsRepaired(ctx); err != nil || last == 0 || first == 0 {
			t.Errorf("repaired at %d, first %d, %v", last, first, err)
		}
		if last, _, err := s.ListsRepaired(ctx); err != nil || last != 0 {
			t.Errorf("under the first policy repaired at %d, %v; want never, since then", last, err)
		}
	})
}

// TestWrongEntriesAreNotListedAndAreRemoved: a page follows the records, whatever the entries say, and is full all the same.
func TestWrongEntriesAreNotListedAndAreRemoved(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr), testContext(t)
		var want []string
		for n := range 30 {
			id := fmt.Sprintf("vs_%02d", n)
			apply(t, s, event(id, n, failing))
			want = append([]string{id}, want...)
			wrong := fmt.Sprintf("vs_w%02d", n)
			apply(t, s, event(wrong, n)) // in processing
			for _, id := range []string{wrong, "vs_nobody" + wrong} {
				raw.ZAdd(ctx, s.keys.list(partitionOf(id), verification.ListLimitReached), redis.Z{Score: 1_790_000_000 + float64(n), Member: id})
			}
		}
		raw.ZAdd(ctx, s.keys.list(partitionOf("vs_07"), verification.ListLimitReached), redis.Z{Score: 1_790_009_999, Member: "vs_07"})
		raw.Set(ctx, s.keys.record("vs_corrupt"), "short", 0)
		raw.ZAdd(ctx, s.keys.list(partitionOf("vs_corrupt"), verification.ListLimitReached), redis.Z{Score: 1_790_009_999, Member: "vs_corrupt"})
		page, err := s.List(ctx, store.ListQuery{List: verification.ListLimitReached, Limit: 100})
		if got := sessionIDs(page); err != nil || page.Next.ID != "" || !slices.Equal(got, want) {
			t.Errorf("List = %v, then %+v, %v; want %v", got, page.Next, err, want)
		}
		raw.Del(ctx, s.keys.record("vs_corrupt"))
		raw.ZRem(ctx, s.keys.list(partitionOf("vs_corrupt"), verification.ListLimitReached), "vs_corrupt")
		wantTruth(t, s, raw)
		page, err = s.List(ctx, store.ListQuery{List: verification.ListLimitReached, Limit: 10})
		if got := sessionIDs(page); err != nil || !slices.Equal(got, want[:10]) {
			t.Errorf("List = %v, %v; want %v", got, err, want[:10])
		}
	})
}

// TestWrongEntriesOfAReferenceAreNotListed: a crash on a Cluster can leave wrong entries in the index of a reference.
func TestWrongEntriesOfAReferenceAreNotListed(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		apply(t, s, event("vs_a", 0, withReference("case")))
		apply(t, s, event("vs_b", 0, withReference("other")))
		for _, id := range []string{"vs_b", "vs_nobody"} {
			raw.ZAdd(ctx, s.keys.reference("case"), redis.Z{Score: 1_790_000_001, Member: id})
		}
		page, err := s.List(ctx, store.ListQuery{Reference: "case", Limit: 1})
		if got := sessionIDs(page); err != nil || page.Next.ID != "" || !slices.Equal(got, []string{"vs_a"}) {
			t.Errorf("List = %v, then %+v, %v; want vs_a", got, page.Next, err)
		}
	})
}

func sessionIDs(page store.ListPage) []string {
	var ids []string
	for _, session := range page.Sessions {
		ids = append(ids, session.ID)
	}
	return ids
}

// TestAFloodOfWrongEntriesIsBounded: a flood of wrong entries makes a page short but not endless. The next pages
// reach the end.
func TestAFloodOfWrongEntriesIsBounded(t *testing.T) {
	addr := redistest.Start(t).Addr
	s, raw, ctx := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr), testContext(t)
	apply(t, s, event("vs_blocked", 0, failing))
	for n := range 3000 {
		id := fmt.Sprintf("vs_nobody%d", n)
		raw.ZAdd(ctx, s.keys.list(partitionOf(id), verification.ListLimitReached), redis.Z{Score: 1_790_000_001 + float64(n%7), Member: id})
	}
	query := store.ListQuery{List: verification.ListLimitReached, Limit: 10}
	page, err := s.List(ctx, query)
	if err != nil || len(page.Sessions) != 0 || page.Next.ID == "" {
		t.Fatalf("the first page: %v, then %+v, %v; want none yet, and more", sessionIDs(page), page.Next, err)
	}
	var got []string
	for pages := 1; page.Next.ID != ""; pages++ {
		query.After = page.Next
		if page, err = s.List(ctx, query); err != nil || pages > 100 {
			t.Fatalf("page %d: %v", pages, err)
		}
		got = append(got, sessionIDs(page)...)
	}
	if !slices.Equal(got, []string{"vs_blocked"}) {
		t.Errorf("listed %v", got)
	}
	wantTruth(t, s, raw)
}

// TestG11_ARepairRacesWithARedaction: an entry that was derived from a record before its redaction is not restored,
// and a redaction removes unexpected entries.
func TestG11_ARepairRacesWithARedaction(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr), testContext(t)
		apply(t, s, event("vs_a", 0, failing))
		before, err := s.read(ctx, "vs_a")
		if err != nil {
			t.Fatal(err)
		}
		unexpected := s.keys.list(partitionOf("vs_a"), verification.ListInDoubt)
		raw.ZAdd(ctx, unexpected, redis.Z{Score: 1, Member: "vs_a"})
		apply(t, s, event("vs_a", 1, redacted))
		found, busy, err := s.relist(ctx, []relisting{{"vs_a", before.header, s.listings(before.session)}})
		if err != nil || found != (store.ListRepair{}) || !slices.Equal(busy, []string{"vs_a"}) {
			t.Errorf("relist: %+v, busy %v, %v; want vs_a to be busy", found, busy, err)
		}
		if got := entriesOf(t, s, raw); len(got) != 0 {
			t.Errorf("the lists hold %v", got)
		}
	})
}

func passed(e *verification.Event) {
	e.Type, e.Object.Status = verification.EventVerified, verification.StatusVerified
}

// TestRepairsRaceWithWriters: repairs run beside writers. At the end the lists agree with the records, without a
// further repair.
func TestRepairsRaceWithWriters(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr)
		done := make(chan struct{})
		var writers, repairs sync.WaitGroup
		for n := range 6 {
			writers.Go(func() {
				id := fmt.Sprintf("vs_%d", n)
				for i := range 30 {
					change := failing
					if (i+n)%2 == 0 {
						change = passed
					}
					if i == 29 && n%2 == 0 {
						change = redacted
					}
					apply(t, s, event(id, i, change))
				}
			})
		}
		for range 2 {
			repairs.Go(func() {
				for {
					if _, err := s.RepairLists(testContext(t), proceed); err != nil {
						t.Errorf("RepairLists: %v", err)
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		await.All(t, &writers)
		close(done)
		await.All(t, &repairs)
		wantTruth(t, s, raw)
	})
}

// TestRepairsFindWhatBusySessionsLack: a commit updates only the lists that its change concerns. A repair must add
// other missing entries although the session is written all the time.
func TestRepairsFindWhatBusySessionsLack(t *testing.T) {
	addr := redistest.Start(t).Addr
	s, raw := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr)
	const busy, repairs = 4, 10
	for n := range busy {
		apply(t, s, event(fmt.Sprintf("vs_%d", n), 1_000_000, failing))
	}
	writing, stop := context.WithCancel(testContext(t))
	defer stop()
	var writers sync.WaitGroup
	for n := range busy {
		writers.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				apply(t, s, event(fmt.Sprintf("vs_%d", n), i)) // too late to change anything
			}
		})
	}
	added, left := 0, 0
	for range repairs {
		for list := range verification.List(verification.ListCount) {
			raw.Del(testContext(t), s.listKeys(list)...)
		}
		found := repair(t, s)
		added, left = added+found.Added, left+found.Busy
	}
	stop()
	writers.Wait()
	if added+2*left != 2*busy*repairs || left > busy*repairs/4 {
		t.Errorf("%d entries were added, and %d times a session was too busy; want %d and few", added, left, 2*busy*repairs)
	}
}

// TestLostAnswersAndTheLists: a commit that is sent again does not restore an entry that a later commit has removed.
func TestLostAnswersAndTheLists(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	s, raw := openStore(t, Options{Addrs: []string{proxy.addr()}, Policy: listPolicy}), rawClient(t, server.Addr)
	apply(t, s, event("vs_warm", 0, failing))
	for n, change := range []func(*verification.Event){failing, canceled, redacted} {
		proxy.loseAnswers("evalsha", 2)
		apply(t, s, event("vs_a", n, change))
		if proxy.lost() != 0 {
			t.Fatal("no answer was lost")
		}
		wantTruth(t, s, raw)
	}
}

// TestAForeignListLeavesNothingHalfWritten: a list of a foreign type is found before anything is written.
func TestAForeignListLeavesNothingHalfWritten(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy}), rawClient(t, addr), testContext(t)
		raw.Set(ctx, s.keys.list(partitionOf("vs_a"), verification.ListLimitReached), "foreign", 0)
		if _, err := s.Update(ctx, "vs_a", applying(event("vs_a", 0, failing))); err == nil {
			t.Error("Update has no error")
		}
		partition := partitionOf("vs_a")
		if n := raw.Exists(ctx, s.keys.record("vs_a"), s.keys.feed(partition), s.keys.list(partition, verification.ListRequiresInput)).Val(); n != 0 {
			t.Errorf("%d keys were written", n)
		}
	})
}

func TestFingerprintsTellWhatListsDependOn(t *testing.T) {
	base := listFingerprint(verification.RetryPolicy{MaxRetries: 2, DenyCodes: []string{"a", "b"}})
	for name, c := range map[string]struct {
		policy verification.RetryPolicy
		same   bool
	}{
		"another order":    {verification.RetryPolicy{MaxRetries: 2, DenyCodes: []string{"b", "a", "b"}}, true},
		"a cooldown":       {verification.RetryPolicy{MaxRetries: 2, DenyCodes: []string{"a", "b"}, Cooldown: 1}, true},
		"another limit":    {verification.RetryPolicy{MaxRetries: 3, DenyCodes: []string{"a", "b"}}, false},
		"another code":     {verification.RetryPolicy{MaxRetries: 2, DenyCodes: []string{"a", "c"}}, false},
		"codes run into 1": {verification.RetryPolicy{MaxRetries: 2, DenyCodes: []string{"a b"}}, false},
	} {
		if got := listFingerprint(c.policy); (got == base) != c.same {
			t.Errorf("%s: %s and %s", name, got, base)
		}
	}
}
