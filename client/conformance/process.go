package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// event is one line of the program under test.
type event struct {
	Event           string  `json:"event"`
	ID              int64   `json:"id"`
	Protocol        int     `json:"protocol"`
	Watch           string  `json:"watch"`
	Session         string  `json:"session"`
	Revision        int     `json:"revision"`
	Status          string  `json:"status"`
	OutcomeRevision int     `json:"outcome_revision"`
	Reset           bool    `json:"reset"`
	Token           string  `json:"token"`
	Code            string  `json:"code"`
	Reason          string  `json:"reason"`
	RetryAfter      float64 `json:"retry_after_ms"`
	Message         string  `json:"message"`
	Unsupported     bool    `json:"unsupported"`
	ClientSecret    string  `json:"client_secret"`
	URL             string  `json:"url"`
	Printed         string  `json:"printed"`
	Heartbeat       float64 `json:"heartbeat_ms"`
	MaxBackoff      float64 `json:"backoff_max_ms"`
}

// failure returns the error of an end or of an answer.
func (e event) failure() failure {
	return failure{code: e.Code, reason: e.Reason, wait: time.Duration(e.RetryAfter * float64(time.Millisecond))}
}

// command is one line for the program under test.
type command map[string]any

// process is the program under test. It is safe for concurrent use.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed when the program has ended

	writing sync.Mutex

	mu      sync.Mutex
	id      int64
	answers map[int64]chan event
	to      map[string]func(event) // by watch
	err     error                  // why it has ended, or what it has done wrong
}

// Times of the program itself: to start, to answer a command, and to end when stdin ends.
const (
	startWithin  = 30 * time.Second
	answerWithin = 30 * time.Second
	endWithin    = 10 * time.Second
	maxLine      = 1 << 20
)

// start starts the program and waits until it is ready. Its stderr goes to errors.
func start(arguments []string, errors io.Writer) (*process, error) {
	p := &process{
		name: arguments[0], cmd: exec.Command(arguments[0], arguments[1:]...), done: make(chan struct{}),
		answers: make(map[int64]chan event), to: make(map[string]func(event)),
	}
	p.cmd.Stderr = errors
	p.cmd.WaitDelay = endWithin
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("the program cannot be started: %w", err)
	}
	ready := make(chan event, 1)
	go p.read(out, ready)
	select {
	case e := <-ready:
		if e.Event != "ready" || e.Protocol != 1 {
			p.kill()
			return nil, fmt.Errorf(`the program's first event is %q of protocol %d; want {"event":"ready","protocol":1}`, e.Event, e.Protocol)
		}
		return p, nil
	case <-p.done:
		return nil, p.failure()
	case <-time.After(startWithin):
		p.kill()
		return nil, fmt.Errorf("the program was not ready within %v", startWithin)
	}
}

// read reads events until the program ends.
func (p *process) read(out io.Reader, ready chan<- event) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for first := true; lines.Scan(); first = false {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			p.fail(fmt.Errorf("the program wrote a line that is no event: %q: %w", lines.Text(), err))
			p.signal()
			break
		}
		if first {
			ready <- e
			continue
		}
		if err := p.dispatch(e); err != nil {
			p.fail(err)
			p.signal()
			break
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := p.cmd.Wait(); err != nil {
		p.fail(fmt.Errorf("the program ended: %w", err))
	}
	p.fail(errors.New("the program has ended"))
	close(p.done)
}

// fail keeps the first error.
func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

func (p *process) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *process) dispatch(e event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Event {
	case "answer":
		waiting := p.answers[e.ID]
		if waiting == nil {
			return fmt.Errorf("the program answered the command %d, which has no answer due", e.ID)
		}
		delete(p.answers, e.ID)
		waiting <- e
	case "update", "bookmark", "end":
		to := p.to[e.Watch]
		if to == nil {
			return fmt.Errorf("the program reported an event of the watch %q, which does not exist", e.Watch)
		}
		to(e)
	default:
		return fmt.Errorf("the program wrote an event of an unknown kind: %q", e.Event)
	}
	return nil
}

// route sends the events of a watch to a function; nil: the watch is over.
func (p *process) route(watch string, to func(event)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to == nil {
		delete(p.to, watch)
		return
	}
	p.to[watch] = to
}

// send sends a command. The answer comes on the channel.
func (p *process) send(c command) (<-chan event, error) {
	p.mu.Lock()
	p.id++
	c["id"] = p.id
	answer := make(chan event, 1)
	p.answers[p.id] = answer
	p.mu.Unlock()
	line, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		<-p.done
		return nil, p.failure()
	}
	return answer, nil
}

// errUnsupported: the program says that its client does not have something.
var errUnsupported = errors.New("the program does not support it")

// ask sends a command and waits for its answer. An answer with the code of an error is no error of ask.
func (p *process) ask(ctx context.Context, c command) (event, error) {
	answer, err := p.send(c)
	if err != nil {
		return event{}, err
	}
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	select {
	case e := <-answer:
		if e.Unsupported {
			return e, fmt.Errorf("%v: %w", c["do"], errUnsupported)
		}
		return e, nil
	case <-p.done:
		return event{}, p.failure()
	case <-late.C:
		return event{}, fmt.Errorf("the program did not answer %q within %v", c["do"], answerWithin)
	case <-ctx.Done():
		return event{}, ctx.Err()
	}
}

// end closes the program's stdin and waits until it ends. It returns an error if it does not end with exit code 0.
func (p *process) end() error {
	_ = p.in.Close()
	select {
	case <-p.done:
	case <-time.After(endWithin):
		p.kill()
		return fmt.Errorf("the program did not end within %v of the end of stdin", endWithin)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the program ended with exit code %d after the end of stdin", code)
	}
	return nil
}

// signal tells the program to end at once: a program that another one has started sees only the end of stdin.
func (p *process) signal() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
}

// kill ends the program, and waits until it has ended.
func (p *process) kill() {
	p.signal()
	select {
	case <-p.done:
	case <-time.After(endWithin):
	}
}

// oneLine returns a text without line breaks.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
