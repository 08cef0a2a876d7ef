package redisstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// headsOf returns the heads of the feed.
func headsOf(t *testing.T, s *Store) []store.Position {
	t.Helper()
	positions := make([]store.Position, partitions)
	for partition := range positions {
		head, err := s.Head(testContext(t), partition)
		if err != nil {
			t.Fatal(err)
		}
		positions[partition] = head
	}
	return positions
}

// createConsumer creates a consumer at the heads of the feed.
func createConsumer(t *testing.T, s *Store, name string) store.Consumer {
	t.Helper()
	consumer, created, err := s.CreateConsumer(testContext(t), store.Consumer{Name: name, Owner: "pay", Positions: headsOf(t, s)}, 0)
	if err != nil || !created {
		t.Fatalf("CreateConsumer(%s): created %v, %v; want a new one", name, created, err)
	}
	return consumer
}

// moveTo moves a consumer to positions.
func moveTo(t *testing.T, s *Store, consumer store.Consumer, to []store.Position) store.Consumer {
	t.Helper()
	moved, err := s.MoveConsumer(testContext(t), consumer.Name, consumer.Incarnation, consumer.Positions, to)
	if err != nil || !slices.Equal(moved.Positions, to) {
		t.Fatalf("MoveConsumer(%s) = %+v, %v; want it at %+v", consumer.Name, moved, err, to)
	}
	return moved
}

// TestLostAnswersOfConsumers: the driver sends a script again if its answer was lost. The consumer that the first sending created is new
// for its caller, a lease is held, and a move is made once.
func TestLostAnswersOfConsumers(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	s := openStore(t, Options{Addrs: []string{proxy.addr()}})
	warm := createConsumer(t, s, "warm") // the scripts are known from now on
	lease := func(consumer store.Consumer) {
		t.Helper()
		if held, _, err := s.LeaseConsumer(testContext(t), consumer.Name, consumer.Incarnation, "stream", "pay", time.Minute); err != nil || !held {
			t.Errorf("LeaseConsumer(%s) = %v, %v; want it held", consumer.Name, held, err)
		}
	}
	lease(warm)
	moveTo(t, s, warm, warm.Positions)
	losing := func(script string, do func()) {
		t.Helper()
		proxy.loseAnswers(script, 1)
		do()
		if proxy.lost() != 0 {
			t.Fatal("no answer was lost")
		}
	}
	var consumer store.Consumer
	losing(consumerCreateScript.Hash(), func() { consumer = createConsumer(t, s, "billing") })
	if stored, err := s.Consumer(testContext(t), "billing"); err != nil || stored.Incarnation != consumer.Incarnation {
		t.Errorf("Consumer = %+v, %v; want incarnation %d", stored, err, consumer.Incarnation)
	}
	losing(consumerLeaseScript.Hash(), func() { lease(consumer) })
	apply(t, s, event("vs_a", 0))
	var moved store.Consumer
	losing(consumerMoveScript.Hash(), func() { moved = moveTo(t, s, consumer, headsOf(t, s)) })
	if !moved.Active || moved.Holder != "pay" {
		t.Errorf("the moved consumer is active %v, held by %q; want pay", moved.Active, moved.Holder)
	}
	if err := s.DeleteConsumer(testContext(t), "warm", warm.Incarnation, nil); err != nil {
		t.Fatal(err)
	}
	losing(consumerDeleteScript.Hash(), func() {
		if err := s.DeleteConsumer(testContext(t), "billing", consumer.Incarnation, nil); err != nil {
			t.Error(err)
		}
	})
	if all, err := s.ListConsumers(testContext(t)); err != nil || len(all) != 0 {
		t.Errorf("ListConsumers = %+v, %v; want none", all, err)
	}
}

// TestACreationSentAgainChangesNothing: the consumer can have moved between the two sendings.
func TestACreationSentAgainChangesNothing(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		create := func() store.Consumer {
			t.Helper()
			answer, err := s.createConsumer(testContext(t), "billing", 7, "pay", formatPositions(make([]store.Position, partitions)), store.MaxConsumers, 0)
			if err != nil || answer[0] != "created" {
				t.Fatalf("the script's answer: %q, %v; want created", answer, err)
			}
			consumer, err := s.consumerIn(testContext(t), "billing", answer[1:], nil)
			if err != nil {
				t.Fatal(err)
			}
			return consumer
		}
		moved := moveTo(t, s, create(), headsOf(t, s))
		if again := create(); !slices.Equal(again.Positions, moved.Positions) {
			t.Errorf("sent again it has the positions %+v; want %+v", again.Positions, moved.Positions)
		}
	})
}

// TestG14_LostConsumersAreNotFound: a Redis that has lost the consumers finds none, and gives another incarnation to a new one.
func TestG14_LostConsumersAreNotFound(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		consumer := createConsumer(t, s, "billing")
		if err := rawClient(t, addr).FlushAll(testContext(t)).Err(); err != nil {
			t.Fatal(err)
		}
		notFound := func(when string) {
			t.Helper()
			_, err1 := s.MoveConsumer(testContext(t), "billing", consumer.Incarnation, consumer.Positions, consumer.Positions)
			_, _, err2 := s.LeaseConsumer(testContext(t), "billing", consumer.Incarnation, "stream", "pay", time.Minute)
			if !errors.Is(err1, store.ErrNotFound) || !errors.Is(err2, store.ErrNotFound) {
				t.Errorf("%s: MoveConsumer: %v, LeaseConsumer: %v; want ErrNotFound", when, err1, err2)
			}
		}
		notFound("after the loss")
		if again := createConsumer(t, s, "billing"); again.Incarnation == consumer.Incarnation {
			t.Error("the new consumer has the incarnation of the lost one")
		}
		notFound("with a new one")
	})
}

// TestConsumersThatCannotBeRead: such a consumer is left out of the list, and takes up its name and its room.
func TestConsumersThatCannotBeRead(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		raw := rawClient(t, addr)
		var log safeBuffer
		s := openStore(t, Options{Addrs: []string{addr}, Logger: debugLogger(&log)})
		whole := createConsumer(t, s, "whole")
		text := formatPositions(whole.Positions)
		for n, fields := range []map[string]string{
			{"incarnation": "x"}, {"positions": ""}, {"positions": strings.TrimSuffix(text, "/0")}, {"positions": text + " 1/1/1"},
			{"positions": "x" + text}, {"acknowledged": "soon"},
		} {
			name := fmt.Sprint("broken-", n)
			createConsumer(t, s, name)
			for attribute, value := range fields {
				raw.HSet(testContext(t), "vs:consumers", attribute+":"+name, value)
			}
			if _, err := s.Consumer(testContext(t), name); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Consumer with %v: %v; want ErrCorrupt", fields, err)
			}
			all, err := s.ListConsumers(testContext(t))
			if err != nil || len(all) != 1 || all[0].Name != "whole" || !strings.Contains(log.String(), "consumer="+name) {
				t.Errorf("ListConsumers = %+v, %v; want whole alone, and %s logged:\n%s", all, err, name, log.String())
			}
		}
		raw.HSet(testContext(t), "vs:consumers", "until:whole", "soon", "foreign", "1")
		if consumer, err := s.Consumer(testContext(t), "whole"); err != nil || consumer.Active {
			t.Errorf("Consumer with a lease that cannot be read: %+v, %v; want no lease", consumer, err)
		}
	})
}

// TestAForeignKeyInPlaceOfTheConsumers: the calls say so, and change nothing.
func TestAForeignKeyInPlaceOfTheConsumers(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	positions := headsOf(t, s)
	server.MustAsk("SET", "vs:consumers", "mine")
	ctx := testContext(t)
	for what, call := range map[string]func() error{
		"ListConsumers": func() error { _, err := s.ListConsumers(ctx); return err },
		"Consumer":      func() error { _, err := s.Consumer(ctx, "billing"); return err },
		"CreateConsumer": func() error {
			_, _, err := s.CreateConsumer(ctx, store.Consumer{Name: "billing", Positions: positions}, 0)
			return err
		},
		"LeaseConsumer":  func() error { _, _, err := s.LeaseConsumer(ctx, "billing", 1, "stream", "", time.Minute); return err },
		"MoveConsumer":   func() error { _, err := s.MoveConsumer(ctx, "billing", 1, positions, positions); return err },
		"DeleteConsumer": func() error { return s.DeleteConsumer(ctx, "billing", 1, nil) },
	} {
		if err := call(); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrCorrupt", what, err)
		}
	}
	if got := server.MustAsk("GET", "vs:consumers"); got != "mine" {
		t.Errorf("the foreign key holds %q; want what it held", got)
	}
}

// TestG14_ACreationWaitsForReplicas: a consumer that no replica has is not given out, neither to its creator nor to another caller who
// finds it. Mutation: without the write for a consumer that exists, the second caller does not wait on Redis 8 and Valkey 8.
func TestG14_ACreationWaitsForReplicas(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	o := Options{Addrs: []string{master.Addr}, WaitReplicas: 1, WaitTimeout: 150 * time.Millisecond}
	s, other := openStore(t, o), openStore(t, o)
	untilApplied(t, s, event("vs_a", 0)) // a replica that has just begun can be slow
	fresh := store.Consumer{Name: "billing", Owner: "pay", Positions: headsOf(t, s)}
	waitUntil(t, func() bool {
		return strings.Contains(master.Info("slave0"), ",offset="+master.Info("master_repl_offset")+",")
	})
	replica.Pause()
	for what, by := range map[string]*Store{"the creator": s, "another": other} {
		if _, created, err := by.CreateConsumer(testContext(t), fresh, 0); !errors.Is(err, store.ErrUnavailable) || created {
			t.Errorf("CreateConsumer by %s: created %v, %v; want ErrUnavailable", what, created, err)
		}
	}
	replica.Resume()
	replica.AwaitSynced(master)
	waitUntil(t, func() bool {
		_, _, err := other.CreateConsumer(testContext(t), fresh, 0)
		return err == nil
	})
	if got := replica.MustAsk("HGET", "vs:consumers", "owner:billing"); got != "pay" {
		t.Errorf("the replica has the owner %q; want pay", got)
	}
}

// A consumer that cannot be read is logged once an hour, however often the consumers are listed.
func TestHourly(t *testing.T) {
	var h hourly
	begin := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		name  string
		after time.Duration
		due   bool
	}{{"a", 0, true}, {"a", 0, false}, {"b", time.Minute, true}, {"a", time.Hour - 1, false}, {"a", time.Hour, true}, {"b", time.Hour, false}, {"a", time.Hour + time.Minute, false}} {
		if due := h.isDue(test.name, begin.Add(test.after)); due != test.due {
			t.Errorf("isDue(%s) after %v = %v; want %v", test.name, test.after, due, test.due)
		}
	}
}
