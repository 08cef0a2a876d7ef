// Command bff is an example to read and copy from: a web site of one page, on which people verify their identity. It is a backend
// for frontends between the browser, Stripe and verification-status.
//
//	go run ./server dev            # in one terminal
//	go run ./client/example/bff    # in another; then open http://127.0.0.1:8080
//
// It keeps no data: the cookie identifies the person, and verification-status has their status. So it can be stopped, replaced and
// run several times, with the same BFF_COOKIE_KEY.
//
// Presses of the page's button are limited by person, by address and in all: see limits.go. Behind a proxy, set BFF_ADDRESS_HEADER:
// without addresses, one visitor with many cookies can use up the reads of Stripe that are for all. The header must end with the
// address of the browser: if it ends with that of another proxy, all visitors share the limits of one address.
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
		fmt.Fprintln(os.Stderr, "bff:", err)
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
	var options []client.Option
	if isLoopback(strings.TrimPrefix(s.target, "dns:///")) {
		options = append(options, client.WithPlaintext())
	}
	status, err := client.Dial(s.target, options...)
	if err != nil {
		return err
	}
	defer status.Close()
	site, err := newSite(status, s)
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
	if s.generatedKey {
		slog.Info("BFF_COOKIE_KEY is not set: a key was generated, and every visitor is a new person after a restart")
	}
	if site.people.secure && s.addressHeader == "" {
		slog.Info("BFF_ADDRESS_HEADER is not set: the proxy hides the browsers' addresses, so neither streams nor presses of the button are limited by address, and one visitor can use up the reads of Stripe that are for all")
	}
	slog.Info("open " + s.publicURL)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), linkTimeout+5*time.Second)
	defer cancel()
	return server.Shutdown(stopping)
}

// newServer returns a server with a timeout for each step of a request. The streams of /events replace the WriteTimeout by
// timeouts of their own.
//
// Shutdown waits for requests. It ends the streams of /events. A POST /link that is under way finishes: otherwise its person would
// have a session at Stripe and no link.
func newServer(site *site) *http.Server {
	server := &http.Server{
		Handler:           site.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      linkTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       sse.ConnContext,
	}
	server.RegisterOnShutdown(site.endStreams)
	return server
}
