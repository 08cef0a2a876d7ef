package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func unknownSession(t *testing.T, s store.Store) {
	_, err := s.Get(testContext(t), "vs_unknown")
	wantError(t, "Get", err, store.ErrNotFound)
	_, err = s.Newest(testContext(t), "unknown")
	wantError(t, "Newest", err, store.ErrNotFound)
	_, err = s.Newest(testContext(t), "")
	wantError(t, "Newest of no reference", err, store.ErrNotFound)
}

func createAndModify(t *testing.T, s store.Store) {
	var want verification.Session
	for n := range 6 {
		e := event("vs_a", n, withReference("case-1"))
		want, _ = verification.Transition(want, e)
		same(t, "the record that Update returns", apply(t, s, e), want)
		same(t, "the record read", get(t, s, "vs_a"), want)
	}
	apply(t, s, event("vs_b", 0))
	same(t, "the record after another session's", get(t, s, "vs_a"), want)
}

func noWrite(t *testing.T, s store.Store) {
	ctx := testContext(t)
	pretend := func(current verification.Session) (verification.Session, bool, error) {
		current.ID, current.Revision = "vs_a", current.Revision+1
		return current, false, nil
	}
	got, err := s.Update(ctx, "vs_a", pretend)
	if err != nil || got.Exists() {
		t.Errorf("Update without a record = %+v, %v; want none", got, err)
	}
	_, err = s.Get(ctx, "vs_a")
	wantError(t, "Get", err, store.ErrNotFound)

	want := apply(t, s, event("vs_a", 0))
	before := head(t, s, s.Partition("vs_a"))
	got, err = s.Update(ctx, "vs_a", pretend)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the record that Update returns", got, want)
	same(t, "the record read", get(t, s, "vs_a"), want)
	same(t, "the head of the feed", head(t, s, s.Partition("vs_a")), before)
}

// funcErrorPassesThrough: Update returns the error of its function. A store that began with a cached record can read the record
// and call the function once more before.
func funcErrorPassesThrough(t *testing.T, s store.Store) {
	own := errors.New("the caller's own")
	calls := 0
	_, err := s.Update(testContext(t), "vs_a", func(current verification.Session) (verification.Session, bool, error) {
		calls++
		next, _ := verification.Transition(current, event("vs_a", 0))
		return next, true, own
	})
	if err != own || calls > 2 {
		t.Errorf("Update: error %v after %d calls; want the function's own after 2 at the most", err, calls)
	}
	_, err = s.Get(testContext(t), "vs_a")
	wantError(t, "Get", err, store.ErrNotFound)
}

func foreignID(t *testing.T, s store.Store) {
	_, err := s.Update(testContext(t), "vs_a", applying(event("vs_b", 0)))
	if err == nil {
		t.Error("a record with another session's id was stored")
	}
	for _, id := range []string{"vs_a", "vs_b"} {
		_, err = s.Get(testContext(t), id)
		wantError(t, "Get", err, store.ErrNotFound)
	}
}

// concurrentWriters: no update is lost. Each failure is an event of its own, and all of them count.
func concurrentWriters(t *testing.T, s store.Store) {
	const writers, each = 16, 5
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			for n := range each {
				apply(t, s, event("vs_a", 2*(writer*each+n)+1))
			}
		})
	}
	wg.Wait()
	session := get(t, s, "vs_a")
	if session.FailedAttempts != writers*each || len(session.History) != writers*each {
		t.Errorf("%d failures and %d entries; want %d of each", session.FailedAttempts, len(session.History), writers*each)
	}
}

func conflictAfterMaxTries(t *testing.T, s store.Store) {
	calls := 0
	_, err := s.Update(testContext(t), "vs_a", func(current verification.Session) (verification.Session, bool, error) {
		calls++
		apply(t, s, event("vs_a", 2*calls+1)) // another writer is always faster
		next, outcome := verification.Transition(current, event("vs_a", 1001))
		return next, outcome.Write, nil
	})
	wantError(t, "Update", err, store.ErrConflict)
	if calls != store.MaxTries {
		t.Errorf("%d tries; want %d", calls, store.MaxTries)
	}
	if session := get(t, s, "vs_a"); session.FailedAttempts != store.MaxTries || session.Knows(event("vs_a", 1001).ID) {
		t.Errorf("%d failures counted; want %d, without the event of the update that lost", session.FailedAttempts, store.MaxTries)
	}
}

func endedContext(t *testing.T, s store.Store) {
	apply(t, s, event("vs_a", 0))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	calls := map[string]func() error{
		"Get":    func() error { _, err := s.Get(ctx, "vs_a"); return err },
		"Update": func() error { _, err := s.Update(ctx, "vs_a", applying(event("vs_a", 1))); return err },
		"Newest": func() error { _, err := s.Newest(ctx, "case-1"); return err },
		"Head":   func() error { _, err := s.Head(ctx, 0); return err },
		"ReadFeed": func() error {
			_, err := s.ReadFeed(ctx, 0, store.Position{}, 10)
			return err
		},
	}
	for name, call := range calls {
		wantError(t, name, call(), context.Canceled)
	}
	if revision := get(t, s, "vs_a").Revision; revision != 1 {
		t.Errorf("revision %d; want 1", revision)
	}
}

func tombstoneLeavesNoText(t *testing.T, s store.Store) {
	const reference = "person-4711"
	for n := range 4 {
		apply(t, s, event("vs_a", n, withReference(reference)))
	}
	if text := fmt.Sprintf("%+v", get(t, s, "vs_a")); !strings.Contains(text, "has expired") || !strings.Contains(text, "vr_vs_a") || !strings.Contains(text, reference) {
		t.Fatal("the record has nothing that could be erased")
	}
	apply(t, s, event("vs_a", 4, withReference(reference), redacted))
	session := get(t, s, "vs_a")
	text := fmt.Sprintf("%+v", session)
	for _, word := range []string{"expired", "vr_", reference} {
		if strings.Contains(text, word) {
			t.Errorf("the tombstone still has %q: %s", word, text)
		}
	}
	if session.FailedAttempts != 2 || !session.Knows(event("vs_a", 1).ID) {
		t.Errorf("the tombstone has %d failures; want 2, and the event ids", session.FailedAttempts)
	}
}
