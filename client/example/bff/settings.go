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

// settings are flags, each with an environment variable. Secrets have no flag, because other users of the machine can read flags.
type settings struct {
	addr          string
	publicURL     string
	target        string
	addressHeader string
	cookieKey     []byte
	generatedKey  bool // no setting had one
	stripe        stripe
}

// minCookieKey is the least length of a key that cannot be guessed. "openssl rand -base64 32" prints 44 characters.
const minCookieKey = 32

// readSettings reads the settings. Their defaults fit "server dev".
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
	setting(&s.publicURL, "public-url", "PUBLIC_URL", "", "the address of the page in browsers; default http:// and addr; use https:// if a proxy in front has the certificate")
	setting(&s.target, "status", "VERIFICATION_STATUS", "127.0.0.1:50051", "verification-status: host:port or dns:///host:port; plain text on loopback, else TLS")
	setting(&s.stripe.base, "stripe-api-base", "STRIPE_API_BASE", "http://127.0.0.1:12111", "Stripe's API; http:// is for loopback only")
	setting(&s.addressHeader, "address-header", "BFF_ADDRESS_HEADER", "", "the header in which the proxy in front puts the browser's address, such as X-Forwarded-For; its last address is used, with or without a port; empty: there is no proxy")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), `A web site of one page, on which people verify their identity. Settings:

  STRIPE_API_KEY, STRIPE_API_KEY_FILE
	Stripe's secret key; default: that of "server dev"
  BFF_COOKIE_KEY, BFF_COOKIE_KEY_FILE
	signs the cookie that identifies a person: at least 32 characters, the same for all processes of the
	site; without it, each start generates one, and every visitor is a new person after a restart`)
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
		key, s.generatedKey = rand.Text()+rand.Text(), true
	case len(key) < minCookieKey:
		cookieErr = fmt.Errorf("BFF_COOKIE_KEY has %d characters: give at least %d random ones, such as from: openssl rand -base64 32", len(key), minCookieKey)
	}
	s.cookieKey = []byte(key)
	return s, errors.Join(checkURL("public-url", s.publicURL), checkURL("stripe-api-base", s.stripe.base), keyErr, cookieErr)
}

// secret returns the value of a variable, or the content of the file that the variable with _FILE names.
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

// checkURL returns an error for an address at which cookies or Stripe's key would be sent over a network in plain text.
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
