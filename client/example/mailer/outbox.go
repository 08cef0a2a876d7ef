package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	html "html/template"
	"io"
	"net"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	text "text/template"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

//go:embed mail.txt
var textMail string

//go:embed mail.html
var htmlMail string

var (
	textTemplate = text.Must(text.New("mail.txt").Parse(textMail))
	htmlTemplate = html.Must(html.New("mail.html").Parse(htmlMail))
)

// outbox sends mails to one SMTP server, each over a connection of its own.
type outbox struct {
	server *gomail.Client
	from   *mail.Address
	domain string // of the Message-IDs
}

const (
	// dialogTimeout bounds the dialog until the SMTP server asks for the content.
	dialogTimeout = 30 * time.Second
	// contentTimeout bounds the rest: the content and the answer to it. A server can take long to answer, and has the mail then: to stop
	// waiting earlier sends it twice. Source: RFC 5321, 4.5.3.2.6.
	contentTimeout = 10 * time.Minute
)

var (
	// errRefused means that the recipient's server refuses a mail for good.
	errRefused = errors.New("refused")
	// errNotTaken means that the SMTP server was reached and has not taken this mail.
	errNotTaken = errors.New("mail not taken")
)

// newOutbox returns an outbox. dial can be nil.
func newOutbox(s settings, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*outbox, error) {
	host, portText, err := net.SplitHostPort(s.smtp)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	options := []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(dialogTimeout / 2)}
	switch {
	case isLoopback(s.smtp):
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	case port == 465:
		options = append(options, gomail.WithSSL())
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.user != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.user), gomail.WithPassword(s.password))
	}
	if dial != nil {
		options = append(options, gomail.WithDialContextFunc(dial))
	}
	server, err := gomail.NewClient(host, options...)
	if err != nil {
		return nil, err
	}
	return &outbox{server: server, from: s.from, domain: s.from.Address[strings.LastIndexByte(s.from.Address, '@')+1:]}, nil
}

// reach returns an error if the SMTP server does not answer.
func (o *outbox) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialogTimeout/6)
	defer cancel()
	server, err := o.server.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return err
	}
	return o.server.CloseWithSMTPClient(server)
}

// send sends a mail with a Message-ID that begins with id. It returns an error that wraps errRefused if another try cannot help.
func (o *outbox) send(ctx context.Context, id string, to *mail.Address, l letter) error {
	var server *smtp.Client
	m, err := o.compose(id, to, l, func() error { return server.UpdateDeadline(contentTimeout) })
	if err != nil {
		return fmt.Errorf("%w: %w", errNotTaken, err)
	}
	if server, err = o.server.DialToSMTPClientWithContext(ctx); err != nil {
		return err
	}
	err = errors.Join(o.server.SendWithSMTPClient(server, m), o.server.CloseWithSMTPClient(server))
	if err == nil || m.IsDelivered() { // the server has it, even if it fails at the end of the dialog
		return nil
	}
	var failed *gomail.SendError
	if !errors.As(err, &failed) {
		return err
	}
	kind := errNotTaken
	if isLasting(failed) {
		kind = errRefused
	}
	// The error's text and the server's reply can have the person's address. A log must not.
	reply := "no reply"
	if failed.ErrorCode() != 0 {
		reply = strings.TrimSpace(fmt.Sprintf("reply %d %s", failed.ErrorCode(), failed.EnhancedStatusCode()))
	}
	return fmt.Errorf("%w: %v: %s", kind, failed.Reason, reply)
}

// compose returns a mail in plain text and in HTML. It calls begin when the content is sent.
func (o *outbox) compose(id string, to *mail.Address, l letter, begin func() error) (*gomail.Msg, error) {
	m := gomail.NewMsg()
	m.FromMailAddress(o.from)
	m.ToMailAddress(to)
	m.Subject(l.Title)
	m.SetDate()
	m.SetMessageIDWithValue(id + "@" + o.domain)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: so that nobody's absence is answered to us
	m.SetGenHeader("Content-Language", l.Language)
	var plain, rich bytes.Buffer
	if err := errors.Join(textTemplate.Execute(&plain, l), htmlTemplate.Execute(&rich, l)); err != nil {
		return nil, err
	}
	text := bytes.TrimLeft(plain.Bytes(), "\n")
	m.SetBodyWriter(gomail.TypeTextPlain, func(w io.Writer) (int64, error) {
		if err := begin(); err != nil {
			return 0, err
		}
		n, err := w.Write(text)
		return int64(n), err
	})
	m.AddAlternativeString(gomail.TypeTextHTML, rich.String())
	return m, nil
}

// lastingCode is an enhanced status code (RFC 3463) at the beginning of a reply that refuses the recipient's address or mailbox, or the
// form of the mail. It is read from the text, because many servers send it without announcing ENHANCEDSTATUSCODES.
var lastingCode = regexp.MustCompile(`^[^:]*: 5\d\d "?(5\.(?:1\.(?:1|2|3|6|10)|2\.[12]|6\.\d{1,3}))\b`)

// isLasting reports whether an SMTP server has refused the recipient or the content for good: a reply 5yz to RCPT or DATA with a
// lastingCode. Any other reply can concern our own rights or the server, such as "550 relay not permitted": the next mail would be refused
// too, and all would be lost.
func isLasting(failed *gomail.SendError) bool {
	switch failed.Reason {
	case gomail.ErrSMTPRcptTo, gomail.ErrSMTPData, gomail.ErrSMTPDataClose:
		return lastingCode.MatchString(failed.Error())
	}
	return false
}
