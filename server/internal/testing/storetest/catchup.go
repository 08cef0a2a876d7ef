package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// catchUp returns the store as a store.CatchUp. Every Store under test must be one.
func catchUp(t *testing.T, s store.Store) store.CatchUp {
	t.Helper()
	c, ok := s.(store.CatchUp)
	if !ok {
		t.Fatalf("%T does not implement store.CatchUp", s)
	}
	return c
}

func wantDue(t *testing.T, s store.Store, partition int, by int64, limit int, want ...string) {
	t.Helper()
	got, err := catchUp(t, s).Due(testContext(t), partition, by, 0, limit)
	if err != nil {
		t.Errorf("Due by %d: %v", by-t0, err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("due by t0%+d: %v; want %v", by-t0, got, want)
	}
}

func withAccount(account string) func(*verification.Event) {
	return func(e *verification.Event) { e.Object.Account = account }
}

func verified(e *verification.Event) {
	e.Type, e.Object.Status, e.Object.Error = verification.EventVerified, verification.StatusVerified, verification.Error{}
}

// dueFollowsTheRecord: a session is due from the second that its record says, and as long as its record says so.
func dueFollowsTheRecord(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	steps := []struct {
		what  string
		event verification.Event
	}{
		{"begins with a check", event("vs_a", 0)},
		{"is asked for input", event("vs_a", 1)},
		{"is checked again", event("vs_a", 2)},
		{"is checked a little later", event("vs_a", 4)},
		{"is verified", event("vs_a", 6, verified)},
		{"becomes unresolved", event("vs_a", 7)},
		{"is checked for sure", event("vs_a", 8)},
		{"is redacted", event("vs_a", 9, redacted)},
		{"hears once more", event("vs_a", 10)},
	}
	seen := make(map[bool]bool)
	for _, step := range steps {
		apply(t, s, step.event)
		apply(t, s, step.event) // a duplicate changes nothing
		second, due := get(t, s, "vs_a").DueAt()
		seen[due] = true
		t.Logf("%s: due %v at t0%+d", step.what, due, second-t0)
		if !due {
			wantDue(t, s, partition, t0+1_000_000, 10)
			continue
		}
		wantDue(t, s, partition, second-1, 10)
		wantDue(t, s, partition, second, 10, "vs_a")
	}
	if !seen[true] || !seen[false] {
		t.Errorf("the steps show too little: %v", seen)
	}
}

// absentSessionsAreApart: an absent session is not due and is in Absent, until its absence ends.
func absentSessionsAreApart(t *testing.T, s store.Store) {
	partition := s.Partition("vs_0")
	ids := idsOf(s, partition, 3)
	for _, id := range ids {
		apply(t, s, event(id, 0))
	}
	by := int64(t0 + 1_000_000)
	wantAbsent := func(skip, limit int, want ...string) {
		t.Helper()
		got, err := catchUp(t, s).Absent(testContext(t), partition, skip, limit)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Absent(skip %d, limit %d): %v, %v; want %v", skip, limit, got, err, want)
		}
	}
	change := func(id string, change func(verification.Session) (verification.Session, bool)) {
		t.Helper()
		if _, err := s.Update(testContext(t), id, func(current verification.Session) (verification.Session, bool, error) {
			next, changed := change(current)
			return next, changed, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	now := int64(t0)
	note := func(current verification.Session) (verification.Session, bool) {
		return verification.NoteAbsent(current, current, now)
	}
	for range verification.AbsentAfter {
		now += verification.AbsentApart
		wantAbsent(0, 10)
		wantDue(t, s, partition, by, 10, ids...)
		change(ids[0], note)
		change(ids[2], note)
	}
	wantDue(t, s, partition, by, 10, ids[1])
	wantAbsent(0, 10, ids[0], ids[2])
	wantAbsent(0, 1, ids[0])
	wantAbsent(1, 10, ids[2])
	if got := get(t, s, ids[0]).Absence; got != (verification.Absence{Times: verification.AbsentAfter, Revision: 1, Second: now}) {
		t.Errorf("the record holds the absence %+v", got)
	}
	change(ids[2], verification.EndAbsence)
	apply(t, s, event(ids[0], 1, verified))
	wantAbsent(0, 10)
	wantDue(t, s, partition, by, 10, ids[1:]...)
}

// dueInOrder: Due returns the sessions of one partition that are due longest, up to the limit.
func dueInOrder(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	var ids []string
	for _, id := range idsOf(s, partition, 5) {
		apply(t, s, event(id, 0, func(e *verification.Event) { e.Second += int64(4 - len(ids)) }))
		ids = append([]string{id}, ids...) // each due one second before the previous one
	}
	elsewhere := (partition + 1) % s.Partitions()
	apply(t, s, event(idsOf(s, elsewhere, 1)[0], 0))
	by := int64(t0 + 4 + verification.StuckAfter)
	wantDue(t, s, partition, by, 10, ids...)
	wantDue(t, s, partition, by, 2, ids[:2]...)
	wantDue(t, s, partition, by-2, 10, ids[:3]...)
	wantDue(t, s, elsewhere, by, 10, idsOf(s, elsewhere, 1)...)
	for skip := range len(ids) + 2 {
		got, err := catchUp(t, s).Due(testContext(t), partition, by, skip, 2)
		if want := ids[min(skip, len(ids)):min(skip+2, len(ids))]; err != nil || !slices.Equal(got, want) {
			t.Errorf("due after %d others: %v, %v; want %v", skip, got, err, want)
		}
	}
	for _, wrong := range []struct{ partition, skip, limit int }{{-1, 0, 1}, {s.Partitions(), 0, 1}, {0, 0, 0}, {0, -1, 1}} {
		if _, err := catchUp(t, s).Due(testContext(t), wrong.partition, by, wrong.skip, wrong.limit); err == nil {
			t.Errorf("Due(%d, skip %d, limit %d) has no error", wrong.partition, wrong.skip, wrong.limit)
		}
	}
}

// idsOf returns ids of sessions in one partition.
func idsOf(s store.Store, partition, n int) []string {
	var ids []string
	for i := 0; len(ids) < n; i++ {
		if id := fmt.Sprintf("vs_%d", i); s.Partition(id) == partition {
			ids = append(ids, id)
		}
	}
	return ids
}

func dueUnderConcurrency(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() { apply(t, s, event("vs_a", n)) })
	}
	wg.Wait()
	second, due := get(t, s, "vs_a").DueAt()
	if !due {
		wantDue(t, s, s.Partition("vs_a"), t0+1_000_000, 10)
		return
	}
	wantDue(t, s, s.Partition("vs_a"), second-1, 10)
	wantDue(t, s, s.Partition("vs_a"), second, 10, "vs_a")
}

func accountsAreKnown(t *testing.T, s store.Store) {
	want := func(want ...string) {
		t.Helper()
		got, err := catchUp(t, s).Accounts(testContext(t))
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Accounts = %v, %v; want %v", got, err, want)
		}
	}
	want()
	apply(t, s, event("vs_own", 0))
	want()
	for n, id := range []string{"vs_a", "vs_b", "vs_c"} {
		apply(t, s, event(id, 0, withAccount("acct_"+[]string{"2", "1", "2"}[n])))
	}
	want("acct_1", "acct_2")
	apply(t, s, event("vs_a", 0, withAccount("acct_2")))
	apply(t, s, event("vs_a", 1, withAccount("acct_2"), redacted))
	want("acct_1", "acct_2")
}

func cursorNeverFalls(t *testing.T, s store.Store) {
	c := catchUp(t, s)
	want := func(account string, want int64) {
		t.Helper()
		if got, err := c.Cursor(testContext(t), account); err != nil || got != want {
			t.Errorf("Cursor(%q) = %d, %v; want %d", account, got, err, want)
		}
	}
	set := func(account string, second int64) {
		t.Helper()
		if err := c.SetCursor(testContext(t), account, second); err != nil {
			t.Fatal(err)
		}
	}
	want("", 0)
	set("", t0)
	set("acct_1", t0+5)
	want("", t0)
	want("acct_1", t0+5)
	want("acct_2", 0)
	set("", t0-1)
	want("", t0)
	set("", t0+1)
	want("", t0+1)

	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() { set("acct_3", t0+int64((n*7)%20)) })
	}
	wg.Wait()
	want("acct_3", t0+19)
}
