package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeSMTP is an SMTP server that keeps all mails, and gives the answers that a test sets.
type fakeSMTP struct {
	t        testing.TB
	listener net.Listener
	served   sync.WaitGroup

	mu      sync.Mutex
	answers map[string]string // by command in upper case; "." is the end of a mail, "RCPT team@" the team as recipient. An empty answer closes the connection
	mails   []string
	slow    time.Duration // before the answer to the end of a mail
	refused chan struct{} // gets a value at an answer 4yz or 5yz
	kept    chan struct{} // has a value if a mail came since the last receive
}

func startSMTP(t testing.TB) *fakeSMTP {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeSMTP{t: t, listener: listener, refused: make(chan struct{}, 100), kept: make(chan struct{}, 1)}
	s.answer(nil)
	s.served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.served.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); s.served.Wait() })
	return s
}

// startPipedSMTP returns an SMTP server for a bubble of testing/synctest, and the hook with which a mailer reaches it.
func startPipedSMTP(t testing.TB, slow time.Duration) (*fakeSMTP, hooks) {
	s := &fakeSMTP{t: t, slow: slow, refused: make(chan struct{}, 100), kept: make(chan struct{}, 1)}
	s.answer(nil)
	t.Cleanup(s.served.Wait)
	return s, hooks{dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		s.served.Go(func() { s.serve(far) })
		return near, nil
	}}
}

func (s *fakeSMTP) addr() string { return s.listener.Addr().String() }

// answer replaces the answers that are not those of success.
func (s *fakeSMTP) answer(other map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = map[string]string{
		"EHLO": "250-fake\r\n250 ENHANCEDSTATUSCODES", "NOOP": "250 ok", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 ok",
		"RSET": "250 ok", "QUIT": "221 bye",
	}
	for command, text := range other {
		s.answers[command] = text
	}
}

func (s *fakeSMTP) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

// awaitRefusal waits until the server has refused something.
func (s *fakeSMTP) awaitRefusal() {
	s.t.Helper()
	select {
	case <-s.refused:
	case <-time.After(20 * time.Second):
		s.t.Fatal("nothing was refused")
	}
}

func (s *fakeSMTP) serve(conn net.Conn) {
	defer conn.Close()
	fmt.Fprint(conn, "220 fake\r\n")
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		command := strings.ToUpper(strings.SplitN(lines.Text(), " ", 2)[0])
		if strings.HasPrefix(lines.Text(), "RCPT TO:<team@") && s.text("RCPT team@") != "" {
			command = "RCPT team@"
		}
		if !s.reply(conn, command) {
			return
		}
		if command == "DATA" && strings.HasPrefix(s.text(command), "354") && !s.take(conn, lines) {
			return
		}
	}
}

func (s *fakeSMTP) text(command string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers[command]
}

func (s *fakeSMTP) reply(conn net.Conn, command string) bool {
	text := s.text(command)
	if strings.HasPrefix(text, "4") || strings.HasPrefix(text, "5") {
		s.refused <- struct{}{}
	}
	if text != "" {
		fmt.Fprint(conn, text+"\r\n")
	}
	return text != "" && command != "QUIT"
}

// take reads a mail, and keeps it if the answer is 250 or none.
func (s *fakeSMTP) take(conn net.Conn, lines *bufio.Scanner) bool {
	var mail strings.Builder
	for lines.Scan() && lines.Text() != "." {
		mail.WriteString(lines.Text() + "\n")
	}
	if text := s.text("."); text == "" || strings.HasPrefix(text, "250") {
		s.mu.Lock()
		s.mails = append(s.mails, mail.String())
		s.mu.Unlock()
		select {
		case s.kept <- struct{}{}:
		default:
		}
	}
	time.Sleep(s.slow)
	return s.reply(conn, ".")
}
