package golive

import (
	"fmt"
	"io"
)

// verdict is the result of one check.
type verdict string

const (
	holds   verdict = "ok"
	fails   verdict = "problem"
	skipped verdict = "skipped" // the program cannot make this check
)

// report collects the results.
type report struct {
	lines    []line
	toTick   []string
	problems int
}

type line struct {
	verdict verdict
	about   string
	text    string
}

func (r *report) add(v verdict, about, format string, args ...any) {
	if v == fails {
		r.problems++
	}
	r.lines = append(r.lines, line{v, about, fmt.Sprintf(format, args...)})
}

func (r *report) ok(about, format string, args ...any)      { r.add(holds, about, format, args...) }
func (r *report) problem(about, format string, args ...any) { r.add(fails, about, format, args...) }
func (r *report) skip(about, format string, args ...any)    { r.add(skipped, about, format, args...) }

// tick adds something that only a person can check.
func (r *report) tick(format string, args ...any) {
	r.toTick = append(r.toTick, fmt.Sprintf(format, args...))
}

// write writes the results and the list to tick. It returns an error if there is a problem.
func (r *report) write(out io.Writer) error {
	for _, l := range r.lines {
		if _, err := fmt.Fprintf(out, "%-8s %-12s %s\n", l.verdict, l.about, l.text); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintln(out, "\nOnly a person can check this:")
	for _, text := range r.toTick {
		if _, err := fmt.Fprintf(out, "[ ] %s\n", text); err != nil {
			return err
		}
	}
	switch r.problems {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("not ready to go live: 1 problem")
	default:
		return fmt.Errorf("not ready to go live: %d problems", r.problems)
	}
}
