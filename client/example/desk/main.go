// Command desk is an example to read and copy from: the page for people who look after others. It shows who waits for help, one person's
// story as it happens, and the ways out: one more try, dealt with elsewhere, a new link.
//
//	go run ./server dev             # in one terminal
//	go run ./client/example/desk    # in another; then open http://127.0.0.1:8081
//
// It has no state: verification-status has the people and the history, and the company's proxy signs people in. So it can be stopped,
// replaced and run several times, with the same DESK_KEY. README.md says how to run it behind a proxy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/sse"
)

func main() {
	err := start(os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "desk:", err)
		os.Exit(1)
	}
}

// start runs until Ctrl-C or SIGTERM.
func start(args []string) error {
	s, err := readSettings(args, os.Getenv)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, s)
}

// run serves until ctx ends.
func run(ctx context.Context, s settings) error {
	service, err := client.Dial(s.target, s.clientOptions()...)
	if err != nil {
		return err
	}
	defer service.Close()
	site, err := newSite(service, s)
	if err != nil {
		return err
	}
	defer site.endStreams()
	server := newServer(site)
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	slog.Info("open "+s.publicURL, "calls_are_made_by", s.caller())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout+5*time.Second)
	defer cancel()
	return server.Shutdown(stopping)
}

// caller says by which name the service knows the calls.
func (s settings) caller() string {
	switch {
	case s.tokenHeader != "":
		return "each person, with their own token"
	case s.token != nil:
		return "the desk, with its token"
	}
	return "the desk, without a token"
}

func (s settings) clientOptions() []client.Option {
	var options []client.Option
	if isLoopback(strings.TrimPrefix(s.target, "dns:///")) {
		options = append(options, client.WithPlaintext())
	}
	switch {
	case s.token != nil:
		options = append(options, client.WithBearerToken(s.token))
	case s.tokenHeader != "": // no call without a person has a token
		options = append(options, client.WithBearerToken(func(context.Context) (string, error) {
			return "", errors.New("the call is not a person's")
		}))
	}
	return options
}

// newServer returns a server with a timeout for each step of a request. The streams of live pages replace the WriteTimeout by timeouts
// of their own. Shutdown ends the streams. An act that is under way finishes.
func newServer(site *site) *http.Server {
	server := &http.Server{
		Handler:           site.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      actTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ConnContext:       sse.ConnContext,
	}
	server.RegisterOnShutdown(site.endStreams)
	return server
}
