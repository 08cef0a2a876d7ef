package app

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// maxDevLines is how many lines can wait for a terminal that does not take them.
const maxDevLines = 1000

// lastLines is how long the end waits for such a terminal.
const lastLines = time.Second

// devLines shows a developer, a line each in plain words, what arrives at the server and what became of
// it. Lines have session ids and Stripe's words, and neither references nor links. A nil *devLines
// shows nothing. It is safe for concurrent use and never makes the server wait.
type devLines struct {
	lines   chan string
	dropped atomic.Int64
	ended   chan struct{}
	written chan struct{} // closed when the writer has ended; nil: it was not begun
}

func newDevLines() *devLines {
	return &devLines{lines: make(chan string, maxDevLines), ended: make(chan struct{})}
}

// say adds a line: what it is about, and a sentence.
func (d *devLines) say(about, text string, args ...any) {
	line := fmt.Sprintf("%s  %-7s  %s\n", time.Now().Format(time.TimeOnly), about, fmt.Sprintf(text, args...))
	select {
	case d.lines <- line:
	default:
		d.dropped.Add(1)
	}
}

// begin writes to out from now on, also the lines that came before.
func (d *devLines) begin(out io.Writer) {
	d.written = make(chan struct{})
	go func() {
		defer close(d.written)
		for {
			select {
			case line := <-d.lines:
				d.write(out, line)
			case <-d.ended:
				for len(d.lines) > 0 {
					d.write(out, <-d.lines)
				}
				return
			}
		}
	}()
}

func (d *devLines) write(out io.Writer, line string) {
	if dropped := d.dropped.Swap(0); dropped > 0 {
		line = fmt.Sprintf("(%d lines are left out)\n", dropped) + line
	}
	_, _ = io.WriteString(out, line)
}

// end writes the lines that are left. A terminal that takes none is not waited for longer than lastLines.
func (d *devLines) end() {
	close(d.ended)
	if d.written == nil {
		return
	}
	select {
	case <-d.written:
	case <-time.After(lastLines):
	}
}
