package importing

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Progress is how far a Run has come.
type Progress struct {
	// Waiting says what the Run waits for. It is empty if the Run works.
	Waiting string
	// Account is the account that is imported now, the Accounts-th of Of. Account is empty before the first one.
	Account      string
	Accounts, Of int
	// Done counts the sessions of this Run, Rate is that number for each second, and Reads counts the requests to Stripe.
	Done, Reads int
	Rate        float64
	// At is the time of creation up to which the sessions of Account are imported. It is zero if that is not known.
	At time.Time
	// Left estimates how many sessions of Account are left. It is negative if there is no estimate.
	Left int
}

// String returns one line, without a newline.
func (p Progress) String() string {
	var parts []string
	if p.Account != "" {
		parts = append(parts, fmt.Sprintf("%d done, %.0f a second", p.Done, p.Rate))
		if p.Left >= 0 {
			left := fmt.Sprintf("about %d left", p.Left)
			if p.Rate > 0 {
				left += fmt.Sprintf(" (%v)", time.Duration(float64(p.Left)/p.Rate*float64(time.Second)).Round(time.Second))
			}
			parts = append(parts, left)
		}
		at := fmt.Sprintf("%s, account %d of %d", p.Account, p.Accounts, p.Of)
		if !p.At.IsZero() {
			at += ", created up to " + p.At.UTC().Format(time.DateOnly)
		}
		parts = append(parts, at, plural(p.Reads, "read"))
	}
	if p.Waiting != "" {
		parts = append(parts, "waiting: "+p.Waiting)
	}
	return "import: " + strings.Join(parts, "; ")
}

// progress reports how far the walk has come.
func (w *walk) progress(waiting string) {
	p := Progress{Waiting: waiting, Account: w.account.Name(), Left: -1}
	if w.from > w.began && w.began > 0 && w.end > 0 {
		p.At = time.Unix(w.from, 0)
		p.Left = max(0, int(float64(w.done)*float64(w.end-w.from)/float64(w.from-w.began))-w.applied)
	}
	w.show(p)
}

// show completes a report with the numbers of the run.
func (r *run) show(p Progress) {
	r.mu.Lock()
	p.Done, p.Reads = r.summary.Sessions(), r.summary.Reads
	p.Accounts, p.Of = r.summary.Accounts+len(r.summary.Refused)+1, len(r.job.accounts)
	r.mu.Unlock()
	if took := r.config.Clock().Sub(r.began); took > 0 {
		p.Rate = float64(p.Done) / took.Seconds()
	}
	r.config.Progress(p)
}

const (
	// terminalEvery and linesEvery are the least times between two reports on a terminal and elsewhere.
	terminalEvery = 200 * time.Millisecond
	linesEvery    = 10 * time.Second
)

// Printer prints reports: on a terminal a single line that it writes again and again, elsewhere plain lines, fewer of them.
type Printer struct {
	out      io.Writer
	terminal bool
	clock    func() time.Time

	printed time.Time
	open    bool // the cursor of the terminal is behind a report
}

// NewPrinter returns a Printer.
func NewPrinter(out io.Writer, terminal bool, clock func() time.Time) *Printer {
	return &Printer{out: out, terminal: terminal, clock: clock}
}

// Print prints a report, unless the last one was printed a moment ago.
func (p *Printer) Print(report Progress) {
	every, line := linesEvery, report.String()+"\n"
	if p.terminal {
		every, line = terminalEvery, "\r\x1b[K"+report.String()
	}
	now := p.clock()
	if !p.printed.IsZero() && now.Sub(p.printed) < every {
		return
	}
	p.printed, p.open = now, p.terminal
	_, _ = io.WriteString(p.out, line)
}

// End ends the line on a terminal.
func (p *Printer) End() {
	if p.open {
		_, _ = io.WriteString(p.out, "\n")
		p.open = false
	}
}
