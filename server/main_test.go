package main

import (
	"bufio"
	"flag"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/cli"
)

// Set in the environment of a test binary, they make it the server itself instead of running tests.
const (
	envIsServer = "VERIFICATION_TEST_IS_SERVER"
	// envKillAt names the step of a retry at which the server kills itself: "note the successor", or
	// "get the session at Stripe#2" for the second time that it comes there.
	envKillAt = "VERIFICATION_TEST_KILL_AT"
	// envStripeRate is how many requests to Stripe a server makes in a second; empty: as always.
	envStripeRate = "VERIFICATION_TEST_STRIPE_RATE"
	// envIsBare makes it the server that benchmarks compare with.
	envIsBare = "VERIFICATION_TEST_IS_BARE"
)

func TestMain(m *testing.M) {
	if os.Getenv(envIsServer) == "" {
		flag.Parse()
		if err := flag.Set("test.parallel", sideBySide); err != nil {
			panic(err)
		}
		goleak.VerifyTestMain(m)
		return
	}
	// The tests hold the other end of the standard input: when they die, so does the server.
	var clock testClock
	go func() {
		clock.follow(os.Stdin)
		os.Exit(3)
	}()
	if os.Getenv(envIsBare) != "" {
		os.Exit(runBare())
	}
	rate, _ := strconv.ParseFloat(os.Getenv(envStripeRate), 64)
	os.Exit(cli.Run(os.Args[1:], notices, app.Hooks{RetryStep: killAt(os.Getenv(envKillAt)), Clock: clock.now, StripeRate: rate}))
}

// testClock is the server's clock, which a test sets wrong by lines like "1m0s".
type testClock struct{ wrong atomic.Int64 }

func (c *testClock) now() time.Time { return time.Now().Add(time.Duration(c.wrong.Load())) }

// follow obeys until there are no more lines.
func (c *testClock) follow(lines io.Reader) {
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		if wrong, err := time.ParseDuration(scanner.Text()); err == nil {
			c.wrong.Store(int64(wrong))
		}
	}
}

// killAt makes a hook that ends this process as a crash would: nothing is flushed, closed or told.
func killAt(step string) func(string) {
	seen := map[string]int{}
	return func(now string) {
		if step == "" {
			return
		}
		if seen[now]++; stepName(now, seen[now]) == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // not a statement more
		}
	}
}

// stepName is a step the n-th time that a call comes there.
func stepName(step string, n int) string {
	if n == 1 {
		return step
	}
	return step + "#" + string(rune('0'+n))
}
