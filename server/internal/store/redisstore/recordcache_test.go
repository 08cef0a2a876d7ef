package redisstore

import (
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// TestAnUpdateReadsOnlyWhatItDoesNotKnow counts round trips: fewer round trips make a webhook faster.
func TestAnUpdateReadsOnlyWhatItDoesNotKnow(t *testing.T) {
	server := redistest.Start(t)
	raw := rawClient(t, server.Addr)
	one, two := openStore(t, Options{Addrs: []string{server.Addr}}), openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, one, event("vs_warm", 0)) // loads the script
	n := 0
	next := func() verification.Event { n++; return event("vs_a", n) }
	first := next()
	for _, step := range []struct {
		name           string
		do             func()
		commits, reads int // GETs from outside; the script has GETs of its own where it conflicts
	}{
		{"a session's first event", func() { apply(t, one, first) }, 1, 0},
		{"one that was just written here", func() { apply(t, one, next()) }, 1, 0},
		{"one that another process knows", func() { apply(t, two, next()) }, 2, 1},
		{"one that another process has written since", func() { apply(t, one, next()) }, 2, 1},
		{"an event that is known", func() { apply(t, one, first) }, 0, 1},
		{"after the store lost everything", func() {
			raw.FlushDB(testContext(t))
			if got := apply(t, one, next()); got.Revision != 1 || len(got.History) != 1 {
				t.Errorf("the record came back from memory: %+v", got)
			}
		}, 2, 1},
	} {
		counted := commandsOf(t, raw, step.do)
		if counted["evalsha"] != step.commits || counted["get"] != step.reads {
			t.Errorf("%s: %d commits and %d reads, want %d and %d (%v)", step.name, counted["evalsha"], counted["get"], step.commits, step.reads, counted)
		}
	}
}

// TestG2_ARedeliveryAfterALossIsKept: the cached record has the event, but Redis has lost it.
func TestG2_ARedeliveryAfterALossIsKept(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, s, event("vs_a", 0))
	rawClient(t, server.Addr).FlushDB(testContext(t))
	if got := apply(t, s, event("vs_a", 0)); got.Revision != 1 {
		t.Errorf("an event that Redis lost was taken for a known one: %+v", got)
	}
	if got, err := s.Get(testContext(t), "vs_a"); err != nil || got.Revision != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestG11_AnInvalidationEvictsTheCachedSession: after a redaction by another process the record is not in the cache.
func TestG11_AnInvalidationEvictsTheCachedSession(t *testing.T) {
	server := redistest.Start(t)
	one, two := openStore(t, Options{Addrs: []string{server.Addr}}), openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, one, event("vs_a", 0))
	after := make([]store.Position, partitions)
	for partition := range after {
		var err error
		if after[partition], err = one.Head(testContext(t), partition); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, two, event("vs_a", 1))
	for one.cache.get("vs_a").session.Exists() {
		if _, err := one.Follow(testContext(t), after, maxBlock); err != nil {
			t.Fatal(err)
		}
	}
}
