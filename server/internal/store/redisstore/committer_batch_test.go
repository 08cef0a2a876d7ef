package redisstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// batchOf makes the commits of several events leave in one call of the script, in their order, and returns the error of each.
func batchOf(t *testing.T, s *Store, events ...verification.Event) []error {
	t.Helper()
	c := s.committerOf(events[0].Object.ID)
	for range batchLanes {
		c.lanes <- struct{}{}
	}
	ended := make([]chan error, len(events))
	for n, e := range events {
		ended[n] = make(chan error, 1)
		go func() {
			_, err := s.Update(testContext(t), e.Object.ID, applying(e))
			ended[n] <- err
		}()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			c.mu.Lock()
			waiting := len(c.waiting)
			c.mu.Unlock()
			if waiting == n+1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d commits wait; want %d", waiting, n+1)
			}
		}
	}
	for range batchLanes {
		await.One(t, c.lanes)
	}
	errs := make([]error, len(events))
	for n := range ended {
		errs[n] = await.One(t, ended[n])
	}
	return errs
}

// TestACommitThatFailsInABatchFailsAlone: the commits of a batch share one call of the script. A key of a foreign type ends one of
// them, and it changes nothing. The others are made, before and after it.
func TestACommitThatFailsInABatchFailsAlone(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		apply(t, s, event("vs_warm", 0))
		for name, foreign := range map[string]string{"record": s.keys.record("vs_record"), "reference": s.keys.reference("case_reference")} {
			raw.RPush(ctx, foreign, "x")
			id := "vs_" + name
			errs := batchOf(t, s,
				event("vs_before_"+name, 0), event(id, 0, withReference("case_"+name)), event("vs_after_"+name, 0, withReference("other")))
			if errs[0] != nil || errs[2] != nil {
				t.Errorf("%s: the others got %v and %v; want no error", name, errs[0], errs[2])
			}
			if !errors.Is(errs[1], store.ErrCorrupt) && !errors.Is(errs[1], store.ErrUnavailable) {
				t.Errorf("%s: the commit that cannot be made got %v; want an error", name, errs[1])
			}
			for _, made := range []string{"vs_before_" + name, "vs_after_" + name} {
				if got, err := s.Get(ctx, made); err != nil || got.Revision != 1 {
					t.Errorf("%s: %s has revision %d, %v; want 1", name, made, got.Revision, err)
				}
			}
			raw.Del(ctx, foreign)
			if _, err := s.Get(ctx, id); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: the commit that failed left a record: %v", name, err)
			}
			if got := apply(t, s, event(id, 0, withReference("case_"+name))); got.Revision != 1 {
				t.Errorf("%s: made again it has revision %d; want 1", name, got.Revision)
			}
		}
		wantTruth(t, s, raw)
	})
}

// TestABatchAnswersEachCommit: one of two commits of the same session loses to the other one, and is made again on top of it. The
// feed has an entry of each, in order and linked, and a session that moves a reference is in it as such.
func TestABatchAnswersEachCommit(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		apply(t, s, event("vs_warm", 0))
		partition := s.Partition("vs_a")
		start, err := s.Head(testContext(t), partition)
		if err != nil {
			t.Fatal(err)
		}
		events := []verification.Event{event("vs_a", 0, withReference("case")), event("vs_a", 1, failing, withReference("case"))}
		for n := range 4 {
			events = append(events, event(fmt.Sprint("vs_other", n), 0, withReference("case")))
		}
		for n, err := range batchOf(t, s, events...) {
			if err != nil {
				t.Errorf("commit %d: %v", n, err)
			}
		}
		got, err := s.Get(testContext(t), "vs_a")
		if err != nil || got.Revision != 2 || got.FailedAttempts != 1 {
			t.Errorf("the session = revision %d with %d failures, %v; want 2 and 1", got.Revision, got.FailedAttempts, err)
		}
		entries, err := s.ReadFeed(testContext(t), partition, start, 100)
		if err != nil {
			t.Fatal(err)
		}
		revision := int32(0)
		for _, entry := range entries {
			if !entry.Chained {
				t.Errorf("entry %+v does not name the one before", entry)
			}
			if entry.SessionID == "vs_a" {
				if revision++; entry.Revision != revision || entry.Pointer != (revision == 1) {
					t.Errorf("entry %+v; want revision %d, and a pointer with the first", entry, revision)
				}
			}
		}
		if revision != 2 {
			t.Errorf("the feed has %d entries of the session; want 2", revision)
		}
		wantTruth(t, s, raw)
	})
}

// TestABatchIsOneCall: this is what a batch saves. A commit that fails costs one more call, and not one for each of the others.
func TestABatchIsOneCall(t *testing.T) {
	addr := redistest.Start(t).Addr
	s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
	apply(t, s, event("vs_warm", 0))
	raw.RPush(testContext(t), s.keys.reference("foreign"), "x")
	for name, test := range map[string]struct {
		reference string // of the second commit
		calls     int
	}{"all are made": {"case", 1}, "one fails": {"foreign", 2}} {
		cost := commandsOf(t, raw, func() {
			errs := batchOf(t, s, event("vs_a"+name, 0), event("vs_b"+name, 0, withReference(test.reference)), event("vs_c"+name, 0))
			if failed := test.calls > 1; errs[0] != nil || (errs[1] != nil) != failed || errs[2] != nil {
				t.Errorf("%s: got %v; want an error of the second one: %v", name, errs, failed)
			}
		})
		if made := 4 - test.calls; cost["evalsha"] != test.calls || cost["set"] != made {
			t.Errorf("%s: 3 commits ask for %v; want %d evalsha and %d set", name, cost, test.calls, made)
		}
	}
}

// TestAFullRedisKeepsNoNewSessionOfABatch: it keeps commits that begin with a removal, which take no memory at first. After such a
// write Redis does not look at its memory until the script ends. So these commits must come last, wherever they waited.
func TestAFullRedisKeepsNoNewSessionOfABatch(t *testing.T) {
	const pairs = 8
	server := redistest.Start(t)
	s, raw, ctx := openStore(t, Options{Addrs: []string{server.Addr}}), rawClient(t, server.Addr), testContext(t)
	var events []verification.Event
	for n := range pairs {
		ended := fmt.Sprint("vs_ended", n)
		apply(t, s, event(ended, 0))
		events = append(events, event(ended, 1, failing), event(fmt.Sprint("vs_new", n), 0))
	}
	server.MustAsk("CONFIG", "SET", "maxmemory", "1") // byte: less than any server uses
	ended, kept := 0, 0
	for n, err := range batchOf(t, s, events...) {
		got, readErr := s.Get(ctx, events[n].Object.ID)
		if (err == nil) != (readErr == nil && got.Revision == int32(events[n].Second-1_790_000_000)+1) {
			t.Errorf("%s: the commit got %v, and the session is revision %d, %v", events[n].Object.ID, err, got.Revision, readErr)
		}
		switch {
		case err != nil && !errors.Is(err, store.ErrUnavailable):
			t.Errorf("%s: %v; want ErrUnavailable", events[n].Object.ID, err)
		case err == nil && n%2 == 0:
			ended++
		case err == nil:
			kept++
		}
	}
	if ended != pairs || kept != 0 {
		t.Errorf("a full Redis kept %d of %d ended sessions and %d new ones; want all and 0", ended, pairs, kept)
	}
	server.MustAsk("CONFIG", "SET", "maxmemory", "0")
	wantTruth(t, s, raw)
}
