package dev

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// maxLines is how many lines can wait for a terminal that does not take them.
const maxLines = 1000

// lastLines is how long the end waits for such a terminal.
const lastLines = time.Second

// console shows a developer, a line each in plain words, what arrives at the server and what became of
// it. Lines have session ids and Stripe's words, and neither references nor links. It is
// safe for concurrent use and never makes the server wait.
type console struct {
	lines   chan string
	dropped atomic.Int64
	ended   chan struct{}
	written chan struct{} // closed when the writer has ended; nil: it was not begun
}

func newConsole() *console {
	return &console{lines: make(chan string, maxLines), ended: make(chan struct{})}
}

// say adds a line: what it is about, and a sentence.
func (c *console) say(about, text string, args ...any) {
	line := fmt.Sprintf("%s  %-7s  %s\n", time.Now().Format(time.TimeOnly), about, fmt.Sprintf(text, args...))
	select {
	case c.lines <- line:
	default:
		c.dropped.Add(1)
	}
}

// begin writes to out from now on, also the lines that came before.
func (c *console) begin(out io.Writer) {
	c.written = make(chan struct{})
	go func() {
		defer close(c.written)
		for {
			select {
			case line := <-c.lines:
				c.write(out, line)
			case <-c.ended:
				for len(c.lines) > 0 {
					c.write(out, <-c.lines)
				}
				return
			}
		}
	}()
}

func (c *console) write(out io.Writer, line string) {
	if dropped := c.dropped.Swap(0); dropped > 0 {
		line = fmt.Sprintf("(%d lines are left out)\n", dropped) + line
	}
	_, _ = io.WriteString(out, line)
}

// end writes the lines that are left. A terminal that takes none is not waited for longer than lastLines.
func (c *console) end() {
	close(c.ended)
	if c.written == nil {
		return
	}
	select {
	case <-c.written:
	case <-time.After(lastLines):
	}
}
