package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/testing/storetest"
)

func TestConformanceWithReplicas(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	redistest.StartReplica(t, master)
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
		master.MustAsk("FLUSHALL")
		return openStore(t, conforming(Options{Addrs: []string{master.Addr}, WaitReplicas: 1, WaitTimeout: 10 * time.Second}, clock))
	})
}

// TestPausedReplica (G3): a commit that no replica has is not acknowledged, and neither is its redelivery, which finds
// the commit made. Once the replica is back the redelivery is acknowledged, and has one effect.
//
// Mutations: with WAIT on s.client instead of the pinned connection, or without confirm for a
// redelivery, the paused replica goes unnoticed. Without the fence's write the redelivery to another replica
// of this service is acknowledged on Redis 8 and Valkey 8: their WAIT covers only what the connection has
// written. That of Redis 7.0 covers what it has read, too, which its documentation does not promise.
func TestPausedReplica(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	s := openStore(t, Options{Addrs: []string{master.Addr}, WaitReplicas: 1, WaitTimeout: 150 * time.Millisecond})
	untilApplied(t, s, event("vs_a", 0, failing)) // a replica that has just begun may be slow
	start, err := s.Head(testContext(t), s.Partition("vs_a"))
	if err != nil {
		t.Fatal(err)
	}
	other := openStore(t, Options{Addrs: []string{master.Addr}, WaitReplicas: 1, WaitTimeout: 150 * time.Millisecond})
	bystander := rawClient(t, master.Addr).Conn()
	defer bystander.Close()
	if err := bystander.Ping(testContext(t)).Err(); err != nil {
		t.Fatal(err)
	}
	// Once the replica has confirmed all there is, a WAIT that does not know of the commit ends at once.
	waitUntil(t, func() bool {
		return strings.Contains(master.Info("slave0"), ",offset="+master.Info("master_repl_offset")+",")
	})

	replica.Pause()
	for _, attempt := range []struct {
		what string
		by   *Store
	}{{"the commit", s}, {"the redelivery", s}, {"the redelivery to another replica", other}} {
		what, began := attempt.what, time.Now()
		if _, err := attempt.by.Update(testContext(t), "vs_a", applying(event("vs_a", 1, failing))); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "replicas") {
			t.Errorf("%s: %v; want ErrUnavailable", what, err)
		}
		if took := time.Since(began); took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s took %v; the setting is 150 ms", what, took)
		}
	}
	// Why the connection matters: another one is told that all is well.
	if have, err := bystander.Wait(testContext(t), 1, 50*time.Millisecond).Result(); err != nil || have != 1 {
		t.Errorf("WAIT on another connection = %d, %v; want 1", have, err)
	}

	replica.Resume()
	replica.AwaitSynced(master)
	if got, _ := untilApplied(t, s, event("vs_a", 1, failing)); got.FailedAttempts != 2 || got.Revision != 2 {
		t.Errorf("%d failures in revision %d; want 2 in 2", got.FailedAttempts, got.Revision)
	}
	entries, err := s.ReadFeed(testContext(t), s.Partition("vs_a"), start, 10)
	if err != nil || len(entries) != 1 {
		t.Errorf("the feed grew by %+v, %v; want one entry", entries, err)
	}
}

// TestLostAnswerWithAPausedReplica (G3): a commit whose answer was lost is sent again on another connection, which
// finds it made and must wait for the replicas too. Mutation: without the write for an own commit in commit.lua it
// does not wait on Redis 8 and Valkey 8.
func TestLostAnswerWithAPausedReplica(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	proxy := newProxy(t, master.Addr)
	s := openStore(t, Options{Addrs: []string{proxy.addr()}, WaitReplicas: 1, WaitTimeout: 150 * time.Millisecond})
	untilApplied(t, s, event("vs_a", 0, failing)) // a replica that has just begun may be slow
	replica.Pause()
	proxy.loseAnswers("evalsha", 1)
	if _, err := s.Update(testContext(t), "vs_a", applying(event("vs_a", 1, failing))); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Update: %v; want ErrUnavailable", err)
	}
	if proxy.lost() != 0 {
		t.Fatal("no answer was lost")
	}
	replica.Resume()
	replica.AwaitSynced(master)
	if got, _ := untilApplied(t, s, event("vs_a", 1, failing)); got.FailedAttempts != 2 || got.Revision != 2 {
		t.Errorf("%d failures in revision %d; want 2 in 2", got.FailedAttempts, got.Revision)
	}
}

// TestAcknowledgedWritesSurviveTheMaster (G3): every write that was acknowledged before the master died is in the
// promoted replica.
func TestAcknowledgedWritesSurviveTheMaster(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	s := openStore(t, Options{Addrs: []string{master.Addr}, WaitReplicas: 1})
	const writers = 4
	acknowledged := make([]int, writers) // per writer: how many events, from 0
	enough := make(chan struct{}, writers)
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			id := fmt.Sprintf("vs_%d", writer)
			for n := 0; n < 10_000; n++ {
				if _, err := s.Update(testContext(t), id, applying(event(id, n))); err != nil {
					return
				}
				acknowledged[writer]++
				if n == 20 {
					enough <- struct{}{}
				}
			}
		})
	}
	for range writers {
		await.One(t, enough)
	}
	master.Stop() // in the middle of writing
	wg.Wait()
	replica.MustAsk("REPLICAOF", "NO", "ONE")
	promoted := openStore(t, Options{Addrs: []string{replica.Addr}})
	for writer, count := range acknowledged {
		id := fmt.Sprintf("vs_%d", writer)
		session, err := promoted.Get(testContext(t), id)
		if err != nil {
			t.Fatal(err)
		}
		for n := range count {
			if !session.Knows(event(id, n).ID) {
				t.Errorf("%s: event %d of %d acknowledged ones is lost", id, n, count)
			}
		}
	}
}

func TestTooFewReplicasAreWarnedOf(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	var log safeBuffer
	s := openStore(t, Options{Addrs: []string{server.Addr}, WaitReplicas: 1, WaitTimeout: 50 * time.Millisecond, Logger: debugLogger(&log)})
	if err := s.Prepare(testContext(t)); err != nil || !strings.Contains(log.String(), "too few replicas") {
		t.Errorf("Prepare: %v, log: %s", err, log.String())
	}
	if _, err := s.Update(testContext(t), "vs_a", applying(event("vs_a", 0))); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Update: %v; want ErrUnavailable", err)
	}
}
