package rig

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/cli"
)

// The environment of a test program that is the server.
const (
	// envIsServer makes the test program the server. Launch sets it.
	envIsServer = "VERIFICATION_TEST_IS_SERVER"
	// EnvKillAt names the step of a retry at which the server kills itself: "note the successor", or
	// "get the session at Stripe#2" when it reaches that step for the second time.
	EnvKillAt = "VERIFICATION_TEST_KILL_AT"
	// EnvStripeRate is how many requests a second a server makes to Stripe. Without it the server's own limit holds.
	EnvStripeRate = "VERIFICATION_TEST_STRIPE_RATE"
	// EnvReadsInput leaves the standard input to the command, which reads an answer from it. Without it the input sets the
	// clock, and its end ends the process.
	EnvReadsInput = "VERIFICATION_TEST_READS_INPUT"
)

// runServer runs the command line until it ends, and returns the exit code.
func runServer() int {
	var clock testClock
	if os.Getenv(EnvReadsInput) == "" {
		go func() {
			clock.follow(os.Stdin)
			os.Exit(3)
		}()
	}
	rate, _ := strconv.ParseFloat(os.Getenv(EnvStripeRate), 64)
	return cli.Run(os.Args[1:], "", app.Hooks{RetryStep: killAt(os.Getenv(EnvKillAt)), Clock: clock.now, StripeRate: rate})
}

// ExitWithTests ends this process as soon as its standard input ends. The tests hold the other end: if they die, so does a
// process that they started.
func ExitWithTests() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// testClock is the server's clock. A test sets it wrong by lines such as "1m0s".
type testClock struct{ wrong atomic.Int64 }

func (c *testClock) now() time.Time { return time.Now().Add(time.Duration(c.wrong.Load())) }

// follow reads lines until they end.
func (c *testClock) follow(lines io.Reader) {
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		if wrong, err := time.ParseDuration(scanner.Text()); err == nil {
			c.wrong.Store(int64(wrong))
		}
	}
}

// killAt returns a hook that ends this process at a step as a crash would: it flushes and closes nothing.
func killAt(step string) func(string) {
	seen := map[string]int{}
	return func(now string) {
		if step == "" {
			return
		}
		if seen[now]++; StepName(now, seen[now]) == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // no further statement runs
		}
	}
}

// StepName returns the name for EnvKillAt of a step that a call reaches for the n-th time.
func StepName(step string, n int) string {
	if n == 1 {
		return step
	}
	return step + "#" + string(rune('0'+n))
}
