package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store/redistest"
)

// TestCommitsThatComeWhileRedisIsBusyAreAllMade: more than fit into the batches that are under way, so that
// some wait for a third; none is forgotten, nothing stays behind.
func TestCommitsThatComeWhileRedisIsBusyAreAllMade(t *testing.T) {
	const commits = batchLanes*maxBatch + maxBatch/2 + 1
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	applied(t, s, event("vs_warm", 0))
	server.Pause()
	var making sync.WaitGroup
	for n := range commits {
		making.Go(func() {
			if got := applied(t, s, event(fmt.Sprint("vs_", n), 0)); got.Revision != 1 {
				t.Errorf("vs_%d: revision %d", n, got.Revision)
			}
		})
	}
	waiting := func() int {
		s.batches.mu.Lock()
		defer s.batches.mu.Unlock()
		return len(s.batches.waiting)
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

// TestWhoGivesUpACommitHoldsUpNobody: their own context ends their wait, not the others' commits; what was
// not sent by then is never sent.
func TestWhoGivesUpACommitHoldsUpNobody(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	applied(t, s, event("vs_warm", 0))
	for range batchLanes {
		s.batches.lanes <- struct{}{} // all lanes are busy
	}
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.batches.run(impatient, []string{"a"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	patient := make(chan error, 1)
	go func() {
		_, err := s.Update(testContext(t), "vs_a", transition(event("vs_a", 0)))
		patient <- err
	}()
	for range batchLanes {
		<-s.batches.lanes
	}
	if err := <-patient; err != nil {
		t.Error(err)
	}
	if n := len(s.batches.take()); n != 0 {
		t.Errorf("%d commits still wait", n)
	}
}
