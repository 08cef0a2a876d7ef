package redisstore

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// crowd writes the sessions from..to-1 as fast as possible. Of the first 1,000 sessions every tenth is blocked, every
// tenth denied forever, every tenth stuck in processing and every tenth unresolved: 100 of each, in any order of
// writing. All others are in none of these lists.
func crowd(t testing.TB, s *Store, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	next := make(chan int)
	var writers sync.WaitGroup
	for range 32 {
		writers.Go(func() {
			for n := range next {
				e := crowdEvent(n)
				_, err := s.Update(ctx, e.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
					session, outcome := verification.Transition(current, e)
					session.Unresolved = n < 1000 && n%10 == 3
					return session, outcome.Write, nil
				})
				if err != nil {
					t.Errorf("session %d: %v", n, err)
				}
			}
		})
	}
	for n := from; n < to; n++ {
		next <- n
	}
	close(next)
	writers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func crowdEvent(n int) verification.Event {
	e := event(crowdID(n), 0, passed)
	e.Second += int64(n * 7919 % 1_000_000) // the newest are anywhere
	e.RecordTime = e.Second*1000 + 250
	if n%3 == 0 {
		e.Type, e.Object.Status = verification.EventCreated, verification.StatusRequiresInput
	}
	if n >= 1000 {
		return e
	}
	switch n % 10 {
	case 0:
		failing(&e)
	case 1:
		failing(&e)
		e.Object.Error.Code = "under_supported_age"
	case 2:
		e.Type, e.Object.Status = verification.EventProcessing, verification.StatusProcessing
	case 4:
		e.Object.Reference = "person-4711"
	}
	return e
}

func crowdID(n int) string { return fmt.Sprintf("vs_1Mgnjd%06d", n) }

var crowdQueries = map[string]struct {
	query store.ListQuery
	digit int // the last of the numbers of those that are wanted
}{
	"blocked":       {store.ListQuery{List: verification.ListLimitReached}, 0},
	"not retryable": {store.ListQuery{List: verification.ListNotRetryable}, 1},
	"stuck":         {store.ListQuery{List: verification.ListProcessing, NotAfter: second(1_800_000_000)}, 2},
	"in doubt":      {store.ListQuery{List: verification.ListInDoubt}, 3},
	"of a person":   {store.ListQuery{Reference: "person-4711"}, 4},
}

// wantedOf returns the ids that a list should have, in its order.
func wantedOf(digit int) []string {
	var cursors []store.ListCursor
	for n := digit; n < 1000; n += 10 {
		e := crowdEvent(n)
		cursor := store.ListCursor{Second: e.Second, ID: e.Object.ID}
		if digit == 4 {
			cursor.Second = e.Object.Created
		}
		cursors = append(cursors, cursor)
	}
	slices.SortFunc(cursors, newestFirst)
	return idsOf(cursors)
}

var calls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+),`)

// commandsOf counts the commands that Redis runs, including those of scripts, and the keys that it looks up.
func commandsOf(t *testing.T, raw *redis.Client, do func()) map[string]int {
	t.Helper()
	look := func() map[string]int {
		counts := make(map[string]int)
		for _, match := range calls.FindAllStringSubmatch(raw.Info(testContext(t), "commandstats").Val(), -1) {
			counts[match[1]], _ = strconv.Atoi(match[2])
		}
		for name, value := range parseInfo(raw.Info(testContext(t), "stats").Val()) {
			if strings.HasPrefix(name, "keyspace_") {
				counts[name], _ = strconv.Atoi(value)
			}
		}
		delete(counts, "info")
		return counts
	}
	before := look()
	do()
	after := look()
	for name, count := range before {
		if after[name] -= count; after[name] == 0 {
			delete(after, name)
		}
	}
	return after
}

// TestListingIsFlatInTheRest: 100 of 100,000 sessions are blocked. List returns exactly these, the newest first, with
// the same commands and lookups as among 1,000 sessions.
func TestListingIsFlatInTheRest(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 100,000 sessions; without -short: go test -count=1 ./server/internal/store/redisstore")
	}
	server := redistest.Start(t)
	s, raw := openStore(t, Options{Addrs: []string{server.Addr}, Policy: listPolicy}), rawClient(t, server.Addr)
	costs := make(map[string]map[string]int)
	written := 0
	for _, size := range []int{1000, 100_000} {
		crowd(t, s, written, size)
		written = size
		for name, c := range crowdQueries {
			query := c.query
			query.Limit = 20
			var got []string
			pages := 0
			cost := commandsOf(t, raw, func() {
				for more := true; more; more = query.After.ID != "" {
					page, err := s.List(testContext(t), query)
					if err != nil {
						t.Fatal(err)
					}
					pages++
					got = append(got, sessionIDs(page)...)
					query.After = page.Next
				}
			})
			if want := wantedOf(c.digit); !slices.Equal(got, want) || len(got) != 100 {
				t.Errorf("%s, among %d sessions: %d listed: %v; want %v", name, size, len(got), got, want)
			}
			t.Logf("%s, among %d sessions: %d pages, %v", name, size, pages, cost)
			if cost["get"] != 100 || cost["eval"] > pages*partitions {
				t.Errorf("%s: %v; want 100 records and %d reads of lists at the most", name, cost, pages*partitions)
			}
			if first, measured := costs[name]; measured && !maps.Equal(first, cost) {
				t.Errorf("%s: among %d sessions it takes %v; among 1,000 it took %v", name, size, cost, first)
			}
			costs[name] = cost
		}
	}
	// Half of a long list is too young: it is not read either.
	cost := commandsOf(t, raw, func() {
		query := store.ListQuery{List: verification.ListRequiresInput, NotAfter: second(1_790_500_000), Limit: 20}
		page, err := s.List(testContext(t), query)
		if err != nil || len(page.Sessions) != 20 || page.Sessions[0].UpdateTime > *query.NotAfter || page.Sessions[0].UpdateTime < *query.NotAfter-1000 {
			t.Errorf("%d sessions up to a second, %v", len(page.Sessions), err)
		}
	})
	if cost["get"] != 20 || cost["eval"] != partitions {
		t.Errorf("a page up to a second takes %v", cost)
	}
	if keys := raw.DBSize(testContext(t)).Val(); keys < 100_000 {
		t.Errorf("there are %d keys only", keys)
	}
}

// BenchmarkList reads the first page of the blocked sessions.
func BenchmarkList(b *testing.B) {
	for _, size := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("of=%d", size), func(b *testing.B) {
			server := redistest.Start(b)
			s := openStore(b, Options{Addrs: []string{server.Addr}, Policy: listPolicy})
			crowd(b, s, 0, size)
			for b.Loop() {
				page, err := s.List(b.Context(), store.ListQuery{List: verification.ListLimitReached, Limit: 50})
				if err != nil || len(page.Sessions) != 50 {
					b.Fatalf("%d sessions, %v", len(page.Sessions), err)
				}
			}
		})
	}
}

// BenchmarkRepair checks 10,000 sessions whose lists are right.
func BenchmarkRepair(b *testing.B) {
	server := redistest.Start(b)
	s := openStore(b, Options{Addrs: []string{server.Addr}, Policy: listPolicy})
	crowd(b, s, 0, 10_000)
	for b.Loop() {
		if found := repair(b, s); found.Added+found.Removed != 0 {
			b.Fatalf("found %+v", found)
		}
	}
}

func second(unix int64) *int64 { return &unix }
