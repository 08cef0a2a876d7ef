package redisstore

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/testing/storetest"
	"example.com/verification-status/server/internal/verification"
)

func sentinelOptions(set *redistest.SentinelSet) Options {
	return Options{Addrs: set.Addrs(), Mode: Sentinel, SentinelMaster: redistest.MasterName}
}

// untilApplied sends an event again until it is accepted, as Stripe does, and returns how long that took.
func untilApplied(t *testing.T, s *Store, e verification.Event) (verification.Session, time.Duration) {
	t.Helper()
	began := time.Now()
	for ctx := testContext(t); ; {
		session, err := s.Update(ctx, e.Object.ID, applying(e))
		if err == nil {
			return session, time.Since(began)
		}
		if ctx.Err() != nil || !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrConflict) {
			t.Fatalf("Update(%s): %v", e.ID, err)
		}
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 2, 3)
	t.Run("Conformance", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
			set.Master().MustAsk("FLUSHALL")
			s := openStore(t, conforming(sentinelOptions(set), clock))
			if err := s.Prepare(testContext(t)); err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
	t.Run("Failover", func(t *testing.T) {
		o := sentinelOptions(set)
		o.WaitReplicas = 1
		s := openStore(t, o)
		for n := range 10 {
			apply(t, s, event("vs_f", n))
		}
		before, err := s.Head(testContext(t), s.Partition("vs_f"))
		if err != nil {
			t.Fatal(err)
		}
		killed := set.Master()
		killed.Stop()
		session, took := untilApplied(t, s, event("vs_f", 10))
		t.Logf("writes again %v after kill -9 of the master", took.Round(10*time.Millisecond))
		if session.Revision != 11 {
			t.Errorf("revision %d; want 11: all ten before were acknowledged by a replica", session.Revision)
		}
		entries, err := s.ReadFeed(testContext(t), s.Partition("vs_f"), before, 10)
		if err != nil || len(entries) != 1 || entries[0].Revision != 11 {
			t.Errorf("after the position from before: %+v, %v; want revision 11", entries, err)
		}
		set.Restart(killed)
		if got := apply(t, s, event("vs_f", 10)); got.Revision != 11 {
			t.Errorf("the redelivery made revision %d", got.Revision)
		}
	})
}

// TestLostEntriesAreSeenAfterAFailover: the newest entries are lost if the promoted replica did not have them. A
// reader with a position among the lost entries gets an error, before the same numbers come again and after that.
func TestLostEntriesAreSeenAfterAFailover(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 1, 1)
	master, replica := set.Servers[0], set.Servers[1]
	s := openStore(t, sentinelOptions(set))
	partition := s.Partition("vs_a")
	position := func() store.Position {
		t.Helper()
		head, err := s.Head(testContext(t), partition)
		if err != nil {
			t.Fatal(err)
		}
		return head
	}
	for n := range 3 {
		apply(t, s, event("vs_a", n))
	}
	kept := position()
	keptHeads := headsOf(t, s)
	consumer := moveTo(t, s, createConsumer(t, s, "kept"), keptHeads)
	replica.AwaitSynced(master)
	replica.Pause()
	master.MustAsk("CLIENT", "KILL", "TYPE", "replica") // what is in the socket's buffer would arrive yet
	var lost []store.Position
	for n := 3; n < 6; n++ {
		apply(t, s, event("vs_a", n))
		lost = append(lost, position())
	}
	ahead := moveTo(t, s, consumer, headsOf(t, s))
	lostConsumer := createConsumer(t, s, "lost")
	master.Stop()
	replica.Resume()
	set.AwaitNewMaster(master)

	check := func(when string) {
		t.Helper()
		for i, after := range lost {
			if _, err := s.ReadFeed(testContext(t), partition, after, 10); !errors.Is(err, store.ErrRewound) {
				t.Errorf("%s: ReadFeed after the lost entry %d: %v; want ErrRewound", when, i, err)
			}
		}
	}
	waitUntil(t, func() bool { return s.Ping(testContext(t)) == nil })
	if head := position(); head != kept {
		t.Errorf("the head is %+v; want %+v: were the entries lost at all?", head, kept)
	}
	check("before new entries")
	checkConsumersAfterALoss(t, s, consumer, ahead, lostConsumer)
	session, _ := untilApplied(t, s, event("vs_a", 6))
	if session.Revision != 4 {
		t.Errorf("revision %d; want 4, which has been given out before, for other content", session.Revision)
	}
	check("after one new entry")
	for n := 7; n < 12; n++ {
		apply(t, s, event("vs_a", n))
	}
	check("after more new entries than were lost")
	entries, err := s.ReadFeed(testContext(t), partition, kept, 10)
	if err != nil || len(entries) != 6 {
		t.Errorf("after what was kept: %d entries, %v; want 6", len(entries), err)
	}
	// What was lost is taken like new when it is delivered again, which is what the catch-up does.
	for n := 3; n < 6; n++ {
		if got := apply(t, s, event("vs_a", n)); !got.Knows(fmt.Sprintf("evt_vs_a_%d", n)) {
			t.Errorf("event %d is not known after its redelivery", n)
		}
	}
}

// checkConsumersAfterALoss (G14): after a failover that lost the newest writes, the consumer that was created among them is not found. One
// that had acknowledged among them is at what it had acknowledged before, and every entry after that is read again. What it
// acknowledged then is denied.
func checkConsumersAfterALoss(t *testing.T, s *Store, before, ahead, lost store.Consumer) {
	t.Helper()
	ctx := testContext(t)
	if _, err := s.Consumer(ctx, lost.Name); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the lost consumer: %v; want ErrNotFound", err)
	}
	if _, _, err := s.LeaseConsumer(ctx, lost.Name, lost.Incarnation, "stream", "", time.Minute); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the lease of the lost consumer: %v; want ErrNotFound", err)
	}
	kept, err := s.Consumer(ctx, before.Name)
	if err != nil || kept.Incarnation != before.Incarnation || !slices.Equal(kept.Positions, before.Positions) {
		t.Errorf("the kept consumer is %+v, %v; want it at %+v", kept, err, before.Positions)
	}
	partition := s.Partition("vs_a")
	for what, want := range map[string]struct {
		positions []store.Position
		err       error
	}{"what it is at": {kept.Positions, nil}, "what was lost": {ahead.Positions, store.ErrRewound}} {
		if each, err := s.Check(ctx, want.positions); err != nil || !errors.Is(each[partition], want.err) {
			t.Errorf("Check of %s: %v, %v; want %v", what, each, err, want.err)
		}
	}
}
