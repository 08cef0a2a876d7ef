package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `Usage: go run ./client/conformance [flags] -- PROGRAM [ARGUMENTS]

Tests a client of verification-status by scripts of faults. PROGRAM is a small program
around the client, in any language: it reads commands from stdin and reports what the
client saw. README.md in this folder says how, and lists the steps of scripts.

  go run ./client/conformance -- node adapter.js              written scripts, and 200 random ones
  go run ./client/conformance -random 10000 -- node adapter.js
  go run ./client/conformance -script cut-in-a-response -- node adapter.js
  go run ./client/conformance -script "watch session; cut in 2/3; change" -- node adapter.js
  go run ./client/conformance -seed 42 -script 17 -- node adapter.js   random script 17 of seed 42

The exit code is 0 if a script passed and none failed, 1 if one failed or all were skipped, 2 if
the kit was called wrongly or the program cannot be started. With -complete, a script that is
skipped has failed.

Flags:
`

// options are the flags of the command.
type options struct {
	random    int
	seed      uint64
	script    string
	repeat    int
	parallel  int
	failures  int
	heartbeat time.Duration
	patience  time.Duration
	complete  bool
	verbose   bool
	scripts   bool
	program   []string
}

func parseOptions(arguments []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	flags.IntVar(&o.random, "random", 200, "how many random `scripts` to play after the written ones")
	flags.Uint64Var(&o.seed, "seed", 0, "the `seed` of the random scripts; 0: a new one, which is printed")
	flags.StringVar(&o.script, "script", "", "plays this `script` only: a name, the number of a random one, or its text")
	flags.IntVar(&o.repeat, "repeat", 1, "plays all scripts so many `times`: for a failure that comes seldom")
	flags.IntVar(&o.parallel, "parallel", 4, "how many `programs` run side by side")
	flags.IntVar(&o.failures, "failures", 5, "stops after so many `scripts` have failed; 0: never")
	flags.DurationVar(&o.heartbeat, "heartbeat", 200*time.Millisecond, "the heartbeat that watches ask for; a client might not go below the contract's 5 s")
	flags.DurationVar(&o.patience, "patience", 10*time.Second, "how long a step may take before the client has failed it, besides the time of a silence")
	flags.BoolVar(&o.complete, "complete", false, "fails if the program does not support something, so that a script is skipped")
	flags.BoolVar(&o.verbose, "v", false, "prints each script with its result")
	flags.BoolVar(&o.scripts, "scripts", false, "lists the written scripts and ends")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	o.program = flags.Args()
	switch {
	case o.scripts:
		return o, nil
	case len(o.program) == 0:
		return o, errors.New(`no program: write it after "--", as in: go run ./client/conformance -- node adapter.js`)
	case o.parallel < 1 || o.repeat < 1 || o.random < 0 || o.failures < 0 || o.heartbeat < time.Millisecond || o.patience <= 0:
		return o, errors.New("-parallel and -repeat must be at least 1, -random and -failures at least 0, -heartbeat at least 1ms, and -patience above 0")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the command and returns its exit code.
func run(ctx context.Context, arguments []string, out, errs io.Writer) int {
	o, err := parseOptions(arguments, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errs, "conformance: %v\nconformance -h says more.\n", err)
		return 2
	case o.scripts:
		for _, s := range writtenScripts() {
			fmt.Fprintf(out, "%-36s %v\n", s.name, s)
		}
		return 0
	}
	scripts, err := choose(o.script, o.seed, o.random)
	if err != nil {
		fmt.Fprintf(errs, "conformance: %v\n", err)
		return 2
	}
	scripts = slices.Repeat(scripts, o.repeat)
	r := runner{arguments: o.program, heartbeat: o.heartbeat, patience: o.patience, parallel: o.parallel, failures: o.failures, errors: errs}
	fmt.Fprintf(out, "%d scripts, seed %d: %s\n", len(scripts), o.seed, strings.Join(o.program, " "))
	result, err := r.run(ctx, scripts, func(s script, err error) { r.show(out, o, s, err) })
	if err != nil {
		fmt.Fprintf(errs, "conformance: %v\n", err)
		return 2
	}
	v := verdictOf(result, o.complete)
	summary(out, v, result, len(scripts))
	if v != pass {
		return 1
	}
	return 0
}

// The verdicts of a run.
const (
	pass       = "PASS"
	fail       = "FAIL"
	incomplete = "INCOMPLETE" // nothing failed, and what was played proves too little
)

// verdictOf returns the verdict. A run in which no script passed proves nothing.
func verdictOf(r *result, complete bool) string {
	switch {
	case len(r.failed) > 0:
		return fail
	case r.passed == 0, complete && len(r.skipped) > 0:
		return incomplete
	}
	return pass
}

// show prints the result of one script.
func (r *runner) show(out io.Writer, o options, s script, err error) {
	r.printing.Lock()
	defer r.printing.Unlock()
	switch {
	case err != nil && !errors.Is(err, errUnsupported):
		fmt.Fprintf(out, "\nFAIL %s\n  %v\n  %s\n  repeat: go run ./client/conformance -script %q -- %s\n\n",
			s.name, s, strings.ReplaceAll(err.Error(), "\n", "\n  "), s.String(), strings.Join(o.program, " "))
	case o.verbose && err != nil:
		fmt.Fprintf(out, "skip %-36s %v\n", s.name, err)
	case o.verbose:
		fmt.Fprintf(out, "ok   %-36s %v\n", s.name, s)
	case time.Since(r.shown) > time.Second:
		done, failed, elapsed := r.soFar()
		fmt.Fprintf(out, "%d scripts played, %d failed, %v\n", done, failed, elapsed.Round(time.Second))
		r.shown = time.Now()
	}
}

// summary prints what came of all scripts.
func summary(out io.Writer, verdict string, result *result, scripts int) {
	played := result.passed + len(result.failed)
	for _, what := range slices.Sorted(maps.Keys(result.skipped)) {
		names := result.skipped[what]
		played += len(names)
		fmt.Fprintf(out, "not supported by the program: %s (%d scripts were skipped)\n", what, len(names))
	}
	if left := scripts - played; left > 0 {
		fmt.Fprintf(out, "%d scripts were not played, after %d failures\n", left, len(result.failed))
	}
	fmt.Fprintf(out, "%s: %d scripts passed, %d failed, in %v\n", verdict, result.passed, len(result.failed), result.elapsed.Round(100*time.Millisecond))
}
