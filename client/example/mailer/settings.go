package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/verification-status/client"
)

// settings are flags, each with an environment variable. The password and the token have no flag, because other users of the machine can
// read flags. The token has one for its file.
type settings struct {
	target    string
	consumer  string
	mustExist bool
	token     client.TokenSource // nil: none
	smtp      string
	user      string
	password  string
	from      *mail.Address
	team      *mail.Address
	address   string
	language  string
	page      string
	sent      string

	giveUpAfter time.Duration
}

// readSettings reads the settings. Their defaults fit "server dev" and Mailpit.
func readSettings(args []string, env func(string) string) (settings, error) {
	var s settings
	var from, team, tokenFile string
	flags := flag.NewFlagSet("mailer", flag.ContinueOnError)
	setting := func(to *string, name, variable, standard, help string) {
		if value := env(variable); value != "" {
			standard = value
		}
		flags.StringVar(to, name, standard, help+" ("+variable+")")
	}
	setting(&s.target, "status", "VERIFICATION_STATUS", "127.0.0.1:50051", "verification-status: host:port or dns:///host:port; plain text on loopback, else TLS")
	setting(&tokenFile, "token-file", "VERIFICATION_TOKEN_FILE", "", "a file with the bearer token for verification-status; it is read again for each call")
	setting(&s.consumer, "consumer", "MAILER_CONSUMER", "mailer", "the name of the consumer, the same for all instances")
	setting(&s.smtp, "smtp", "SMTP_ADDR", "127.0.0.1:1025", "the SMTP server: host:port; plain text on loopback, TLS from the start on port 465, else STARTTLS")
	setting(&s.user, "smtp-user", "SMTP_USER", "", "the user of the SMTP server; empty: none is needed")
	setting(&from, "from", "MAILER_FROM", "Larkspur <verify@larkspur.example>", "the sender; its domain is that of the Message-IDs")
	setting(&team, "team", "MAILER_TEAM", "team@larkspur.example", "who helps people that cannot try again")
	setting(&s.address, "address", "MAILER_ADDRESS", "{reference}@people.larkspur.example", "the address of a person by client_reference_id; it stands for your table of users")
	setting(&s.language, "language", "MAILER_LANGUAGE", "en", "the language of the mails: en or de")
	setting(&s.page, "page", "MAILER_PAGE", "", "your page on which a signed-in person tries again; empty, with a service and an SMTP server on loopback only: mails have Stripe's own link")
	setting(&s.sent, "sent", "MAILER_SENT", "", "the directory with the record of sent mails, the same for all instances; empty, with a service and an SMTP server on loopback only: the record ends with the process")
	var problems []error
	mustExist, err := strconv.ParseBool(or(env("MAILER_MUST_EXIST"), "false"))
	if err != nil {
		problems = append(problems, errors.New("MAILER_MUST_EXIST: give true or false"))
	}
	flags.BoolVar(&s.mustExist, "must-exist", mustExist, "refuse to create the consumer and the directory of -sent; set it from the second start on (MAILER_MUST_EXIST)")
	giveUpAfter, err := time.ParseDuration(or(env("MAILER_GIVE_UP_AFTER"), "24h"))
	problems = append(problems, named("MAILER_GIVE_UP_AFTER", err))
	flags.DurationVar(&s.giveUpAfter, "give-up-after", giveUpAfter, "how long a mail is tried that fails while others are sent (MAILER_GIVE_UP_AFTER)")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), `Sends a mail for each outcome of a verification. Settings:

  VERIFICATION_TOKEN
	the bearer token for verification-status, if -token-file is empty
  SMTP_PASSWORD, SMTP_PASSWORD_FILE
	the password of -smtp-user`)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	s.token, err = bearer(env("VERIFICATION_TOKEN"), tokenFile)
	problems = append(problems, err)
	s.password, err = secret("SMTP_PASSWORD", env)
	problems = append(problems, err, s.checkPage(), s.checkSent(), s.checkSMTP())
	s.from, err = mail.ParseAddress(from)
	problems = append(problems, named("-from", err))
	s.team, err = mail.ParseAddress(team)
	problems = append(problems, named("-team", err))
	if _, ok := languages[s.language]; !ok {
		problems = append(problems, fmt.Errorf("-language %q: give en or de", s.language))
	}
	if s.giveUpAfter <= 0 {
		problems = append(problems, fmt.Errorf("-give-up-after %v: give a duration such as 24h", s.giveUpAfter))
	}
	if !strings.Contains(s.address, reference) {
		problems = append(problems, fmt.Errorf("-address %q: give an address with %s in it", s.address, reference))
	}
	return s, errors.Join(problems...)
}

// isDemo reports whether the mails and their record matter to nobody: the service and the SMTP server are on this machine. One of them
// alone can be a proxy on loopback.
func (s settings) isDemo() bool {
	return isLoopback(strings.TrimPrefix(s.target, "dns:///")) && isLoopback(s.smtp)
}

// checkPage returns an error for a page without TLS, and for a missing page if this is no demo. Stripe's own links must not be sent in
// mails: they work once, and a scanner of mails that opens one uses it up. Source: Stripe's API reference, "url" of a VerificationSession.
func (s settings) checkPage() error {
	u, err := url.Parse(s.page)
	switch {
	case s.page == "" && s.isDemo():
		return nil
	case s.page == "":
		return errors.New("-page: give the address of your page on which people try again: Stripe's own links must not be sent in mails")
	case err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Host)):
		return nil
	}
	return fmt.Errorf("-page %q: give an address with https://, such as https://verify.example.com/; http:// is for loopback only", s.page)
}

// checkSent returns an error for a missing record if this is no demo: a crash would repeat each mail whose outcome is not acknowledged, up
// to 1,000.
func (s settings) checkSent() error {
	if s.sent != "" || s.isDemo() {
		return nil
	}
	return errors.New("-sent: give the directory of the record of sent mails: without it a crash sends up to 1,000 mails again")
}

func (s settings) checkSMTP() error {
	host, port, err := net.SplitHostPort(s.smtp)
	if number, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || number < 1 || number > 65535 {
		return fmt.Errorf("-smtp %q: give host:port", s.smtp)
	}
	return nil
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
	if _, err := read(context.Background()); err != nil { // a wrong path is told at the start
		return nil, fmt.Errorf("-token-file: %w", err)
	}
	return read, nil
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

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
