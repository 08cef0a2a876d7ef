// Command skips reads the stream of go test -json, prints what go test prints without it, and then lists each test that was
// skipped, with its reason: plain go test is silent about the skips of a package that passes.
//
//	go test -json ./... | go run ./.ci/skips
//
// With -allowed it fails if a test was skipped that the file does not name, or if no test ran: -run can name a test that is not there any
// more. It also fails if a test failed, or if the stream is empty.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

const module = "example.com/verification-status/"

func main() {
	file := flag.String("allowed", "", "a file with the skips that are allowed, each on a line: a package below the module, and a test or -short")
	flag.Parse()
	var allowed list
	if *file != "" {
		text, err := os.Open(*file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "skips:", err)
			os.Exit(2)
		}
		allowed = newList(text)
		_ = text.Close()
	}
	if err := run(os.Stdin, os.Stdout, allowed); err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(1)
	}
}

// event is a line of go test -json: see go doc test2json.
type event struct {
	Action, Package, Test, Output string
}

// skip is a test that was skipped. Its test is "-short" if the package itself left something out.
type skip struct{ pkg, test, reason string }

// list holds the skips that are allowed, as "package test". A nil list allows every skip.
type list map[string]bool

func newList(text io.Reader) list {
	l := list{}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) >= 2 && words[0] != "#" {
			l[words[0]+" "+words[1]] = true
		}
	}
	return l
}

// allows returns whether the list names the skipped test, or the test that it is a part of.
func (l list) allows(s skip) bool {
	whole, _, _ := strings.Cut(s.test, "/")
	return l == nil || l[s.pkg+" "+s.test] || l[s.pkg+" "+whole]
}

// run copies the stream to out in the form of plain go test, and then lists the skips. It returns an error if a package
// failed or did not end, if no package was tested, or, with a list, if a test was skipped that it does not allow or if no test ran.
func run(stream io.Reader, out io.Writer, allowed list) error {
	open := map[string]*pkg{} // the packages that have not ended
	var ended, tests, failed, refused int
	var skips []skip
	for lines := bufio.NewReader(stream); ; {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) != nil:
			fmt.Fprintf(out, "%s", line) // a line of the go command itself
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Package != "":
			p := open[e.Package]
			if p == nil {
				p = &pkg{name: strings.TrimPrefix(e.Package, module), tests: map[string]*test{}}
				open[e.Package] = p
			}
			if p.add(e); p.ended {
				delete(open, e.Package)
				p.print(out)
				skips = append(skips, p.skips()...)
				ended++
				tests += len(p.order)
				if p.failed {
					failed++
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	for _, s := range skips {
		verdict := "skipped"
		if !allowed.allows(s) {
			verdict = "skipped, and not allowed"
			refused++
		}
		fmt.Fprintf(out, "%s: %s %s: %s\n", verdict, s.pkg, s.test, s.reason)
	}
	for _, p := range open {
		p.failed = true
		p.print(out)
	}
	switch failed += len(open); {
	case failed > 0:
		return fmt.Errorf("%d packages failed", failed)
	case ended == 0:
		return errors.New("no package was tested")
	case tests == 0 && allowed != nil:
		return errors.New("no test ran: does -run name one?")
	case refused > 0:
		return fmt.Errorf("%d tests were skipped that the list does not allow", refused)
	}
	return nil
}

// pkg is what is known of a package.
type pkg struct {
	name          string
	order         []string
	tests         map[string]*test
	output        []string // of no test, or after the end of one
	ended, failed bool
}

// test is what is known of a test or a benchmark.
type test struct {
	output []string
	action string // the last one: pass, fail or skip; empty while it runs
	passed bool   // its line --- PASS has come
}

// marks are lines that only go test -v prints.
var marks = regexp.MustCompile(`^\s*(=== (RUN|PAUSE|CONT|NAME)\b|--- PASS: )`)

func (p *pkg) add(e event) {
	if e.Test == "" {
		switch e.Action {
		case "output":
			p.output = append(p.output, e.Output)
		case "pass", "skip":
			p.ended = true
		case "fail":
			p.ended, p.failed = true, true
		}
		return
	}
	t := p.tests[e.Test]
	if t == nil {
		t = &test{}
		p.tests[e.Test], p.order = t, append(p.order, e.Test)
	}
	switch e.Action {
	case "output":
		t.passed = t.passed || strings.HasPrefix(e.Output, "--- PASS: ")
		switch {
		case marks.MatchString(e.Output):
		case t.passed && strings.TrimLeft(e.Output, " \t") == e.Output:
			p.output = append(p.output, e.Output) // test2json names the last test for a panic or a race that comes after it
		default:
			t.output = append(t.output, e.Output)
		}
	case "pass", "fail", "skip":
		t.action = e.Action
	}
}

// print prints the tests that failed or did not end, and what the package itself says.
func (p *pkg) print(out io.Writer) {
	for _, name := range p.order {
		if t := p.tests[name]; p.failed && (t.action == "fail" || t.action == "") {
			fmt.Fprint(out, strings.Join(t.output, ""))
		}
	}
	for _, line := range p.output {
		if p.failed || strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "?   \t") {
			fmt.Fprint(out, line)
		}
	}
}

// leftOut begins the line in which a package says what -short left out.
const leftOut = "left out: "

// position begins a line of t.Skip.
var position = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

func (p *pkg) skips() (skips []skip) {
	for _, line := range p.output {
		if text, found := strings.CutPrefix(line, leftOut); found {
			skips = append(skips, skip{p.name, "-short", strings.TrimSpace(text)})
		}
	}
	for _, name := range p.order {
		t := p.tests[name]
		if t.action != "skip" {
			continue
		}
		var text []string
		for _, line := range t.output {
			if !strings.HasPrefix(strings.TrimSpace(line), "--- SKIP: ") {
				text = append(text, strings.TrimSpace(position.ReplaceAllString(line, "")))
			}
		}
		skips = append(skips, skip{p.name, name, strings.Join(text, " ")})
	}
	return skips
}
