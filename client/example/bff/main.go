// Command bff is a web site of one page, on which people verify their identity: a backend for
// frontends between a browser, Stripe and verification-status. It is there to be read and taken apart.
//
//	go run ./server dev            # in one terminal
//	go run ./client/example/bff    # in another; then open http://127.0.0.1:8080
//
// It keeps nothing: who somebody is, is in their cookie; how far they are, verification-status knows.
// So it can be stopped, replaced and run several times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/verification-status/client"
)

// settings are flags, with an environment variable each.
type settings struct {
	addr      string
	publicURL string
	target    string
	stripe    stripe
}

// readSettings takes defaults that fit "server dev".
func readSettings(args []string, env func(string) string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bff", flag.ContinueOnError)
	setting := func(to *string, name, variable, standard, help string) {
		if value := env(variable); value != "" {
			standard = value
		}
		flags.StringVar(to, name, standard, help+" ("+variable+")")
	}
	setting(&s.addr, "addr", "BFF_ADDR", "127.0.0.1:8080", "where the page is served")
	setting(&s.publicURL, "public-url", "PUBLIC_URL", "", "the page's address as people see it; by default http:// and addr")
	setting(&s.target, "status", "VERIFICATION_STATUS", "127.0.0.1:50051", "verification-status: host:port or dns:///host:port; plain text on loopback, else TLS")
	setting(&s.stripe.base, "stripe-api-base", "STRIPE_API_BASE", "http://127.0.0.1:12111", "Stripe's API; http:// is for loopback only")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	// No flag: other users of the machine can read those.
	if s.stripe.key = env("STRIPE_API_KEY"); s.stripe.key == "" {
		s.stripe.key = "sk_test_simulated"
	}
	if s.publicURL == "" {
		s.publicURL = "http://" + s.addr
	}
	return s, errors.Join(checkURL("public-url", s.publicURL), checkURL("stripe-api-base", s.stripe.base))
}

// checkURL keeps cookies and Stripe's key from crossing a network in plain text.
func checkURL(name, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "":
		return fmt.Errorf("-%s %q: give a scheme and a host only, such as https://verify.example.com", name, text)
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Host):
		return nil
	default:
		return fmt.Errorf("-%s %s: use https://, except on a loopback address", name, text)
	}
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

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
	if isLoopback(s.target) {
		options = append(options, client.WithPlaintext())
	}
	status, err := client.Dial(s.target, options...)
	if err != nil {
		return err
	}
	defer status.Close()
	site, err := newSite(status, s.stripe, s.publicURL)
	if err != nil {
		return err
	}
	// Shutdown waits for streams and does not end them: their context does.
	streams, endStreams := context.WithCancel(context.Background())
	defer endStreams()
	server := &http.Server{
		Handler:           site.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return streams },
	}
	server.RegisterOnShutdown(endStreams)
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	slog.Info("open " + s.publicURL)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(stopping)
}
