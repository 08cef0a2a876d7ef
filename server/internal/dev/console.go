package dev

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// maxLines is the limit of lines that wait for a slow terminal.
const maxLines = 1000

// lastLines is how long end waits for a slow terminal.
const lastLines = time.Second

// console prints one line in plain words for each event, retry and watch, with its result. A line has session ids and Stripe's
// words, but no references and no links. It is safe for concurrent use, and never blocks the server.
type console struct {
	lines   chan string
	dropped atomic.Int64
	ended   chan struct{}
	written chan struct{} // closed when the writer has ended; nil before begin
}

func newConsole() *console {
	return &console{lines: make(chan string, maxLines), ended: make(chan struct{})}
}

// say adds a line: a subject and a sentence. It drops the line if too many are waiting.
func (c *console) say(about, text string, args ...any) {
	line := fmt.Sprintf("%s  %-7s  %s\n", time.Now().Format(time.TimeOnly), about, fmt.Sprintf(text, args...))
	select {
	case c.lines <- line:
	default:
		c.dropped.Add(1)
	}
}

// begin starts to write the lines to out, also those that were added before.
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

// end writes the lines that are left, for at most lastLines.
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
