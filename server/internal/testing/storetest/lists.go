package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Policy is the retry policy with which the store under test must be opened.
var Policy = verification.RetryPolicy{MaxRetries: 1, DenyCodes: verification.DefaultDenyCodes()}

// listAll reads a list to its end, in pages of the given size.
func listAll(t *testing.T, s store.Store, query store.ListQuery, size int) (sessions []verification.Session) {
	t.Helper()
	query.Limit = size
	for range 10_000 {
		page, err := s.List(testContext(t), query)
		if err != nil {
			t.Fatalf("List(%+v): %v", query, err)
		}
		if len(page.Sessions) > size {
			t.Errorf("List(%+v): %d sessions", query, len(page.Sessions))
		}
		sessions = append(sessions, page.Sessions...)
		if page.Next == (store.ListCursor{}) {
			return sessions
		}
		query.After = page.Next
	}
	t.Fatalf("List(%+v) does not end", query)
	return nil
}

func ids(sessions []verification.Session) []string {
	all := make([]string, len(sessions))
	for i, session := range sessions {
		all[i] = session.ID
	}
	return all
}

// wantLists compares the lists that hold each session with the lists that its record implies.
func wantLists(t *testing.T, s store.Store, sessionIDs ...string) (seen verification.Lists) {
	t.Helper()
	for list := range verification.List(verification.ListCount) {
		var want []string
		for _, id := range sessionIDs {
			if in := Policy.Lists(get(t, s, id)); in.Has(list) {
				want = append(want, id)
			}
			seen |= Policy.Lists(get(t, s, id))
		}
		got := ids(listAll(t, s, store.ListQuery{List: list}, 50))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("list %d: %v; want %v", list, got, want)
		}
	}
	return seen
}

func failingWith(code string) func(*verification.Event) {
	return func(e *verification.Event) { e.Object.Error = verification.Error{Code: code} }
}

// listsFollowTheRecord: a session is in exactly the lists that its record implies.
func listsFollowTheRecord(t *testing.T, s store.Store) {
	ctx := testContext(t)
	grant := func(current verification.Session) (verification.Session, bool, error) {
		next, _, changed := verification.GrantRetry(current, Policy, time.Unix(t0+1000, 0), "")
		return next, changed, nil
	}
	archive := func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.Archive(current, time.Second, time.Unix(t0+1_000_000, 0))
		return next, changed, nil
	}
	steps := []struct {
		what   string
		event  verification.Event
		update store.UpdateFunc
	}{
		{"begins with a check", event("vs_a", 0), nil},
		{"fails", event("vs_a", 1), nil},
		{"may try again", event("vs_a", 1), grant},
		{"is checked again", event("vs_a", 2), nil},
		{"fails once more", event("vs_a", 3), nil},
		{"has an unknown status", event("vs_a", 4, func(e *verification.Event) { e.Object.Status = "reviewing" }), nil},
		{"fails for good", event("vs_a", 5, failingWith("under_supported_age")), nil},
		{"is verified", event("vs_a", 6, verified), nil},
		{"becomes unresolved", event("vs_a", 7), nil},
		{"is verified for sure", event("vs_a", 8, verified), nil},
		{"is archived", event("vs_a", 8), archive},
		{"comes back", event("vs_a", 11), nil},
		{"is redacted", event("vs_a", 12, redacted), nil},
		{"hears once more", event("vs_a", 14), nil},
	}
	var seen verification.Lists
	apply(t, s, event("vs_b", 1))
	for _, step := range steps {
		update := step.update
		if update == nil {
			update = applying(step.event)
		}
		for range 2 { // a duplicate changes nothing
			if _, err := s.Update(ctx, "vs_a", update); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("vs_a %s: lists %07b", step.what, Policy.Lists(get(t, s, "vs_a")))
		seen |= wantLists(t, s, "vs_a", "vs_b")
	}
	if want := verification.Lists(1<<verification.ListCount - 1); seen != want&^(1<<verification.ListCanceled) {
		t.Errorf("the steps show the lists %07b only", seen)
	}
	apply(t, s, event("vs_c", 0, func(e *verification.Event) { e.Object.Status = verification.StatusCanceled }))
	wantLists(t, s, "vs_a", "vs_b", "vs_c")
}

// listsInOrder: a list has the newest session first, and orders sessions of one second by the bytes of their ids. The size of
// a page and the order of arrival change nothing.
func listsInOrder(t *testing.T, s store.Store) {
	var want []store.ListCursor
	crowded := idsOf(s, 3, 60) // half of all in one partition
	for n := range 120 {
		id := fmt.Sprintf("vs_%c%03d", "aBcD_9"[n%6], n)
		if n%2 == 0 {
			id = crowded[n/2]
		}
		e := event(id, 0)
		e.Second = t0 + int64(n*7%5)
		if n%3 == 0 {
			e.Second = t0 + 100 + int64(n)
		}
		apply(t, s, e)
		apply(t, s, event(fmt.Sprintf("vs_other%d", n), 1))
		want = append(want, store.ListCursor{Second: e.Second, ID: e.Object.ID})
	}
	slices.SortFunc(want, func(a, b store.ListCursor) int {
		return cmp.Or(cmp.Compare(b.Second, a.Second), cmp.Compare(b.ID, a.ID))
	})
	for _, size := range []int{1, 2, 7, 50, 119, 120, 121, 1000} {
		var got []store.ListCursor
		for _, session := range listAll(t, s, store.ListQuery{List: verification.ListProcessing}, size) {
			got = append(got, store.ListCursor{Second: session.UpdateTime, ID: session.ID})
		}
		same(t, fmt.Sprintf("the list in pages of %d", size), got, want)
	}
	for _, bound := range []int64{-1, 0, 1, t0 - 1, t0, t0 + 2, t0 + 100, t0 + 130, t0 + 1000} {
		var got []store.ListCursor
		for _, session := range listAll(t, s, store.ListQuery{List: verification.ListProcessing, NotAfter: &bound}, 9) {
			got = append(got, store.ListCursor{Second: session.UpdateTime, ID: session.ID})
		}
		from := slices.IndexFunc(want, func(p store.ListCursor) bool { return p.Second <= bound })
		if from < 0 {
			from = len(want)
		}
		same(t, fmt.Sprintf("the list up to t0%+d", bound-t0), got, want[from:])
	}
	if _, err := s.List(testContext(t), store.ListQuery{List: verification.ListProcessing}); err == nil {
		t.Error("a page of no sessions has no error")
	}
	if _, err := s.List(testContext(t), store.ListQuery{List: verification.ListCount, Limit: 1}); err == nil {
		t.Error("a list that does not exist has no error")
	}
}

// listsByReference: a reference lists all sessions of its person by creation time, and no others.
func listsByReference(t *testing.T, s store.Store) {
	want := func(reference string, want ...string) {
		t.Helper()
		for _, size := range []int{1, 2, 50} {
			same(t, "the sessions of "+reference, ids(listAll(t, s, store.ListQuery{Reference: reference}, size)), want)
		}
	}
	want("case")
	apply(t, s, event("vs_b", 0, withReference("case"), createdAt(t0+5)))
	apply(t, s, event("vs_a", 3, withReference("case"), createdAt(t0+5)))
	apply(t, s, event("vs_c", 1, withReference("case"), createdAt(0)))
	apply(t, s, event("vs_d", 1, withReference("case"), createdAt(t0+9)))
	apply(t, s, event("vs_e", 1, withReference("other"), createdAt(t0+9)))
	want("case", "vs_d", "vs_b", "vs_a", "vs_c")
	want("other", "vs_e")
	apply(t, s, event("vs_d", 2, withReference("other"), createdAt(t0+9)))
	apply(t, s, event("vs_b", 2, withReference("case"), redacted))
	want("case", "vs_a", "vs_c")
	want("other", "vs_e", "vs_d")
}

// listsUnderConcurrency: whichever writer wins, the lists agree with the record, also with a repair at the same time.
func listsUnderConcurrency(t *testing.T, s store.Store) {
	repairs := listRepairs(t, s)
	var all []string
	var wg sync.WaitGroup
	for n := range 6 {
		id := fmt.Sprintf("vs_%d", n)
		all = append(all, id)
		for i := range 6 {
			wg.Go(func() {
				change := []func(*verification.Event){withReference("case")}
				if i == 5 && n%2 == 0 {
					change = append(change, redacted)
				}
				apply(t, s, event(id, i, change...))
			})
		}
	}
	for range 3 {
		wg.Go(func() {
			if _, err := repairs.RepairLists(testContext(t), proceed); err != nil {
				t.Errorf("RepairLists: %v", err)
			}
		})
	}
	wg.Wait()
	wantLists(t, s, all...)
}

func listRepairs(t *testing.T, s store.Store) store.ListRepairs {
	t.Helper()
	repairs, ok := s.(store.ListRepairs)
	if !ok {
		t.Fatalf("%T has no store.ListRepairs", s)
	}
	return repairs
}

// repairsOfRightLists: a repair of right lists finds nothing, its time is stored, and it ends with the error of its step.
func repairsOfRightLists(t *testing.T, s store.Store) {
	repairs, ctx := listRepairs(t, s), testContext(t)
	for n, id := range []string{"vs_a", "vs_b", "vs_c", "vs_d"} {
		apply(t, s, event(id, n))
	}
	apply(t, s, event("vs_d", 9, redacted))
	if last, first, err := repairs.ListsRepaired(ctx); err != nil || last != 0 || first != 0 {
		t.Errorf("before the first repair: %d, %d, %v; want 0", last, first, err)
	}
	steps := 0
	_, err := repairs.RepairLists(ctx, func(context.Context) error {
		if steps++; steps > 1 {
			return errStep
		}
		return nil
	})
	wantError(t, "RepairLists with a step that fails", err, errStep)
	if last, _, err := repairs.ListsRepaired(ctx); err != nil || last != 0 {
		t.Errorf("after half a repair: %d, %v; want 0", last, err)
	}
	found, err := repairs.RepairLists(ctx, proceed)
	if want := (store.ListRepair{Sessions: 4}); err != nil || found != want {
		t.Errorf("RepairLists: %+v, %v; want %+v", found, err, want)
	}
	if last, first, err := repairs.ListsRepaired(ctx); err != nil || first == 0 || last < first {
		t.Errorf("after it: %d, %d, %v", last, first, err)
	}
	wantLists(t, s, "vs_a", "vs_b", "vs_c", "vs_d")
}

var errStep = errors.New("the step's own")

func proceed(context.Context) error { return nil }
