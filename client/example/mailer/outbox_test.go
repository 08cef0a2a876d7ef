package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestOutbox(t *testing.T, smtp string) *outbox {
	t.Helper()
	o, err := newOutbox(mustSettings(t, "-smtp", smtp), nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mustSettings(t *testing.T, args ...string) settings {
	t.Helper()
	s, err := readSettings(args, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var somebody = &mail.Address{Address: "user-7@people.larkspur.example"}

// TestWhichRefusalsAreLasting: only a server's lasting refusal of the recipient or of the content. After anything else the mail is tried
// again. It does not matter if the server announces its codes.
func TestWhichRefusalsAreLasting(t *testing.T) {
	for name, test := range map[string]struct {
		answers           map[string]string
		refused, received bool
	}{
		"accepted":                       {nil, false, true},
		"no such person":                 {map[string]string{"RCPT": "550 5.1.1 no such user"}, true, false},
		"mailbox full for good":          {map[string]string{"RCPT": "552 5.2.2 over quota"}, true, false},
		"a refusal without a code":       {map[string]string{"RCPT": "550 no such user"}, false, false},
		"relaying, without a code":       {map[string]string{"RCPT": "550 relay not permitted"}, false, false},
		"too many mails":                 {map[string]string{"RCPT": "550 Too many messages from this sender today"}, false, false},
		"no login":                       {map[string]string{"RCPT": "530 Authentication required"}, false, false},
		"an address as the text":         {map[string]string{"RCPT": "550 rejected by 5.1.1.1"}, false, false},
		"the sender, at the recipient":   {map[string]string{"RCPT": "550 5.1.8 bad sender"}, false, false},
		"a mail that looks like spam":    {map[string]string{".": "550 5.7.1 message rejected as spam"}, false, false},
		"greylisted":                     {map[string]string{"RCPT": "451 4.7.1 try again later"}, false, false},
		"relaying is not allowed":        {map[string]string{"RCPT": "550 5.7.1 relay access denied"}, false, false},
		"the server is full":             {map[string]string{"RCPT": "552 5.3.1 system full"}, false, false},
		"the content is refused":         {map[string]string{".": "554 5.6.0 not like this"}, true, false},
		"the content is refused for now": {map[string]string{".": "451 4.3.0 try again later"}, false, false},
		"the sender is refused":          {map[string]string{"MAIL": "550 5.1.0 not you"}, false, false},
		"an end before the recipient":    {map[string]string{"RCPT": ""}, false, false},
		"an end after the content":       {map[string]string{".": ""}, false, true},
		"an end at the reset":            {map[string]string{"RSET": ""}, false, true},
	} {
		for said, hello := range map[string]string{"codes announced": "250-fake\r\n250 ENHANCEDSTATUSCODES", "not announced": "250 fake"} {
			t.Run(name+", "+said, func(t *testing.T) {
				server := startSMTP(t)
				answers := maps.Clone(test.answers)
				if answers == nil {
					answers = map[string]string{}
				}
				answers["EHLO"] = hello
				server.answer(answers)
				err := newTestOutbox(t, server.addr()).send(t.Context(), "outcome", somebody, verifiedLetter("en"))
				if got := errors.Is(err, errRefused); got != test.refused {
					t.Errorf("refused is %v, want %v: %v", got, test.refused, err)
				}
				if got := len(server.received()) == 1; got != test.received {
					t.Errorf("received is %v, want %v", got, test.received)
				}
				if success := err == nil; success != (name == "accepted" || name == "an end at the reset") {
					t.Errorf("error %v", err)
				}
			})
		}
	}
}

// TestASlowServer: the mailer waits for minutes for the answer to a mail, because the server has the mail, and would get it twice.
func TestASlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, h := startPipedSMTP(t, contentTimeout-time.Second)
		o, err := newOutbox(mustSettings(t), h.dial)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.send(t.Context(), "outcome", somebody, verifiedLetter("en")); err != nil || len(server.received()) != 1 {
			t.Errorf("error %v, %d mails", err, len(server.received()))
		}
	})
}

// TestASilentServer: the mailer stops waiting for a server that does not ask for the content.
func TestASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := newOutbox(mustSettings(t), func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			t.Cleanup(func() { far.Close() })
			return near, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := o.send(t.Context(), "outcome", somebody, verifiedLetter("en")); err == nil || time.Since(began) > dialogTimeout {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

// TestAMail: its headers, and the same content in plain text and in HTML.
func TestAMail(t *testing.T) {
	server := startSMTP(t)
	l := letter{Language: "en", Title: "You’re <verified>", Text: "It’s & done.", FactTitle: "Why", Fact: "a<b", Link: "https://stripe.example/x?a=1&b=2", Button: "Go"}
	if err := newTestOutbox(t, server.addr()).send(t.Context(), "AbC_-9", somebody, l); err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(strings.NewReader(server.received()[0]))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != l.Title {
		t.Errorf("Subject %q, %v; want %q", subject, err, l.Title)
	}
	for name, want := range map[string]string{
		"Message-ID": "<AbC_-9@larkspur.example>", "To": "<user-7@people.larkspur.example>",
		"From": `"Larkspur" <verify@larkspur.example>`, "Auto-Submitted": "auto-generated", "Content-Language": "en",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	plain, rich := bodies(t, m)
	if want := "You’re <verified>\n\nIt’s & done.\n\nWhy: a<b\n\nGo:\nhttps://stripe.example/x?a=1&b=2"; strings.TrimSpace(plain) != want {
		t.Errorf("plain text:\n%q\nwant\n%q", plain, want)
	}
	for _, want := range []string{"<h1 style=", "You’re &lt;verified&gt;", "It’s &amp; done.", "a&lt;b", `href="https://stripe.example/x?a=1&amp;b=2"`} {
		if !strings.Contains(rich, want) {
			t.Errorf("HTML has no %s:\n%s", want, rich)
		}
	}
}

// bodies returns the plain text and the HTML of a mail.
func bodies(t *testing.T, m *mail.Message) (plain, rich string) {
	t.Helper()
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type %s, %v", kind, err)
	}
	parts := map[string]string{}
	for r := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts["text/plain"], parts["text/html"]
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
}
