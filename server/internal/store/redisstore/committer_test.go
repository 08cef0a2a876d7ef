package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
)

// TestCommitsThatComeWhileRedisIsBusyAreAllMade: more commits come than fit into the batches in progress, so some
// wait for a third batch. All are made, and none stays in the queue.
func TestCommitsThatComeWhileRedisIsBusyAreAllMade(t *testing.T) {
	const commits = batchLanes*maxBatch + maxBatch/2 + 1
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, s, event("vs_warm", 0))
	server.Pause()
	var making sync.WaitGroup
	for n := range commits {
		making.Go(func() {
			if got := apply(t, s, event(fmt.Sprint("vs_", n), 0)); got.Revision != 1 {
				t.Errorf("vs_%d: revision %d", n, got.Revision)
			}
		})
	}
	waiting := func() int {
		s.committers[0].mu.Lock()
		defer s.committers[0].mu.Unlock()
		return len(s.committers[0].waiting)
	}
	for deadline := time.Now().Add(time.Second); waiting() < commits-batchLanes*maxBatch && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // Redis must not hang for as long as its clients' patience
	}
	server.Resume()
	making.Wait()
	for n := range commits {
		if session, err := s.Get(testContext(t), fmt.Sprint("vs_", n)); err != nil || session.Revision != 1 {
			t.Errorf("vs_%d: revision %d, %v", n, session.Revision, err)
		}
	}
	if waiting() != 0 {
		t.Errorf("%d commits still wait", waiting())
	}
}

// TestACommitThatComesAfterCloseEnds: an update reads the session before it commits. Close can come between the two, and a
// caller without a deadline must not wait for a lane that nobody frees.
func TestACommitThatComesAfterCloseEnds(t *testing.T) {
	s, err := Open(Options{Addrs: []string{redistest.Start(t).Addr}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.committers[0].run(context.Background(), []string{"a"}, nil)
		ended <- err
	}()
	if err := await.One(t, ended); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("got %v; want ErrClosed", err)
	}
}

// TestACallerThatGivesUpACommitDelaysNobody: a context ends the wait of its own caller and no other commit. A request whose
// context ended before it was sent is never sent.
func TestACallerThatGivesUpACommitDelaysNobody(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, s, event("vs_warm", 0))
	for range batchLanes {
		s.committers[0].lanes <- struct{}{} // all lanes are busy
	}
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.committers[0].run(impatient, []string{"a"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	patient := make(chan error, 1)
	go func() {
		_, err := s.Update(testContext(t), "vs_a", applying(event("vs_a", 0)))
		patient <- err
	}()
	for range batchLanes {
		await.One(t, s.committers[0].lanes)
	}
	if err := await.One(t, patient); err != nil {
		t.Error(err)
	}
	if n := len(s.committers[0].take()); n != 0 {
		t.Errorf("%d commits still wait", n)
	}
}

// hanging is a call of a script that ends when the test allows it, whatever its context says.
type hanging struct {
	begun chan struct{}
	end   chan struct{}
}

func (hanging) DialHook(next redis.DialHook) redis.DialHook { return next }
func (hanging) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h hanging) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if command.Name() == "evalsha" {
			h.begun <- struct{}{}
			select {
			case <-h.end:
			case <-time.After(time.Minute): // the test has failed, and Close must end
			}
		}
		return next(ctx, command)
	}
}

// TestNoCallerWaitsForABatchPastItsDeadline: this includes the caller whose commit began the batch. Otherwise a
// webhook could not be answered in time, and a call with a short deadline would not get its error.
func TestNoCallerWaitsForABatchPastItsDeadline(t *testing.T) {
	s := openStore(t, Options{Addrs: []string{redistest.Start(t).Addr}})
	apply(t, s, event("vs_warm", 0))
	stuck := hanging{begun: make(chan struct{}, 1), end: make(chan struct{})}
	s.client.AddHook(stuck)
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := s.Update(ctx, "vs_a", applying(event("vs_a", 0)))
		given <- err
	}()
	await.One(t, stuck.begun)
	cancel()
	select {
	case err := <-given:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want Canceled", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the call waits for its batch although its context has ended")
	}
	close(stuck.end)
}

// TestANodeThatHangsHoldsUpItsOwnCommitsAlone: the commits on the other nodes of the Cluster are made in time.
func TestANodeThatHangsHoldsUpItsOwnCommitsAlone(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	for _, node := range cluster.Nodes { // a node that hangs takes nothing else with it
		node.MustAsk("CONFIG", "SET", "cluster-node-timeout", "60000")
		node.MustAsk("CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
	s := openStore(t, Options{Addrs: cluster.Addrs(), Mode: Cluster})
	of := func(partition int) *redistest.Server { return cluster.MasterOf(slot(s.keys.feed(partition))) }
	hangs := of(0)
	elsewhere := make(map[int]bool)
	for partition := range partitions {
		elsewhere[partition] = of(partition) != hangs
	}
	for n := range 4 * partitions { // the nodes know the script, and the driver has connections
		apply(t, s, event(fmt.Sprint("vs_warm", n), 0))
	}
	hangs.Pause()
	defer hangs.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), batchTimeout-time.Second) // a batch that hangs hangs longer
	defer cancel()
	var others, stuck sync.WaitGroup
	for n := range 4 * partitions {
		id, waits := fmt.Sprint("vs_", n), &stuck
		if elsewhere[s.Partition(id)] {
			waits = &others
		}
		waits.Go(func() {
			_, err := s.Update(ctx, id, applying(event(id, 0)))
			if err != nil && elsewhere[s.Partition(id)] {
				t.Errorf("%s is on a node that answers: %v", id, err)
			}
			if err == nil && !elsewhere[s.Partition(id)] {
				t.Errorf("%s is on a node that hangs", id)
			}
		})
	}
	others.Wait()
	cancel()
	stuck.Wait()
}
