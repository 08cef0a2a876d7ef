package rig

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
)

const (
	// Soon bounds each wait for something that takes milliseconds. A test waits this long only if something is wrong.
	Soon = 20 * time.Second
	// WebhookSecret signs the webhooks of the tests.
	WebhookSecret = "whsec_0123456789abcdefghijklmnopqrstuv"
	// APIKey is the key of the servers for the simulated Stripe.
	APIKey = "sk_test_0123456789abcdef"
	// RolledKey is another key that the simulated Stripe accepts.
	RolledKey = "rk_test_RolledApiKey0123"
)

// output collects the text that a process writes. It can be read at the same time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Process is a program that runs: the server, or another one. It ends with the test.
type Process struct {
	T              testing.TB
	Cmd            *exec.Cmd
	Stdin          io.WriteCloser
	Stdout, Stderr output
	Ended          chan struct{} // closed when the process has ended

	GRPC, Webhook, Admin string            // addresses of a server, once it listens
	Token                string            // that callers must send; can be empty
	Redis                *redistest.Server // the server's Redis, if the test has set it
}

// Launch starts the server's command line with the given environment and no other setting.
func Launch(t testing.TB, env []string, args ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return LaunchProgram(t, self, env, args...)
}

// LaunchProgram is Launch for a given test program, such as that of another version.
func LaunchProgram(t testing.TB, program string, env []string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{
		envIsServer + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"GORACE=atexit_sleep_ms=0", // without it each exit of a program with the race detector takes a second
	}, env...)
	return Begin(t, cmd)
}

// Begin starts any program. At the end of the test it kills the program, and fails the test if the program wrote of a data race,
// a panic or its goroutines.
func Begin(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{T: t, Cmd: cmd, Ended: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Stdout, &p.Stderr
	stdin, err := p.Cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdin = stdin
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Cmd.Wait()
		close(p.Ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		_ = stdin.Close()
		for _, sign := range []string{"DATA RACE", "panic: ", "goroutine "} {
			if strings.Contains(p.Stderr.String(), sign) {
				t.Errorf("%v wrote %q", cmd.Args, sign)
			}
		}
		if t.Failed() {
			t.Logf("%v wrote:\n%s", cmd.Args[1:], Tail(p.Stdout.String()+p.Stderr.String()))
		}
	})
	return p
}

// Tail returns the end of a text, of at most 6000 bytes.
func Tail(text string) string {
	const most = 6000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// Settings returns the environment of a server on free ports, over the Redis at an address. Of two values of a setting the later
// one counts.
func Settings(redis string, more ...string) []string {
	return append([]string{
		"GRPC_ADDR=127.0.0.1:0", "WEBHOOK_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"REDIS_URL=redis://" + redis, "STRIPE_WEBHOOK_SECRET=" + WebhookSecret, "LOG_FORMAT=json",
	}, more...)
}

// Serve starts a server, and waits until it is ready.
func Serve(t testing.TB, env []string) *Process {
	t.Helper()
	return AwaitServing(Launch(t, env, "serve"))
}

// Restart ends a server as an update does, starts another one with these settings, and waits until that one is ready.
func Restart(p *Process, env []string) *Process {
	p.T.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(Soon); code != 0 {
		p.T.Fatalf("the server ended with %d", code)
	}
	return Serve(p.T, env)
}

// AwaitServing waits until a launched server is ready, and returns it.
func AwaitServing(p *Process) *Process {
	p.T.Helper()
	p.AwaitListening()
	p.AwaitReady(http.StatusOK)
	return p
}

// AwaitListening waits until the server's log names its addresses.
func (p *Process) AwaitListening() {
	p.T.Helper()
	p.Await("the server listens", func() bool {
		for line := range strings.Lines(p.Stderr.String()) {
			var entry struct{ Msg, GRPC, Webhook, Admin string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
				p.GRPC, p.Webhook, p.Admin = entry.GRPC, "http://"+entry.Webhook+"/webhook", "http://"+entry.Admin
				return true
			}
		}
		return false
	})
}

// AwaitReady waits until /readyz answers with an HTTP status.
func (p *Process) AwaitReady(status int) {
	p.T.Helper()
	client := NewHTTPClient(p.T)
	p.Await("the server's readiness", func() bool {
		response, err := client.Get(p.Admin + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == status
	})
}

// Await is Await for something that the process does. It fails the test at once if the process has ended.
func (p *Process) Await(what string, done func() bool) {
	p.T.Helper()
	p.AwaitWithin(Soon, what, done)
}

// AwaitWithin is Await with another limit.
func (p *Process) AwaitWithin(limit time.Duration, what string, done func() bool) {
	p.T.Helper()
	AwaitWithin(p.T, limit, what, func() bool {
		if done() {
			return true
		}
		select {
		case <-p.Ended:
			p.T.Fatalf("waiting for this: %s: the process has ended: %s", what, p.Stderr.String())
		default:
		}
		return false
	})
}

// Await polls until done returns true. It fails the test after Soon.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	AwaitWithin(t, Soon, what, done)
}

// AwaitWithin is Await with another limit.
func AwaitWithin(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for this: %s", limit, what)
		}
		<-ticker.C
	}
}

// Signal sends a signal to the process, which must not have ended.
func (p *Process) Signal(signal syscall.Signal) {
	p.T.Helper()
	if err := p.Cmd.Process.Signal(signal); err != nil {
		p.T.Fatal(err)
	}
}

// Kill kills the process, if it has not ended, and waits until it has.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	select {
	case <-p.Ended:
	case <-time.After(Soon):
		p.T.Errorf("%v has not ended %v after SIGKILL", p.Cmd.Args, Soon)
	}
}

// Exit waits until the process ends, and returns its exit code.
func (p *Process) Exit(within time.Duration) int {
	p.T.Helper()
	select {
	case <-p.Ended:
	case <-time.After(within):
		p.T.Fatalf("the process still runs after %v", within)
	}
	return p.Cmd.ProcessState.ExitCode()
}

// AwaitKilled waits until SIGKILL ends the process.
func (p *Process) AwaitKilled() {
	p.T.Helper()
	p.Exit(Soon)
	if status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		p.T.Fatalf("the process ended by itself: %v", p.Cmd.ProcessState)
	}
}

// NewHTTPClient returns a client with connections of its own, which close with the test. It follows no redirect.
func NewHTTPClient(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ReadAll returns the body of a response, and closes it.
func ReadAll(response *http.Response) (string, error) {
	body, err := io.ReadAll(response.Body)
	return string(body), errors.Join(err, response.Body.Close())
}
