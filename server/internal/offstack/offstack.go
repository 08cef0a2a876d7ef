// Package offstack runs a function in a short-lived goroutine, so that a long-lived caller keeps a small
// stack and can stop waiting.
//
// A goroutine's stack is as large as what it once needed. The runtime gives half of it back only if less
// than a quarter is in use. The goroutine of an open stream waits most of the time; if it runs what needs
// stack in another goroutine, it keeps 4 KiB instead of 8 or 16. That was more than half of what an idle
// watch costs.
//
// The package refuses to know what the function does. It gives the function neither a limit nor a context.
package offstack

import (
	"fmt"
	"runtime/debug"
)

// Result is how a function ended.
type Result struct {
	err      error
	panicked *Panic
}

// Panic carries a panic from the function's goroutine to the caller's. Stack is that of the function's
// goroutine: the caller's stack would not show where the panic was. Value is nil if the function ended by
// runtime.Goexit.
type Panic struct {
	Value any
	Stack []byte
}

// String returns what the runtime prints for a panic that nothing recovers.
func (p *Panic) String() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Go runs a function in a goroutine of its own and returns a channel for its one Result. The channel is
// buffered: the caller can stop waiting, but must make sure that the function ends.
func Go(run func() error) <-chan Result {
	ended := make(chan Result, 1)
	go func() {
		var result Result
		returned := false
		defer func() {
			if !returned {
				result.panicked = &Panic{recover(), debug.Stack()}
			}
			ended <- result
		}()
		result.err = run()
		returned = true
	}()
	return ended
}

// Err returns the function's error. If the function panicked, Err panics with a *Panic: the caller's
// goroutine can recover from it; in the function's goroutine it would end the process.
func (r Result) Err() error {
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}
