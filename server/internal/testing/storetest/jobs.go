package storetest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
)

func leaseHasOneHolder(t *testing.T, s store.Store) {
	c := catchUp(t, s)
	want := func(name, holder string, duration time.Duration, want bool) {
		t.Helper()
		if got, err := c.Lease(testContext(t), name, holder, duration); err != nil || got != want {
			t.Errorf("Lease(%s, %s) = %v, %v; want %v", name, holder, got, err, want)
		}
	}
	release := func(name, holder string) {
		t.Helper()
		if err := c.Release(testContext(t), name, holder); err != nil {
			t.Error(err)
		}
	}
	want("work", "a", time.Minute, true)
	want("work", "b", time.Minute, false)
	want("work", "a", time.Minute, true)
	want("other", "b", time.Minute, true)
	release("work", "b") // b does not hold it
	want("work", "b", time.Minute, false)
	release("work", "a")
	release("work", "a")
	want("work", "b", time.Minute, true)
	for _, wrong := range []struct {
		holder   string
		duration time.Duration
	}{{"", time.Minute}, {"a", 0}, {"a", -time.Second}} {
		if _, err := c.Lease(testContext(t), "work", wrong.holder, wrong.duration); err == nil {
			t.Errorf("Lease of %q for %v has no error", wrong.holder, wrong.duration)
		}
	}

	var wg sync.WaitGroup
	var mu sync.Mutex // guards holders
	var holders []string
	for _, holder := range strings.Split("abcdefgh", "") {
		wg.Go(func() {
			has, err := c.Lease(testContext(t), "contended", holder, time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			} else if has {
				holders = append(holders, holder)
			}
		})
	}
	wg.Wait()
	if len(holders) != 1 {
		t.Errorf("%v have the lease; want one", holders)
	}
}

// marksAreKept: each name has the number that was set last, and a name that was never set has 0.
func marksAreKept(t *testing.T, s store.Store) {
	c := catchUp(t, s)
	want := func(names []string, want ...int64) {
		t.Helper()
		got, err := c.Marks(testContext(t), names...)
		if err != nil || len(got) != len(want) || !slices.Equal(got, want) {
			t.Errorf("Marks(%q) = %v, %v; want %v", names, got, err, want)
		}
	}
	set := func(name string, value int64) {
		t.Helper()
		if err := c.SetMark(testContext(t), name, value); err != nil {
			t.Fatal(err)
		}
	}
	want(nil)
	want([]string{"work"}, 0)
	set("work", t0)
	set("", 7)
	want([]string{"other", "work", "", "work"}, 0, t0, 7, t0)
	set("work", t0-1) // unlike a cursor, a mark can fall
	set("", -1)
	want([]string{"work", ""}, t0-1, -1)
	set("", 0)
	want([]string{""}, 0)

	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() { set("contended", int64(n+1)) })
	}
	wg.Wait()
	if got, err := c.Marks(testContext(t), "contended"); err != nil || got[0] < 1 || got[0] > 8 {
		t.Errorf("Marks after 8 writers = %v, %v; want one of theirs", got, err)
	}
}
