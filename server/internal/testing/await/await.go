// Package await bounds the waits of tests. Code that is wrong then fails a test with a line of its own, and
// does not hold the whole run until the time limit of go test. It is for tests alone, and knows nothing of
// what they test.
package await

import (
	"sync"
	"testing"
	"time"
)

// limit is far longer than anything that a test waits for takes on a busy machine.
const limit = time.Minute

// One returns what a channel delivers, or its zero value once it is closed. It fails the test after a
// minute. Call it from the test's goroutine.
func One[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case value := <-from:
		return value
	case <-timer.C:
		t.Fatalf("waited %v in vain", limit)
		panic("unreachable")
	}
}

// All returns when a group is done. It fails the test after a minute. Call it from the test's goroutine.
func All(t testing.TB, group *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		group.Wait()
	}()
	One(t, done)
}
