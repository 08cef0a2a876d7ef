package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// hintTimeout bounds each of the two tests of an address.
const hintTimeout = 500 * time.Millisecond

// hinted adds to an error of the first checks what to correct, if it can find that out. It helps an operator who has just
// written REDIS_URL, because the driver reports each of these mistakes as a timeout or an end of file. A Redis that was used
// before is simply unavailable, and hinted adds nothing.
func (s *Store) hinted(err error) error {
	var refused *RefusedError
	if s.prepared || errors.As(err, &refused) {
		return err
	}
	switch text := err.Error(); {
	case strings.Contains(text, "x509: certificate signed by unknown authority"):
		return fmt.Errorf("this machine does not know the authority that signed the certificate of Redis: name its PEM file in REDIS_CA_FILE (%w)", err)
	case strings.Contains(text, "HTTP/1."):
		return fmt.Errorf("an HTTP server answers and not Redis: correct the host and port in REDIS_URL (%w)", err)
	}
	for _, addr := range s.addrs {
		if hint := hint(addr, s.secured); hint != "" {
			return fmt.Errorf("%s (%w)", hint, err)
		}
	}
	return err
}

// hint says what listens at an address instead of the expected Redis. It returns "" if nothing listens, or if it cannot tell.
func hint(addr string, secured bool) string {
	switch answer := greet(addr); {
	case strings.HasPrefix(answer, "HTTP/"):
		return fmt.Sprintf("an HTTP server answers at %s and not Redis: correct the host and port in REDIS_URL", addr)
	case secured && (strings.HasPrefix(answer, "+") || strings.HasPrefix(answer, "-")):
		return fmt.Sprintf("the Redis at %s does not speak TLS at this port: begin REDIS_URL with redis://, or give its TLS port", addr)
	case !secured && answer != "" && answer[0] != '+' && answer[0] != '-', !secured && answer == "" && speaksTLS(addr):
		return fmt.Sprintf("the server at %s speaks TLS: begin REDIS_URL with rediss://", addr)
	default:
		return ""
	}
}

// greet returns the first 16 bytes of the answer to a PING in plain text.
func greet(addr string) string {
	conn, err := net.DialTimeout("tcp", addr, hintTimeout)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(hintTimeout)); err != nil {
		return ""
	}
	if _, err := conn.Write([]byte("PING\r\n\r\n")); err != nil {
		return ""
	}
	answer := make([]byte, 16)
	n, _ := conn.Read(answer)
	return string(answer[:n])
}

// speaksTLS reports whether a server completes a TLS handshake, or refuses it with a TLS alert.
func speaksTLS(addr string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), hintTimeout)
	defer cancel()
	// Nothing is sent over this connection, so the certificate does not matter.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return strings.Contains(err.Error(), "remote error: tls: ")
}
