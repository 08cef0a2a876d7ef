package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"example.com/verification-status/client"
)

// envIsMailer makes this test program the mailer. The tests of crashes set it, see server/tests/mailer.
const envIsMailer = "MAILER_TEST_IS_MAILER"

// Further steps, which the mailer itself cannot see: those in the dialog with the SMTP server, and those of an acknowledgement.
const (
	stepData         = "data"         // the SMTP server has a part of the mail
	stepSent         = "sent"         // the SMTP server has the mail, and its answer is not read yet
	stepAcknowledge  = "acknowledge"  // outcomes are about to be acknowledged
	stepAcknowledged = "acknowledged" // they are acknowledged
)

func TestMain(m *testing.M) {
	if os.Getenv(envIsMailer) != "" {
		os.Exit(runMailer())
	}
	goleak.VerifyTestMain(m)
}

// runMailer runs the command line until it ends. A line on standard input names the step at which the process kills itself the next
// time, as a crash would: it flushes and closes nothing. It ends with its standard input, so that it does not outlive the test.
func runMailer() int {
	var armed atomic.Value
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			armed.Store(lines.Text())
		}
		os.Exit(3)
	}()
	step := func(name string) {
		if armed.Load() == name {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // no further statement runs
		}
	}
	if err := start(os.Args[1:], hooks{step: step, dial: dialWith(step), client: []client.Option{acknowledging(step)}}); err != nil {
		fmt.Fprintln(os.Stderr, "mailer:", err)
		return 1
	}
	return 0
}

// acknowledging calls step around each acknowledgement.
func acknowledging(step func(string)) client.Option {
	return client.WithDialOptions(grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, request, response any, conn *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if !strings.HasSuffix(method, "/AcknowledgeChanges") {
			return call(ctx, method, request, response, conn, options...)
		}
		step(stepAcknowledge)
		err := call(ctx, method, request, response, conn, options...)
		step(stepAcknowledged)
		return err
	}))
}

// dialWith returns a function that connects, and calls step in the middle and at the end of a mail's content.
func dialWith(step func(string)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, address)
		return &smtpConn{Conn: conn, step: step}, err
	}
}

// smtpConn is a connection to an SMTP server, whose answer 354 asks for the content of a mail.
type smtpConn struct {
	net.Conn
	step func(string)
	data bool // the content is asked for
}

func (c *smtpConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.data = strings.HasPrefix(string(p[:n]), "354")
	}
	return n, err
}

func (c *smtpConn) Write(p []byte) (int, error) {
	if !c.data {
		return c.Conn.Write(p)
	}
	half, err := c.Conn.Write(p[:len(p)/2])
	if err != nil {
		return half, err
	}
	c.step(stepData)
	rest, err := c.Conn.Write(p[half:])
	if err == nil && strings.HasSuffix(string(p), "\r\n.\r\n") {
		c.step(stepSent)
	}
	return half + rest, err
}
