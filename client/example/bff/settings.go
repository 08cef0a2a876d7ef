package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// settings are flags, with an environment variable each. Secrets have no flag: other users of the machine
// can read those.
type settings struct {
	addr          string
	publicURL     string
	target        string
	addressHeader string
	cookieKey     []byte
	madeKey       bool // nobody gave one
	stripe        stripe
}

// minCookieKey is enough for a text that nobody guesses; "openssl rand -base64 32" makes 44 characters.
const minCookieKey = 32

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
	setting(&s.publicURL, "public-url", "PUBLIC_URL", "", "the page's address as people see it; by default http:// and addr; https:// where a proxy in front has the certificate")
	setting(&s.target, "status", "VERIFICATION_STATUS", "127.0.0.1:50051", "verification-status: host:port or dns:///host:port; plain text on loopback, else TLS")
	setting(&s.stripe.base, "stripe-api-base", "STRIPE_API_BASE", "http://127.0.0.1:12111", "Stripe's API; http:// is for loopback only")
	setting(&s.addressHeader, "address-header", "BFF_ADDRESS_HEADER", "", "the header in which the proxy in front names the browser's address, such as X-Forwarded-For; the last address in it counts, with or without a port; empty: no proxy is in front")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), `A web site of one page, on which people verify their identity. Settings:

  STRIPE_API_KEY, STRIPE_API_KEY_FILE
	Stripe's secret key; by default the one of "server dev"
  BFF_COOKIE_KEY, BFF_COOKIE_KEY_FILE
	signs the cookie that says who a person is: 32 characters or more, the same for all processes of the
	site; without one, each start makes its own, and everybody is a new person after it`)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.publicURL == "" {
		s.publicURL = "http://" + s.addr
	}
	var keyErr, cookieErr error
	if s.stripe.key, keyErr = secret("STRIPE_API_KEY", env); s.stripe.key == "" {
		s.stripe.key = "sk_test_simulated"
	}
	var key string
	key, cookieErr = secret("BFF_COOKIE_KEY", env)
	switch {
	case cookieErr != nil:
	case key == "":
		key, s.madeKey = rand.Text()+rand.Text(), true
	case len(key) < minCookieKey:
		cookieErr = fmt.Errorf("BFF_COOKIE_KEY has %d characters: give at least %d random ones, such as from: openssl rand -base64 32", len(key), minCookieKey)
	}
	s.cookieKey = []byte(key)
	return s, errors.Join(checkURL("public-url", s.publicURL), checkURL("stripe-api-base", s.stripe.base), keyErr, cookieErr)
}

// secret reads a variable, or the file that the variable with _FILE names.
func secret(variable string, env func(string) string) (string, error) {
	value, file := env(variable), env(variable+"_FILE")
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("%s and %s_FILE are both set: remove one", variable, variable)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", variable, err)
	}
	if value = strings.TrimSpace(string(text)); value == "" {
		return "", fmt.Errorf("%s_FILE: %s is empty", variable, file)
	}
	return value, nil
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
