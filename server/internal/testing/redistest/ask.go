package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// askWithin bounds one command. A paused server does not answer.
const askWithin = 2 * time.Second

// Ask sends one command over a new connection and returns the answer as text: each element of an array on a line of its own,
// and the empty string for nil. It returns an error if the server answers with one.
func (s *Server) Ask(args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, askWithin)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(askWithin)); err != nil {
		return "", err
	}
	reader := bufio.NewReader(conn)
	if s.password != "" {
		if _, err := exchange(conn, reader, "AUTH", s.password); err != nil {
			return "", err
		}
	}
	return exchange(conn, reader, args...)
}

func exchange(conn io.Writer, reader *bufio.Reader, args ...string) (string, error) {
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return "", err
	}
	return readAnswer(reader)
}

// AskWith sets the password of the default user by which Ask authenticates from now on, and every wait for the server too.
// With an empty password they do not authenticate.
func (s *Server) AskWith(password string) { s.password = password }

// MustAsk calls Ask, and fails the test if Ask returns an error.
func (s *Server) MustAsk(args ...string) string {
	s.t.Helper()
	answer, err := s.Ask(args...)
	if err != nil {
		s.t.Fatalf("redis-server %s: %s: %v", s.Addr, strings.Join(args, " "), err)
	}
	return answer
}

// Info returns the value of one line of INFO, such as "role". It is empty if the server does not answer.
func (s *Server) Info(name string) string {
	text, _ := s.Ask("INFO", "all")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// readAnswer reads one answer of RESP2 (redis.io/docs/latest/develop/reference/protocol-spec).
func readAnswer(reader *bufio.Reader) (string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty answer")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	case '$':
		length, err := strconv.Atoi(rest)
		if err != nil || length < 0 {
			return "", err
		}
		text := make([]byte, length+2)
		_, err = io.ReadFull(reader, text)
		return string(text[:length]), err
	case '*':
		count, err := strconv.Atoi(rest)
		if err != nil {
			return "", err
		}
		var parts []string
		for range count {
			part, err := readAnswer(reader)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, "\n"), nil
	}
	return "", fmt.Errorf("an answer that begins with %q", line[0])
}

// await polls until a condition holds. It fails the test if the time is over first.
func await(s *Server, within time.Duration, what string, is func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			s.t.Fatalf("redis-server %s: %s: not within %v", s.Addr, what, within)
		}
	}
}

// portOf returns the port of a server's address.
func portOf(s *Server) string {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return port
}
