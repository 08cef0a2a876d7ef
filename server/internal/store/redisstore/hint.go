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

// hintTimeout bounds each of the two looks at an address.
const hintTimeout = 500 * time.Millisecond

// hinted adds to an error of the first checks what to correct, if it can be found out: an operator who has just written
// REDIS_URL is helped, and a Redis that has been used before is simply away. The errors of the driver are no help: each
// of these mistakes ends in a timeout or an end of file.
func (s *Store) hinted(err error) error {
	var refused *RefusedError
	if s.prepared || errors.As(err, &refused) {
		return err
	}
	switch text := err.Error(); {
	case strings.Contains(text, "x509: certificate signed by unknown authority"):
		return fmt.Errorf("Redis's certificate is from an authority that this machine does not know: name its PEM file in REDIS_CA_FILE (%w)", err)
	case strings.Contains(text, "HTTP/1."):
		return fmt.Errorf("an HTTP server answers, and no Redis: correct the host and port in REDIS_URL (%w)", err)
	}
	for _, addr := range s.addrs {
		if hint := hint(addr, s.secured); hint != "" {
			return fmt.Errorf("%s (%w)", hint, err)
		}
	}
	return err
}

// hint says what listens at an address instead of the Redis that is looked for; "" if nothing does, or if it cannot tell.
func hint(addr string, secured bool) string {
	switch answer := greet(addr); {
	case strings.HasPrefix(answer, "HTTP/"):
		return fmt.Sprintf("an HTTP server answers at %s, and no Redis: correct the host and port in REDIS_URL", addr)
	case secured && (strings.HasPrefix(answer, "+") || strings.HasPrefix(answer, "-")):
		return fmt.Sprintf("the Redis at %s does not speak TLS at this port: begin REDIS_URL with redis://, or give its TLS port", addr)
	case !secured && answer != "" && answer[0] != '+' && answer[0] != '-', !secured && answer == "" && speaksTLS(addr):
		return fmt.Sprintf("the server at %s speaks TLS: begin REDIS_URL with rediss://", addr)
	default:
		return ""
	}
}

// greet returns the beginning of the answer to a PING in plain text.
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

// speaksTLS reports whether a server completes a handshake, or refuses one as only TLS does.
func speaksTLS(addr string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), hintTimeout)
	defer cancel()
	// Nothing is sent over this connection: whose certificate it is does not matter here.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return strings.Contains(err.Error(), "remote error: tls: ")
}
