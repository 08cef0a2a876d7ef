package main

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
	// soon bounds whatever should take milliseconds: it is only waited for when something is wrong.
	soon = 20 * time.Second
	// webhookSecret signs the webhooks of the tests.
	webhookSecret = "whsec_0123456789abcdefghijklmnopqrstuv"
	// apiKey is what the servers show to the simulated Stripe.
	apiKey = "sk_test_0123456789abcdef"
	// rolledKey is another one that it takes.
	rolledKey = "rk_test_RolledApiKey0123"
)

// output is what a process wrote, readable while it writes.
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

// process is the server's real command line in a process of its own.
type process struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr output
	ended          chan struct{} // closed when the process is gone

	grpc, webhook, admin string            // addresses, once it listens
	token                string            // what callers must show; empty: nothing
	redis                *redistest.Server // nil where a test does not say
}

// launch starts the command line with this environment and no other setting. It ends with the test.
func launch(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return launchProgram(t, self, env, args...)
}

// launchProgram is launch for a given test program, such as that of another version.
func launchProgram(t testing.TB, program string, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{
		envIsServer + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"GORACE=atexit_sleep_ms=0", // else each exit of a race-detecting binary takes a second
	}, env...)
	return begin(t, cmd)
}

// begin starts any program. It ends with the test.
func begin(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		_ = stdin.Close()
		for _, sign := range []string{"DATA RACE", "panic: ", "goroutine "} {
			if strings.Contains(p.stderr.String(), sign) {
				t.Errorf("%v wrote %q", cmd.Args, sign)
			}
		}
		if t.Failed() {
			t.Logf("%v wrote:\n%s", cmd.Args[1:], tail(p.stdout.String()+p.stderr.String()))
		}
	})
	return p
}

func tail(text string) string {
	const most = 6000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// settings are those of a server on free ports. Later settings go before earlier ones.
func settings(redis string, more ...string) []string {
	return append([]string{
		"GRPC_ADDR=127.0.0.1:0", "WEBHOOK_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"REDIS_URL=redis://" + redis, "STRIPE_WEBHOOK_SECRET=" + webhookSecret, "LOG_FORMAT=json",
	}, more...)
}

// serve starts a server and waits until it is ready.
func serve(t testing.TB, env []string) *process {
	t.Helper()
	return awaited(launch(t, env, "serve"))
}

// awaited waits until a server that was launched is ready.
func awaited(p *process) *process {
	p.t.Helper()
	p.awaitListening()
	p.awaitReady(http.StatusOK)
	return p
}

// awaitListening learns the ports from the log.
func (p *process) awaitListening() {
	p.t.Helper()
	p.await("the server listens", func() bool {
		for line := range strings.Lines(p.stderr.String()) {
			var entry struct{ Msg, GRPC, Webhook, Admin string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
				p.grpc, p.webhook, p.admin = entry.GRPC, "http://"+entry.Webhook+"/webhook", "http://"+entry.Admin
				return true
			}
		}
		return false
	})
}

func (p *process) awaitReady(status int) {
	p.t.Helper()
	client := newHTTPClient(p.t)
	p.await("the server's readiness", func() bool {
		response, err := client.Get(p.admin + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == status
	})
}

// await is the waiting for something that a process which has ended can do no more.
func (p *process) await(what string, done func() bool) {
	p.t.Helper()
	await(p.t, what, func() bool {
		if done() {
			return true
		}
		select {
		case <-p.ended:
			p.t.Fatalf("waiting for this: %s: but the process has ended: %s", what, p.stderr.String())
		default:
		}
		return false
	})
}

// await asks again and again until it is done, or soon has passed.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(soon)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for this: %s", soon, what)
		}
		<-ticker.C
	}
}

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the process at once, if it has not ended, and waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// exit waits for the end of the process and returns its exit code.
func (p *process) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("the process still runs after %v", within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// killed waits until the process has ended by SIGKILL.
func (p *process) killed() {
	p.t.Helper()
	p.exit(soon)
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("the process ended by itself: %v", p.cmd.ProcessState)
	}
}

// newHTTPClient has connections of its own, closed with the test, and follows no redirect.
func newHTTPClient(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// readAll returns the body of an answer and closes it.
func readAll(response *http.Response) (string, error) {
	body, err := io.ReadAll(response.Body)
	return string(body), errors.Join(err, response.Body.Close())
}
