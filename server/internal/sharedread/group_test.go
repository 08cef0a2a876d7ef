package sharedread

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// reads is a group under test: its answers are numbers.
type reads = Group[string, int64]

func TestWaitingCallersShareTheNextReadAndNeverTheOneUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared reads
		var runs atomic.Int64
		gate := make(chan struct{})
		run := func(context.Context) (int64, error) {
			n := runs.Add(1)
			<-gate
			return n, nil
		}
		answers := make(chan int64, 100)
		join := func() {
			read, err := shared.Next(t.Context(), "vs_1", run)
			if err != nil {
				t.Error(err)
			}
			answers <- read
		}
		go join()
		synctest.Wait()
		for range 50 {
			go join()
		}
		synctest.Wait()
		if runs.Load() != 1 {
			t.Fatalf("%d reads at the same time", runs.Load())
		}
		gate <- struct{}{}
		if first := <-answers; first != 1 {
			t.Errorf("the first got read %d", first)
		}
		synctest.Wait()
		for range 20 { // come while the second is under way
			go join()
		}
		synctest.Wait()
		close(gate)
		counts := map[int64]int{}
		for range 70 {
			counts[<-answers]++
		}
		if counts[2] != 50 || counts[3] != 20 || runs.Load() != 3 {
			t.Errorf("answers by read %v, %d reads; want 50 of the 2nd, 20 of the 3rd", counts, runs.Load())
		}
		shared.Wait()
		if len(shared.waiting) != 0 {
			t.Errorf("%d keys are still kept", len(shared.waiting))
		}
	})
}

// Whatever the interleaving, a read is given only to those who asked before it began.
func TestAReadBeginsAfterEveryoneWhoGetsIt(t *testing.T) {
	var shared reads
	var clock atomic.Int64
	ids := []string{"vs_1", "vs_2", "vs_3"}
	var group sync.WaitGroup
	for g := range 16 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			for range 200 {
				id := ids[random.IntN(len(ids))]
				asked := clock.Add(1)
				read, err := shared.Next(t.Context(), id, func(context.Context) (int64, error) {
					began := clock.Add(1)
					for range random.IntN(50) {
						clock.Load()
					}
					return began, nil
				})
				if err != nil || read <= asked {
					t.Errorf("asked at %d, got a read begun at %d (%v)", asked, read, err)
				}
			}
		})
	}
	group.Wait()
	shared.Wait()
	if len(shared.waiting) != 0 {
		t.Errorf("%d keys are still kept", len(shared.waiting))
	}
}

func TestAnImpatientCallerLeavesAndTheOthersGetTheirRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared reads
		slow := func(context.Context) (int64, error) { time.Sleep(time.Minute); return 1, nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		patient := make(chan error, 1)
		go func() {
			_, err := shared.Next(ctx, "vs_1", slow)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		}()
		synctest.Wait()
		go func() {
			_, err := shared.Next(t.Context(), "vs_1", slow)
			patient <- err
		}()
		if err := <-patient; err != nil {
			t.Errorf("error %v", err)
		}
		shared.Wait()
	})
}

func TestAnErrorGoesToTheCallersOfThatReadOnly(t *testing.T) {
	var shared reads
	wrong := errors.New("boom")
	if _, err := shared.Next(t.Context(), "vs_1", func(context.Context) (int64, error) { return 0, wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v", err)
	}
	read, err := shared.Next(t.Context(), "vs_1", func(context.Context) (int64, error) { return 7, nil })
	if err != nil || read != 7 {
		t.Errorf("%+v, %v", read, err)
	}
	shared.Wait()
}

func TestDifferentSessionsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared reads
		began := time.Now()
		var group sync.WaitGroup
		for _, id := range []string{"vs_1", "vs_2", "vs_3"} {
			group.Go(func() {
				_, _ = shared.Next(t.Context(), id, func(context.Context) (int64, error) { time.Sleep(time.Second); return 1, nil })
			})
		}
		group.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		shared.Wait()
	})
}

// What a caller writes because of an answer must not look newer than the next read.
func TestTheNextReadBeginsAfterTheAnswerIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared reads
		var runs atomic.Int64
		first := make(chan struct{})
		run := func(context.Context) (int64, error) {
			n := runs.Add(1)
			if n == 1 {
				<-first
			}
			return n, nil
		}
		gates := []chan error{make(chan error), make(chan error)}
		var group sync.WaitGroup
		used := errors.New("used")
		use := func(want int64, gate chan error) {
			group.Go(func() {
				err := shared.Use(t.Context(), "vs_1", run, func(n int64) error {
					if n != want {
						t.Errorf("got read %d, want %d", n, want)
					}
					return <-gate
				})
				if !errors.Is(err, used) {
					t.Errorf("error %v", err)
				}
			})
			synctest.Wait()
		}
		open := make(chan error, 1)
		open <- used
		use(1, open)
		use(2, gates[0])
		use(2, gates[1])
		close(first)
		synctest.Wait()
		last := make(chan error, 1)
		last <- used
		use(3, last)
		waited := make(chan struct{})
		go func() { shared.Wait(); close(waited) }()
		for n, gate := range gates {
			synctest.Wait()
			select {
			case <-waited:
				t.Error("Wait returned while an answer was in use and a read was to begin")
			default:
			}
			if runs.Load() != 2 {
				t.Errorf("%d reads before caller %d has used the 2nd", runs.Load(), n)
			}
			gate <- used
			synctest.Wait()
		}
		group.Wait()
		<-waited
		if runs.Load() != 3 || len(shared.waiting) != 0 {
			t.Errorf("%d reads, want 3; %d keys are still kept", runs.Load(), len(shared.waiting))
		}
	})
}
