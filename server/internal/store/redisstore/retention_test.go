package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

func TestFeedIsTrimmedByAge(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		now := time.Unix(1_800_000_000, 0)
		s := openStore(t, Options{Addrs: []string{addr}, FeedMaxAge: time.Hour, Clock: func() time.Time { return now }})
		raw, ctx, partition := rawClient(t, addr), testContext(t), s.Partition("vs_a")
		length := func() int64 { return raw.XLen(ctx, s.keys.feed(partition)).Val() }
		start, err := s.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 29 {
			apply(t, s, event("vs_a", n))
		}
		older, err := s.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, event("vs_a", 29))
		old, err := s.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
		apply(t, s, event("vs_a", 30))
		if got := length(); got != 31 {
			t.Errorf("%d entries at the age of an hour; want 31", got)
		}
		now = now.Add(time.Second)
		apply(t, s, event("vs_a", 31)) // no commit removes more than 20
		if got := length(); got != 12 {
			t.Errorf("%d entries after the first commit later; want 12", got)
		}
		if _, err := s.ReadFeed(ctx, partition, start, 10); !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("ReadFeed from the start: %v; want ErrTrimmed", err)
		}
		if entries, err := s.ReadFeed(ctx, partition, old, 10); err != nil || len(entries) != 2 {
			t.Errorf("ReadFeed = %d entries, %v; want 2", len(entries), err)
		}
		apply(t, s, event("vs_a", 32))
		if got := length(); got != 3 {
			t.Errorf("%d entries after the next commit; want 3", got)
		}
		if entries, err := s.ReadFeed(ctx, partition, old, 10); err != nil || len(entries) != 3 {
			t.Errorf("ReadFeed after the newest entry that is gone = %d entries, %v; want 3", len(entries), err)
		}
		if _, err := s.ReadFeed(ctx, partition, older, 10); !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("ReadFeed before an entry that is gone: %v; want ErrTrimmed", err)
		}

		// Alone at the end, with everything older gone.
		now = now.Add(24 * time.Hour)
		apply(t, s, event("vs_a", 33))
		head, err := s.Head(ctx, partition)
		if err != nil || head.Seq != 34 || length() != 1 {
			t.Errorf("the head is %+v, %v, with %d entries; want 34 and 1", head, err, length())
		}
	})
}

// TestAClockThatWasAheadKeepsNothing: a replica whose clock is years ahead writes the first entry, and that entry is
// trimmed by length. The entries of the others are still removed by age.
func TestAClockThatWasAheadKeepsNothing(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		right := time.Unix(1_800_000_000, 0)
		now := right.AddDate(10, 0, 0)
		s := openStore(t, Options{Addrs: []string{addr}, FeedMaxAge: time.Hour, Clock: func() time.Time { return now }})
		raw, ctx, feed := rawClient(t, addr), testContext(t), s.keys.feed(s.Partition("vs_a"))
		apply(t, s, event("vs_a", 0))
		now = right
		apply(t, s, event("vs_a", 1))
		raw.XTrimMaxLen(ctx, feed, 1)
		now = now.Add(time.Hour + time.Second)
		apply(t, s, event("vs_a", 2))
		if got := raw.XLen(ctx, feed).Val(); got != 1 {
			t.Errorf("%d entries; want that of the last commit", got)
		}
	})
}

// TestEntriesWithoutATimeStay: an older version wrote entries without a time. They are trimmed by length and not by
// age.
func TestEntriesWithoutATimeStay(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}, FeedMaxAge: time.Hour})
		raw, ctx, partition := rawClient(t, addr), testContext(t), s.Partition("vs_a")
		if _, err := s.Head(ctx, partition); err != nil {
			t.Fatal(err)
		}
		raw.Do(ctx, "XADD", s.keys.feed(partition), "1-0", "s", "vs_a", "r", "1", "n", "7")
		raw.HSet(ctx, s.keys.meta(partition), "seq", "1", "nonce", "7")
		apply(t, s, event("vs_a", 0))
		if entries, err := s.ReadFeed(ctx, partition, store.Position{}, 10); err != nil || len(entries) != 2 {
			t.Errorf("%d entries, %v; want 2", len(entries), err)
		}
	})
}

func TestWithoutAnAgeNothingIsTrimmedByIt(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := openStore(t, Options{Addrs: []string{redistest.Start(t).Addr}, Clock: func() time.Time { return now }})
	for n := range 5 {
		apply(t, s, event("vs_a", n))
		now = now.Add(1000 * time.Hour)
	}
	if entries, err := s.ReadFeed(testContext(t), s.Partition("vs_a"), store.Position{}, 10); err != nil || len(entries) != 5 {
		t.Errorf("%d entries, %v; want 5", len(entries), err)
	}
}

func canceled(e *verification.Event) {
	e.Type, e.Object.Status = verification.EventCanceled, verification.StatusCanceled
}

// TestArchivedSessionsExpire: an archived session expires. A new input that counts makes it permanent again.
func TestArchivedSessionsExpire(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		apply(t, s, event("vs_a", 0, failing, withReference("person-4711")))
		apply(t, s, event("vs_a", 1, canceled, withReference("person-4711")))
		ttl := func() time.Duration { return raw.PTTL(ctx, s.keys.record("vs_a")).Val() }
		if ttl() > 0 {
			t.Fatalf("a settled session expires in %v", ttl())
		}
		later := time.Unix(1_790_000_000, 0).Add(1000 * time.Hour)
		archive := func(current verification.Session) (verification.Session, bool, error) {
			next, changed := verification.Archive(current, 24*time.Hour, later)
			return next, changed, nil
		}
		archived, err := s.Update(ctx, "vs_a", archive)
		if err != nil || !archived.IsArchived() {
			t.Fatalf("Update = %+v, %v; want it archived", archived, err)
		}
		if got := ttl(); got < 35*24*time.Hour || got > 37*24*time.Hour {
			t.Errorf("the archived session expires in %v; want at least 35 days", got)
		}
		for _, word := range []string{"person-4711", "expired", "vs:ref:"} {
			if text := dump(t, raw); strings.Contains(text, word) {
				t.Errorf("%q is still in:\n%s", word, text)
			}
		}
		read, err := s.Get(ctx, "vs_a")
		if err != nil || read.Status != verification.StatusCanceled || read.FailedAttempts != 1 || read.Revision != archived.Revision || !read.Knows(event("vs_a", 0).ID) {
			t.Errorf("Get = %+v, %v", read, err)
		}

		// A late event leaves a trace, and time to know it again.
		raw.PExpire(ctx, s.keys.record("vs_a"), time.Hour)
		apply(t, s, event("vs_a", 0, failing))
		if ttl() > time.Hour {
			t.Error("a duplicate, which writes nothing, makes the archived session live longer")
		}
		if got := apply(t, s, event("vs_a", 2, failing)); got.Status != verification.StatusCanceled {
			t.Errorf("status %s", got.Status)
		}
		if got := ttl(); got > 0 && got < 35*24*time.Hour {
			t.Errorf("after a new event the record expires in %v", got)
		}
	})
}

func TestWalk(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}, Prefix: "a[b]*:", Logger: debugLogger(&safeBuffer{})})
		other := openStore(t, Options{Addrs: []string{addr}, Prefix: "ab:"})
		raw, ctx := rawClient(t, addr), testContext(t)
		var want []string
		for n := range 40 {
			id := fmt.Sprintf("vs_%02d", n)
			want = append(want, id)
			apply(t, s, event(id, 0, withReference("case")))
			apply(t, other, event(id+"other", 0))
		}
		raw.Set(ctx, s.keys.record("vs_corrupt"), "short", 0)
		var got []string
		err := s.Walk(ctx, func(_ context.Context, session verification.Session) error {
			got = append(got, session.ID)
			return nil
		})
		slices.Sort(got)
		if got = slices.Compact(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("Walk = %v, %v; want %v", got, err, want)
		}
		own := errors.New("the caller's own")
		if err := s.Walk(ctx, func(context.Context, verification.Session) error { return own }); err != own {
			t.Errorf("Walk: %v; want the function's own error", err)
		}
	})
}
