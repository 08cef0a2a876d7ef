package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// runner plays scripts to programs that it starts.
type runner struct {
	arguments []string      // of the program
	heartbeat time.Duration // asked for
	patience  time.Duration // how long a step may take
	parallel  int           // programs side by side
	failures  int           // after so many it plays no more; 0: never
	errors    io.Writer     // for the programs' stderr

	mu      sync.Mutex
	result  result
	started time.Time
	played  int // the number of the script, so that names are unique

	printing sync.Mutex
	shown    time.Time // the last line of progress
}

// result is what came of the scripts.
type result struct {
	passed  int
	failed  []*failed
	skipped map[string][]string // names of scripts by what the program does not support
	elapsed time.Duration
}

// Backoffs that a program is asked for: as short as possible, so that scripts are quick.
const (
	backoff    = 1 * time.Millisecond
	maxBackoff = 8 * time.Millisecond
)

// run plays all scripts and returns what came of them. each is called after each script, with the result so far.
func (r *runner) run(ctx context.Context, scripts []script, each func(script, error)) (*result, error) {
	r.started = time.Now()
	r.result.skipped = make(map[string][]string)
	queue := make(chan script)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var working sync.WaitGroup
	for range min(r.parallel, len(scripts)) {
		working.Go(func() {
			if err := r.work(ctx, queue, each, stop); err != nil {
				stop(err)
			}
		})
	}
feeding:
	for _, s := range scripts {
		select {
		case queue <- s:
		case <-ctx.Done():
			break feeding
		}
	}
	close(queue)
	working.Wait()
	r.result.elapsed = time.Since(r.started)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errEnough) {
		return &r.result, err
	}
	return &r.result, nil
}

// errEnough: so many scripts have failed that no more are played.
var errEnough = errors.New("enough scripts have failed")

// work plays scripts of the queue to one program. After a failure it starts another one.
func (r *runner) work(ctx context.Context, queue <-chan script, each func(script, error), stop context.CancelCauseFunc) error {
	var program *process
	var heartbeat time.Duration
	defer func() {
		if program != nil {
			program.kill()
		}
	}()
	for s := range queue {
		if program == nil {
			var err error
			if program, heartbeat, err = r.start(ctx); err != nil {
				return err
			}
		}
		err := r.play(ctx, program, s, heartbeat)
		if ctx.Err() != nil {
			return nil
		}
		if r.record(s, err) {
			stop(errEnough)
		}
		each(s, err)
		if err != nil && !errors.Is(err, errUnsupported) {
			program.kill()
			program = nil
		}
	}
	if program == nil {
		return nil
	}
	ending := program
	program = nil
	return ending.end()
}

// start starts a program and sets its times.
func (r *runner) start(ctx context.Context) (*process, time.Duration, error) {
	program, err := start(r.arguments, r.errors)
	if err != nil {
		return nil, 0, err
	}
	e, err := program.ask(ctx, settings(backoff, maxBackoff, r.heartbeat))
	heartbeat := time.Duration(e.Heartbeat * float64(time.Millisecond))
	if err == nil && heartbeat < r.heartbeat {
		err = fmt.Errorf("the program answered set with heartbeat_ms %v; want at least %v", e.Heartbeat, inMilliseconds(r.heartbeat))
	}
	if err != nil {
		program.kill()
		return nil, 0, err
	}
	return program, heartbeat, nil
}

// settings returns the command set.
func settings(base, ceiling, heartbeat time.Duration) command {
	return command{
		"do": "set", "backoff_ms": inMilliseconds(base), "backoff_max_ms": inMilliseconds(ceiling), "heartbeat_ms": inMilliseconds(heartbeat),
	}
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *runner) play(ctx context.Context, program *process, s script, heartbeat time.Duration) error {
	r.mu.Lock()
	r.played++
	run := fmt.Sprintf("%d", r.played)
	r.mu.Unlock()
	return play(ctx, program, s, run, times{heartbeat, r.patience})
}

// record adds one script to the result. It returns true if no more are to be played.
func (r *runner) record(s script, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var f *failed
	switch {
	case err == nil:
		r.result.passed++
	case errors.Is(err, errUnsupported):
		what, _, _ := strings.Cut(err.Error(), ":")
		r.result.skipped[what] = append(r.result.skipped[what], s.name)
	case errors.As(err, &f):
		r.result.failed = append(r.result.failed, f)
	default:
		r.result.failed = append(r.result.failed, &failed{s, "", err})
	}
	return r.failures > 0 && len(r.result.failed) >= r.failures
}

// soFar returns the number of scripts that are done.
func (r *runner) soFar() (done, failed int, elapsed time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done = r.result.passed + len(r.result.failed)
	for _, names := range r.result.skipped {
		done += len(names)
	}
	return done, len(r.result.failed), time.Since(r.started)
}
