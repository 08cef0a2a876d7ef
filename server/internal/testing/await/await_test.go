package await

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a test that can fail and continue.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(string, ...any) { f.failed = true }

// waits reports whether a wait failed the test.
func waits(wait func(testing.TB)) (failed bool) {
	f := &failing{}
	defer func() {
		_ = recover() // Fatalf of a real test does not return
		failed = f.failed
	}()
	wait(f)
	return f.failed
}

func TestAWaitEndsWithWhatCameOrWithAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, closed, never := make(chan int, 1), make(chan int), make(chan int)
		one <- 7
		close(closed)
		if got := One(t, one); got != 7 {
			t.Errorf("got %d; want 7", got)
		}
		if got := One(t, closed); got != 0 {
			t.Errorf("got %d of a closed channel; want 0", got)
		}
		begun := time.Now()
		if !waits(func(tb testing.TB) { One(tb, never) }) || time.Since(begun) != limit {
			t.Errorf("a channel without a value: no failure after %v", time.Since(begun))
		}
		var group sync.WaitGroup
		All(t, &group)
		group.Add(1)
		if !waits(func(tb testing.TB) { All(tb, &group) }) {
			t.Error("a group that is never done: no failure")
		}
		group.Done()
	})
}
