// Package turn has a part of a goroutine's work done by another one, which ends with that part.
//
// The stack of a goroutine is as large as what it once needed, and the runtime gives half of it back only
// where less than a quarter is in use. So a goroutine that is there for as long as a stream is open, and
// waits most of that time, has done elsewhere what needs stack: 4 KiB instead of 8 or 16 were more than
// half of what an idle watch costs. And what waits for a caller can be given up without it.
//
// It refuses to know what is done, and gives it neither a limit nor a context.
package turn

import (
	"fmt"
	"runtime/debug"
)

// Turn is what became of one.
type Turn struct {
	err      error
	panicked *Panic
}

// Panic is the panic of a turn, on its way to whoever recovers from those of the goroutine that began it:
// the stack there would not say where it was. Value is nil where the turn ended by runtime.Goexit.
type Panic struct {
	Value any
	Stack []byte
}

// String is what the runtime prints where nobody recovers.
func (p *Panic) String() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Begin takes a turn. What became of it comes over the channel, which has room for it: whoever began it
// may cease to wait, but must see to it that it ends.
func Begin(take func() error) <-chan Turn {
	ended := make(chan Turn, 1)
	go func() {
		var t Turn
		returned := false
		defer func() {
			if !returned {
				t.panicked = &Panic{recover(), debug.Stack()}
			}
			ended <- t
		}()
		t.err = take()
		returned = true
	}()
	return ended
}

// Err is what the turn returned. If it panicked, so does Err, with a *Panic: there it can be recovered
// from, in the turn's own goroutine it would end the process.
func (t Turn) Err() error {
	if t.panicked != nil {
		panic(t.panicked)
	}
	return t.err
}
