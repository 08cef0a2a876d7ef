package shares_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/testing/await"
)

// visit waits for a unit, notes its name and holds the unit for a second.
func visit(ctx context.Context, q *shares.Queue, holder shares.Holder, note func()) error {
	unit, err := q.Wait(ctx, holder)
	if err != nil {
		return err
	}
	defer unit.Release()
	note()
	time.Sleep(time.Second)
	return nil
}

// TestG15_AFloodInAQueueDelaysNobodyElse: the calls of a holder get units in their order, and holders alternate.
func TestG15_AFloodInAQueueDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := shares.NewQueue(1, 0)
		var calls sync.WaitGroup
		var order []string
		for _, name := range []string{"flood", "a", "b"} {
			for n := range map[string]int{"flood": 100, "a": 3, "b": 2}[name] {
				calls.Go(func() {
					if err := visit(t.Context(), q, shares.Named(name), func() { order = append(order, fmt.Sprint(name, n)) }); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
		}
		calls.Wait()
		want := []string{"flood0", "flood1", "a0", "b0", "flood2", "a1", "b1", "flood3", "a2", "flood4", "flood5"}
		if got := order[:len(want)]; !slices.Equal(got, want) {
			t.Errorf("got units in the order %v, want %v", got, want)
		}
	})
}

// TestG15_ShareOfAQueue: a holder at its share waits while units are free, which other holders get at once.
func TestG15_ShareOfAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := shares.NewQueue(4, 1)
		var calls sync.WaitGroup
		began := time.Now()
		for range 5 {
			calls.Go(func() { _ = visit(t.Context(), q, shares.Named("a"), func() {}) })
		}
		synctest.Wait()
		if _, err := q.Take(shares.Named("a")); !errors.Is(err, shares.ErrShare) {
			t.Errorf("a further unit of the same holder: got %v, want ErrShare", err)
		}
		for _, name := range []string{"b", "c", "d"} {
			if _, err := q.Take(shares.Named(name)); err != nil {
				t.Errorf("a unit for %s: %v", name, err)
			}
		}
		if _, err := q.Take(shares.Named("e")); !errors.Is(err, shares.ErrFull) {
			t.Errorf("a fifth unit: got %v, want ErrFull", err)
		}
		calls.Wait()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("five calls of a second each, one at a time, took %v", took)
		}
	})
}

// TestACallThatGivesUpLeavesTheQueue, and the next call gets the unit that it would have had.
func TestACallThatGivesUpLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := shares.NewQueue(1, 0)
		held, err := q.Take(shares.Named("a"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := q.Wait(ctx, shares.Named("b")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if _, err := q.Wait(ctx, shares.Named("b")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that has ended: got %v, want its error", err)
		}
		held.Release()
		held.Release()
		if _, err := q.Take(shares.Named("c")); err != nil {
			t.Errorf("the unit was not returned: %v", err)
		}
		if _, err := q.Take(shares.Named("c")); !errors.Is(err, shares.ErrFull) {
			t.Errorf("a second release made a second unit: %v", err)
		}
	})
}

// TestG15_QueueNeverExceedsItsBounds with random holders that wait, give up and release, all at once. Afterwards all units are free.
func TestG15_QueueNeverExceedsItsBounds(t *testing.T) {
	const units, each = 6, 2
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	q := shares.NewQueue(units, each)
	var mu sync.Mutex
	held, all := map[shares.Holder]int{}, 0
	count := func(holder shares.Holder, by int) {
		mu.Lock()
		defer mu.Unlock()
		held[holder] += by
		all += by
		if held[holder] > each || all > units {
			t.Errorf("%v has %d units of %d in use", holder, held[holder], all)
		}
	}
	var calls sync.WaitGroup
	for n := range 40 {
		calls.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			holder := shares.Named(fmt.Sprint("caller ", n%5))
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(300))*time.Microsecond)
				unit, err := q.Wait(ctx, holder)
				if err == nil {
					count(holder, 1)
					count(holder, -1)
					unit.Release()
				}
				cancel()
			}
		})
	}
	await.All(t, &calls)
	for n := range units {
		if _, err := q.Take(shares.Named(fmt.Sprint("later ", n))); err != nil {
			t.Errorf("unit %d was lost: %v", n, err)
		}
	}
}
