// Command mailer is an example to read and copy from: it sends a mail for each outcome of a verification. Any number of instances can
// run side by side. One of them sends, the others stand by.
//
//	go run ./server dev                            # in one terminal
//	go run github.com/axllent/mailpit@v1.33.1      # in another: an SMTP server for tests
//	go run ./client/example/mailer                 # in a third; it prints where to see the mails
//
// Each mail has the outcome's name as its Message-ID. With -sent there is a record of sent mails, so that a crash repeats at most one mail,
// with the same Message-ID. Without it, which is for demonstrations, a crash repeats up to 1,000. README.md says which mails there are and what to change.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"example.com/verification-status/client"
)

func main() {
	err := start(os.Args[1:], hooks{})
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mailer:", err)
		os.Exit(1)
	}
}

// hooks are for tests of crashes. The zero value is for everybody else.
type hooks struct {
	step   func(name string) // called at each step of a mail
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	client []client.Option
}

// start runs until Ctrl-C or SIGTERM.
func start(args []string, h hooks) error {
	s, err := readSettings(args, os.Getenv)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, s, h)
}

// run sends mails until ctx ends.
func run(ctx context.Context, s settings, h hooks) error {
	options := h.client
	if isLoopback(strings.TrimPrefix(s.target, "dns:///")) {
		options = append(options, client.WithPlaintext())
	}
	if s.token != nil {
		options = append(options, client.WithBearerToken(s.token))
	}
	status, err := client.Dial(s.target, options...)
	if err != nil {
		return err
	}
	defer status.Close()
	m, err := newMailer(status, s, h)
	if err != nil {
		return err
	}
	defer m.record.close()
	s.announce(ctx, m.outbox)
	err = m.consume(ctx, s)
	m.end()
	return explain(err, s)
}

// announce logs where the mails go.
func (s settings) announce(ctx context.Context, o *outbox) {
	slog.Info("mails go to "+s.smtp, "consumer", s.consumer)
	if err := o.reach(ctx); err != nil {
		slog.Warn("the SMTP server cannot be reached: mails wait until it can. "+
			"For tests, start one: go run github.com/axllent/mailpit@v1.33.1", "error", err)
	}
	if host, port, err := net.SplitHostPort(s.smtp); err == nil && port == "1025" && isLoopback(s.smtp) { // Mailpit's port
		slog.Info("see the newest mail at http://" + net.JoinHostPort(host, "8025") + "/view/latest.html")
	}
}
