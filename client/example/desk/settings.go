package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"example.com/verification-status/client"
)

// settings are flags, each with an environment variable. Secrets have no flag, because other users of the machine can read flags. The
// token has one for its file.
type settings struct {
	addr        string
	publicURL   string
	target      string
	userHeader  string // empty: the sign-in for demonstrations
	tokenHeader string
	token       client.TokenSource // nil: none
	proxySecret string
	key         []byte
	returnURL   string
	zone        *time.Location
}

// minSecret is the least length of a secret that cannot be guessed. "openssl rand -base64 32" prints 44 characters.
const minSecret = 32

// readSettings reads the settings. Their defaults fit "server dev".
func readSettings(args []string, env func(string) string) (settings, error) {
	var s settings
	var tokenFile, zone string
	flags := flag.NewFlagSet("desk", flag.ContinueOnError)
	setting := func(to *string, name, variable, standard, help string) {
		if value := env(variable); value != "" {
			standard = value
		}
		flags.StringVar(to, name, standard, help+" ("+variable+")")
	}
	setting(&s.addr, "addr", "DESK_ADDR", "127.0.0.1:8081", "where the desk is served")
	setting(&s.publicURL, "public-url", "DESK_URL", "", "the address of the desk in browsers; default http:// and addr; use https:// if the proxy has the certificate")
	setting(&s.target, "status", "VERIFICATION_STATUS", "127.0.0.1:50051", "verification-status: host:port or dns:///host:port; plain text on loopback, else TLS")
	setting(&tokenFile, "token-file", "VERIFICATION_TOKEN_FILE", "", "a file with the bearer token of the desk; it is read again for each call")
	setting(&s.userHeader, "user-header", "DESK_USER_HEADER", "", "the header in which the company's proxy names the signed-in person, such as X-Forwarded-Email; empty, on loopback only: people type their names")
	setting(&s.tokenHeader, "token-header", "DESK_TOKEN_HEADER", "", "the header in which the proxy passes the person's own bearer token, such as X-Forwarded-Access-Token; it takes the place of the token of the desk")
	setting(&s.returnURL, "return-url", "DESK_RETURN_URL", "", "where Stripe's page sends a person at the end, after a new session in place of a closed one; empty: nowhere")
	setting(&zone, "time-zone", "DESK_TIME_ZONE", "UTC", "the time zone of the times on the pages, such as Europe/Amsterdam")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), `A page for people who look after others: who waits for help, what happened, and the way out. Settings:

  VERIFICATION_TOKEN
	the bearer token of the desk, if -token-file is empty
  DESK_PROXY_SECRET, DESK_PROXY_SECRET_FILE
	with -user-header: what the proxy sends in the header X-Desk-Proxy-Secret; at least 32 characters
  DESK_KEY, DESK_KEY_FILE
	signs forms: at least 32 characters, the same for all processes of the desk; without it, each start
	generates one, and forms that are open during a restart must be opened again`)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.publicURL == "" {
		s.publicURL = "http://" + s.addr
	}
	var problems [6]error
	s.token, problems[0] = bearer(env("VERIFICATION_TOKEN"), tokenFile)
	s.proxySecret, problems[1] = longSecret("DESK_PROXY_SECRET", env)
	var key string
	if key, problems[2] = longSecret("DESK_KEY", env); key == "" {
		key = rand.Text() + rand.Text()
	}
	s.key = []byte(key)
	s.zone, problems[3] = time.LoadLocation(zone)
	problems[4] = checkURL("public-url", s.publicURL)
	if s.returnURL != "" {
		problems[5] = checkReturnURL(s.returnURL)
	}
	return s, errors.Join(append(problems[:], s.checkIdentity())...)
}

// checkIdentity returns an error if somebody could act under the name of another person.
func (s settings) checkIdentity() error {
	var problems []error
	add := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New(text))
		}
	}
	demo := isLoopback(s.addr) && isLoopback(strings.TrimPrefix(s.target, "dns:///")) && strings.HasPrefix(s.publicURL, "http:")
	add(s.userHeader == "" && !demo, "-user-header: give the header in which the company's proxy names the signed-in person: without it people type their names, which is for a desk and a service on loopback only")
	add(s.userHeader != "" && s.proxySecret == "", "DESK_PROXY_SECRET: give the secret that the proxy sends in the header "+secretHeader+": otherwise anybody that reaches the desk can name themselves")
	add(s.userHeader == "" && s.tokenHeader != "", "-token-header is set without -user-header: the desk must know the person too")
	add(s.token != nil && s.tokenHeader != "", "-token-header and a token of the desk are both set: remove one")
	return errors.Join(problems...)
}

// bearer returns the source of a token that is in a variable or in a file, or nil if there is none.
func bearer(token, file string) (client.TokenSource, error) {
	switch {
	case token == "" && file == "":
		return nil, nil
	case file == "":
		return func(context.Context) (string, error) { return token, nil }, nil
	case token != "":
		return nil, errors.New("VERIFICATION_TOKEN and -token-file are both set: remove one")
	}
	read := func(context.Context) (string, error) {
		text, err := os.ReadFile(file)
		return string(text), err
	}
	if _, err := read(context.Background()); err != nil { // a wrong path is reported at the start
		return nil, fmt.Errorf("-token-file: %w", err)
	}
	return read, nil
}

// longSecret is secret, and returns an error for a value that can be guessed.
func longSecret(variable string, env func(string) string) (string, error) {
	value, err := secret(variable, env)
	if err == nil && value != "" && len(value) < minSecret {
		return "", fmt.Errorf("%s has %d characters: give at least %d random ones, such as from: openssl rand -base64 32", variable, len(value), minSecret)
	}
	return value, err
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

// checkURL returns an error for an address at which the pages would cross a network in plain text.
func checkURL(name, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "":
		return fmt.Errorf("-%s %q: give a scheme and a host only, such as https://desk.example.com", name, text)
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Host):
		return nil
	}
	return fmt.Errorf("-%s %s: use https://, except on a loopback address", name, text)
}

func checkReturnURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Host)) {
		return fmt.Errorf("-return-url %q: give an address with https://, such as https://verify.example.com/; http:// is for loopback only", text)
	}
	return nil
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
